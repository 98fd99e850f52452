package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// logLimit is the size a log file may reach before it becomes the old one,
// which is dropped when the next does: a container keeps at most twice this.
const logLimit = 10 << 20

// lineMax is the longest line in one record; what is longer takes several
// without newlines between, as Docker does (daemon/logger/copier.go).
const lineMax = 16 << 10

// logRecord is a line of the log: Docker's json-file format.
type logRecord struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// logWriter writes a container's log. It is not safe for concurrent use.
type logWriter struct {
	dir     string
	now     func() time.Time
	limit   int64
	file    *os.File
	size    int64
	partial [streamStderr + 1][]byte // by stream: a line without its end yet
}

// openLog goes on with the log in dir.
func openLog(dir string, limit int64, now func() time.Time) (*logWriter, error) {
	w := &logWriter{dir: dir, limit: limit, now: now}
	if err := w.open(); err != nil {
		return nil, err
	}
	// A crash of the host may have cut the last line.
	last := make([]byte, 1)
	if n, _ := w.file.ReadAt(last, max(w.size-1, 0)); n == 1 && last[0] != '\n' {
		if err := w.append([]byte("\n")); err != nil {
			return nil, errors.Join(err, w.file.Close())
		}
	}
	return w, nil
}

func (w *logWriter) open() error {
	f, err := os.OpenFile(filepath.Join(w.dir, fileLog), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	w.file, w.size = f, st.Size()
	return nil
}

// write logs the complete lines that p ends, and keeps the rest.
func (w *logWriter) write(stream byte, p []byte) error {
	var out []byte
	rest := append(w.partial[stream], p...)
	for len(rest) > 0 {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 || n > lineMax {
			if len(rest) < lineMax {
				break
			}
			n = lineMax
		}
		var err error
		if out, err = w.encode(out, stream, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	w.partial[stream] = append(w.partial[stream][:0:0], rest...)
	return w.append(out)
}

// flush logs what stream left without an end of line.
func (w *logWriter) flush(stream byte) error {
	if len(w.partial[stream]) == 0 {
		return nil
	}
	out, err := w.encode(nil, stream, w.partial[stream])
	if err != nil {
		return err
	}
	w.partial[stream] = nil
	return w.append(out)
}

func (w *logWriter) encode(out []byte, stream byte, line []byte) ([]byte, error) {
	name := "stdout"
	if stream == streamStderr {
		name = "stderr"
	}
	b, err := json.Marshal(logRecord{Log: string(line), Stream: name, Time: w.now().UTC()})
	if err != nil {
		return nil, fmt.Errorf("write log: %w", err)
	}
	return append(append(out, b...), '\n'), nil
}

func (w *logWriter) append(out []byte) error {
	if len(out) == 0 {
		return nil
	}
	if w.size > 0 && w.size+int64(len(out)) > w.limit {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	n, err := w.file.Write(out)
	w.size += int64(n)
	if err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

func (w *logWriter) rotate() error {
	path := filepath.Join(w.dir, fileLog)
	if err := os.Rename(path, filepath.Join(w.dir, fileOldLog)); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	old := w.file
	if err := w.open(); err != nil {
		return err
	}
	return old.Close()
}

func (w *logWriter) close() error { return w.file.Close() }
