package container

import (
	"errors"
	"fmt"
	"os"
)

// cidFile is the file that --cidfile names. It is made before the container,
// so that two invocations cannot both take it, and removed again if no
// container came of it. The zero value, without --cidfile, does nothing.
type cidFile struct {
	file    *os.File
	written bool
}

func openCIDFile(path string) (*cidFile, error) {
	if path == "" {
		return &cidFile{}, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // G302, G304: an ID is no secret and the path is the user's
	switch {
	case errors.Is(err, os.ErrExist):
		return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", path)
	case err != nil:
		return nil, fmt.Errorf("failed to create the container ID file: %w", err)
	}
	return &cidFile{file: file}, nil
}

func (c *cidFile) write(id string) error {
	if c.file == nil {
		return nil
	}
	if _, err := c.file.WriteString(id); err != nil {
		return fmt.Errorf("failed to write the container ID to the file: %w", err)
	}
	c.written = true
	return nil
}

func (c *cidFile) close() error {
	if c.file == nil {
		return nil
	}
	if err := c.file.Close(); err != nil {
		return fmt.Errorf("write the container ID to the file: %w", err)
	}
	if c.written {
		return nil
	}
	if err := os.Remove(c.file.Name()); err != nil {
		return fmt.Errorf("failed to remove the CID file '%s': %w", c.file.Name(), err)
	}
	return nil
}
