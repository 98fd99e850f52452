package wizard

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"weft/wizard/journal"
)

// ext is how the names of journals end.
const ext = ".journal"

// runID is what a run's ID looks like: it is part of a file's name.
var runID = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}$`)

// Store is the directory with the journals of this machine's runs.
type Store struct {
	Dir string // made when it is needed, mode 0700
	Now func() time.Time
}

// NoRunError says that no run goes by an ID or its beginning.
type NoRunError struct{ ID string }

func (e *NoRunError) Error() string {
	return "no run " + e.ID + " on this machine: `weft workflow ls` lists them"
}

// OpenRunError says that something can't be done while a run is open.
type OpenRunError struct{ Run string }

func (e *OpenRunError) Error() string {
	return fmt.Sprintf("run %[1]s is open: finish it with `weft workflow resume %[1]s` or `weft workflow rollback %[1]s`, or leave everything as it is with `weft workflow abort %[1]s`", e.Run)
}

// OverError says that a run has ended already.
type OverError struct {
	Run    string
	Result Result
}

func (e *OverError) Error() string {
	return fmt.Sprintf("run %s is over: %s", e.Run, e.Result)
}

func (s *Store) path(id string) string { return filepath.Join(s.Dir, id+ext) }

// create makes the journal of a new run, and the run's ID.
func (s *Store) create() (string, *journal.Journal, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return "", nil, err
	}
	for {
		var b [2]byte
		rand.Read(b[:])
		id := s.Now().UTC().Format("20060102-150405-") + hex.EncodeToString(b[:])
		j, err := journal.Create(s.path(id), s.Now)
		if !errors.Is(err, fs.ErrExist) {
			return id, j, err
		}
	}
}

// Find gives the whole ID of a run from its beginning.
func (s *Store) Find(prefix string) (string, error) {
	ids, err := s.ids()
	if err != nil {
		return "", err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, prefix) })
	switch {
	case len(ids) == 0 || prefix == "":
		return "", &NoRunError{prefix}
	case len(ids) > 1 && ids[0] != prefix:
		return "", fmt.Errorf("run %s is ambiguous: %s", prefix, strings.Join(ids, ", "))
	}
	return ids[0], nil
}

// ids gives the IDs of all runs, oldest first.
func (s *Store) ids() ([]string, error) {
	files, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, f := range files {
		if id, is := strings.CutSuffix(f.Name(), ext); is && runID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Load gives a run as its journal has it now.
func (s *Store) Load(id string) (Run, error) {
	if !runID.MatchString(id) {
		return Run{}, &NoRunError{id}
	}
	records, err := journal.Read(s.path(id))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(records) == 0 { // killed before it was a run
		return Run{}, &NoRunError{id}
	}
	if damaged := (*journal.DamagedError)(nil); errors.As(err, &damaged) {
		return Run{}, salvage(id, damaged)
	}
	if err != nil {
		return Run{}, err
	}
	return replay(id, records)
}

// DamagedRunError says that a run can't be gone on with, and what its journal
// still tells.
type DamagedRunError struct {
	Known Run // up to the damage; without a plan: nothing is known
	Err   *journal.DamagedError
}

func (e *DamagedRunError) Error() string {
	lines := []string{"run " + e.Known.ID + ": " + e.Err.Error()}
	p := &e.Known.Plan
	if p.Title == "" {
		return lines[0]
	}
	lines = append(lines, "until then: "+p.Title, "asked for by: "+p.Command, fmt.Sprintf("steps done: %d of %d", e.Known.InForce(), len(p.Steps)))
	for _, step := range p.Steps {
		if phase := e.Known.Phases[step.ID]; phase == Begun || phase == UndoBegun {
			lines = append(lines, "under way: "+step.Title)
		}
	}
	if e.Known.Saved != nil {
		lines = append(lines, "what it saved to undo itself, service specs included, is whole: line 1 of the file, member \"secret\"")
	}
	return strings.Join(lines, "\n  ")
}

func (e *DamagedRunError) Unwrap() error { return e.Err }

// salvage reads what stands before the damage.
func salvage(id string, damaged *journal.DamagedError) error {
	known := Run{ID: id}
	if len(damaged.Sound) > 0 {
		if r, err := replay(id, damaged.Sound); err == nil {
			known = r
		}
	}
	return &DamagedRunError{known, damaged}
}

// Runs gives all runs, oldest first. Those whose journal can't be read are in
// the error, and the others are given all the same.
func (s *Store) Runs() ([]Run, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	var runs []Run
	var errs []error
	for _, id := range ids {
		r, err := s.Load(id)
		if none := (*NoRunError)(nil); errors.As(err, &none) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		runs = append(runs, r)
	}
	slices.SortStableFunc(runs, func(a, b Run) int { return a.Started.Compare(b.Started) }) // an ID tells the second only
	return runs, errors.Join(errs...)
}

// open gives a run and its journal for going on with it. The caller closes the
// journal.
func (s *Store) open(id string) (Run, *journal.Journal, error) {
	if _, err := s.Load(id); err != nil {
		return Run{}, nil, err
	}
	j, err := journal.Open(s.path(id), s.Now)
	if err != nil {
		return Run{}, nil, err
	}
	r, err := replay(id, j.Records())
	if err != nil {
		return Run{}, nil, errors.Join(err, j.Close())
	}
	return r, j, nil
}

// Remove forgets a run that is over.
func (s *Store) Remove(id string) error {
	r, err := s.Load(id)
	if err != nil {
		return err
	}
	if r.Open() {
		return &OpenRunError{id}
	}
	return os.Remove(s.path(id))
}

// RemoveDamaged forgets a run whose journal can't be believed. Another run is
// left as it is, without an error.
func (s *Store) RemoveDamaged(id string) error {
	_, err := s.Load(id)
	if damaged := (*DamagedRunError)(nil); !errors.As(err, &damaged) {
		return err
	}
	return os.Remove(s.path(id))
}

// discard takes away the journal of a run that has changed nothing.
func (s *Store) discard(id string, j *journal.Journal) error {
	return errors.Join(os.Remove(s.path(id)), j.Close())
}
