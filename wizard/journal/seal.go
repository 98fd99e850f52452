package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Seal takes the secrets out of a journal that has ended, and closes it. The
// file is replaced as a whole: it is complete at any moment.
func (j *Journal) Seal() error {
	err := j.replace()
	return errors.Join(err, j.Close())
}

func (j *Journal) replace() error {
	tmp, err := os.CreateTemp(filepath.Dir(j.path), ".sealed-*") // mode 0600
	if err != nil {
		return fmt.Errorf("seal journal %s: %w", j.path, err)
	}
	if err := j.writeSealed(tmp); err != nil {
		return fmt.Errorf("seal journal %s: %w", j.path, errors.Join(err, os.Remove(tmp.Name())))
	}
	return syncDir(filepath.Dir(j.path))
}

func (j *Journal) writeSealed(tmp *os.File) error {
	for _, r := range j.records {
		r.Secret = nil
		line, err := encode(r)
		if err == nil {
			_, err = tmp.Write(line)
		}
		if err != nil {
			return errors.Join(err, tmp.Close())
		}
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), j.path)
}

// syncDir makes the entries of a directory last.
func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // the caller's path
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
