// Package journal keeps what a guarded workflow has done so far, so that
// another process can finish the run or take it back.
//
// A journal is one file per run, mode 0600, a line of JSON per record. A record
// is on disk before Append returns: what the record announces may then be done,
// and not before. A process killed while it writes leaves half a line at the
// end, which the next one that opens the journal for writing cuts off; half a
// line anywhere else, a number missing, or a line that its checksum does not
// fit, is a damaged journal and an error.
//
// One process at a time writes a journal: it holds a lock on the file that ends
// with the process. Reading needs no lock. The first record carries what undoing
// the run needs, secrets included; Seal takes that away when the run has ended.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Format is the version of the records. A journal of a newer format is refused.
const Format = 1

// Record is one line of a journal.
type Record struct {
	Format int             `json:"format"`
	Seq    int             `json:"seq"` // from 1, without gaps
	Time   time.Time       `json:"time"`
	Kind   Kind            `json:"kind"`
	Step   string          `json:"step,omitempty"` // the step's ID, for the kinds that are about one
	Data   json.RawMessage `json:"data,omitempty"` // what the kind carries
	Secret json.RawMessage `json:"secret,omitempty"`
}

// Kind says what a record announces.
type Kind string

// The kinds. A run begins with Start and has ended with Finish.
const (
	Start     Kind = "start"      // the plan; Secret is what undoing it needs
	Begin     Kind = "begin"      // a step is about to be done
	End       Kind = "end"        // it is done
	Fail      Kind = "fail"       // it failed; whether it had an effect is unknown
	Back      Kind = "back"       // from here on the run is taken back
	UndoBegin Kind = "undo-begin" // a step is about to be undone
	UndoEnd   Kind = "undo-end"   // it is undone
	Finish    Kind = "finish"     // the outcome
)

// BusyError says that another process is at work on the run.
type BusyError struct{ Path string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("journal %s is in use by another process", e.Path)
}

// DamagedError says that a journal can't be believed from a line on.
type DamagedError struct {
	Path   string
	Line   int // from 1
	Reason string
	Sound  []Record // those before it
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("journal %s is damaged at line %d: %s", e.Path, e.Line, e.Reason)
}

// Journal is an open journal that can be written. It is not safe for
// concurrent use.
type Journal struct {
	path    string
	file    *os.File
	now     func() time.Time
	records []Record
	size    int64 // of what is complete
}

// Create makes the journal of a new run. A file that exists is an error that
// is fs.ErrExist.
func Create(path string, now func() time.Time) (*Journal, error) {
	return open(path, os.O_CREATE|os.O_EXCL, now)
}

// Open goes on with a journal. The error is a *BusyError while another process
// has it open, a *DamagedError if it can't be read to its end.
func Open(path string, now func() time.Time) (*Journal, error) {
	return open(path, 0, now)
}

func open(path string, flag int, now func() time.Time) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o600) //nolint:gosec // the caller's path
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, file: f, now: now}
	if err := j.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if flag != 0 {
		if err := syncDir(filepath.Dir(path)); err != nil {
			return nil, errors.Join(err, f.Close(), os.Remove(path))
		}
	}
	return j, nil
}

func (j *Journal) load() error {
	err := syscall.Flock(int(j.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return &BusyError{j.path}
	}
	if err != nil {
		return fmt.Errorf("lock journal %s: %w", j.path, err)
	}
	// Seal puts a new file in the old one's place: the lock has to be on the
	// file that the path means now.
	if err := j.checkPlace(); err != nil {
		return err
	}
	data, err := io.ReadAll(j.file)
	if err != nil {
		return fmt.Errorf("read journal %s: %w", j.path, err)
	}
	j.records, j.size, err = parse(j.path, data)
	return err
}

func (j *Journal) checkPlace() error {
	mine, err := j.file.Stat()
	if err != nil {
		return fmt.Errorf("read journal %s: %w", j.path, err)
	}
	there, err := os.Stat(j.path)
	if err != nil || !os.SameFile(mine, there) {
		return &BusyError{j.path}
	}
	return nil
}

// Records gives all records. The caller does not change them.
func (j *Journal) Records() []Record { return j.records }

// Append writes one record and returns when it is on disk. On an error the
// record does not count, even if parts of it are there.
func (j *Journal) Append(r Record) error {
	r.Format, r.Seq, r.Time = Format, len(j.records)+1, j.now().UTC()
	line, err := encode(r)
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	if err := j.write(line); err != nil {
		// The next record must not follow on half a line. If even this
		// fails, the number of bytes still does: see write.
		return fmt.Errorf("journal %s: %w", j.path, errors.Join(err, j.file.Truncate(j.size)))
	}
	j.size += int64(len(line))
	j.records = append(j.records, r)
	return nil
}

func (j *Journal) write(line []byte) error {
	if err := j.file.Truncate(j.size); err != nil { // what a crash or an error left
		return err
	}
	if _, err := j.file.WriteAt(line, j.size); err != nil {
		return err
	}
	return j.file.Sync()
}

// Close ends the lock. It does not end the run.
func (j *Journal) Close() error { return j.file.Close() }

// Read gives the records of a journal that somebody else may be writing.
func Read(path string) ([]Record, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the caller's path
	if err != nil {
		return nil, err
	}
	records, _, err := parse(path, data)
	return records, err
}

// parse gives the records of a journal and the size of what is complete.
func parse(path string, data []byte) ([]Record, int64, error) {
	var records []Record
	size := int64(0)
	for line := 1; ; line++ {
		text, rest, whole := bytes.Cut(data, []byte{'\n'})
		if !whole { // nothing, or a record that was never acknowledged
			return records, size, nil
		}
		r, reason := decode(text, line)
		if reason != "" {
			return nil, 0, &DamagedError{path, line, reason, records}
		}
		records = append(records, r)
		size += int64(len(text)) + 1
		data = rest
	}
}
