package runtime

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// cursor reads a log that another process writes and rotates.
type cursor struct {
	dir     string
	files   []*os.File // to be read in this order; the last one may grow
	partial []byte     // the line whose end is not written yet
}

// openCursor begins at the oldest record.
func openCursor(dir string) (*cursor, error) {
	c := &cursor{dir: dir}
	for {
		current, err := openIfExists(filepath.Join(dir, fileLog))
		if err != nil {
			return nil, err
		}
		old, err := openIfExists(filepath.Join(dir, fileOldLog))
		if err != nil {
			return nil, errors.Join(err, current.Close())
		}
		// A rotation between the two would show the same file twice.
		if !sameFile(current, old) {
			for _, f := range []*os.File{old, current} {
				if f != nil {
					c.files = append(c.files, f)
				}
			}
			return c, nil
		}
		_ = errors.Join(current.Close(), old.Close())
	}
}

func openIfExists(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

func sameFile(a, b *os.File) bool {
	if a == nil || b == nil {
		return false
	}
	sa, errA := a.Stat()
	sb, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(sa, sb)
}

// each calls fn with every record that has not been read, up to the end of
// what is written.
func (c *cursor) each(fn func(logRecord) error) error {
	for {
		for i, f := range c.files {
			if err := c.read(f, fn); err != nil {
				return err
			}
			if i < len(c.files)-1 {
				_ = f.Close()
			}
		}
		if len(c.files) > 0 {
			c.files = c.files[len(c.files)-1:]
		}
		more, err := c.advance()
		if err != nil || !more {
			return err
		}
	}
}

// advance finds the files that a rotation put after the one just read.
func (c *cursor) advance() (bool, error) {
	next, err := openCursor(c.dir)
	if err != nil {
		return false, err
	}
	if len(c.files) == 0 {
		c.files = next.files
		return len(c.files) > 0, nil
	}
	last := c.files[0]
	for i, f := range next.files {
		if !sameFile(f, last) {
			continue
		}
		for _, seen := range next.files[:i+1] {
			_ = seen.Close()
		}
		// It may have grown until it was rotated.
		c.files = append(c.files, next.files[i+1:]...)
		return len(c.files) > 1, nil
	}
	c.files = append(c.files, next.files...)
	return len(c.files) > 1, nil
}

func (c *cursor) read(f *os.File, fn func(logRecord) error) error {
	in := bufio.NewReaderSize(f, frameMax)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			c.partial = append(c.partial, line...)
			return nil
		}
		if err != nil {
			return err
		}
		if len(c.partial) > 0 {
			line = append(c.partial, line...)
			c.partial = nil
		}
		if rec, ok := parseRecord(line); ok {
			if err := fn(rec); err != nil {
				return err
			}
		}
	}
}

func (c *cursor) close() {
	for _, f := range c.files {
		_ = f.Close()
	}
}
