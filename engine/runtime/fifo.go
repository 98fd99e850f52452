package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/containerd"
)

// fifos are the named pipes between a process of containerd's and us. Its shim
// holds both ends of them: what is written while we are dead waits there, and
// who comes next reads on.
type fifos struct{ dir string }

func (f fifos) path(name string) string { return filepath.Join(f.dir, name) }

// The names of the pipes in their directory.
const (
	fifoIn  = "in"
	fifoOut = "out"
	fifoErr = "err"
)

// make creates the pipes a process needs. A terminal has no separate errors.
func (f fifos) make(input, terminal bool) (containerd.Streams, error) {
	s := containerd.Streams{Stdout: f.path(fifoOut), Terminal: terminal}
	if input || terminal {
		s.Stdin = f.path(fifoIn)
	}
	if !terminal {
		s.Stderr = f.path(fifoErr)
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return s, fmt.Errorf("make standard streams: %w", err)
	}
	for _, path := range []string{s.Stdin, s.Stdout, s.Stderr} {
		if path == "" {
			continue
		}
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return s, fmt.Errorf("make standard streams: %s: %w", path, err)
		}
	}
	return s, nil
}

// open gives our ends of the outputs. containerd's can't be opened before.
func (f fifos) open() (s stdio, err error) {
	for name, p := range map[string]*pipe{fifoOut: &s.stdout, fifoErr: &s.stderr} {
		p.ours, err = os.OpenFile(f.path(name), os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return s, fmt.Errorf("open standard streams: %w", err)
		}
	}
	return s, nil
}

// fifoTimeout is how long containerd's shim may take to open its end of the
// input once the process exists: it does so in the background.
const fifoTimeout = 5 * time.Second

// openInput gives our end of the input; nil: the process has none.
func (f fifos) openInput() (*os.File, error) {
	timeout := time.NewTimer(fifoTimeout)
	defer timeout.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		in, err := os.OpenFile(f.path(fifoIn), os.O_WRONLY|unix.O_NONBLOCK, 0)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, nil
		case !errors.Is(err, unix.ENXIO):
			return in, err
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return nil, fmt.Errorf("open standard input: containerd's shim has not: %w", err)
		}
	}
}

// close lets our ends go and removes the pipes.
func (f fifos) close(s *stdio) error {
	for _, p := range []pipe{s.stdin, s.stdout, s.stderr} {
		_ = p.ours.Close() // nil is fine
	}
	return os.RemoveAll(f.dir)
}
