package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	continuity "github.com/containerd/continuity/fs"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/model"
)

// fillName is where content is gathered: nobody takes half a copy for a whole.
const fillName = "_fill"

func (s *Store) fillPath(name string) string { return filepath.Join(s.cfg.Dir, name, fillName) }

// Fill copies a directory with owners, modes, times and attributes into an
// empty volume that a container has taken. In a volume with something in it,
// or in use, nothing changes. A source that is not there is no error.
func (s *Store) Fill(ctx context.Context, containerID string, m model.Mount, source string) error {
	st, err := os.Stat(source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("fill volume %s: %w", m.Name, err)
	case !st.IsDir():
		return fault.Invalid("cannot mount volume over existing file, file exists %s", m.Target)
	}
	s.mu.Lock()
	v := s.vols[m.Name]
	ready := v != nil && (len(v.rec.Options) > 0 || len(v.users) == 0 && empty(v.rec.Path))
	s.mu.Unlock()
	switch {
	case !ready:
		return nil
	case len(v.rec.Options) > 0:
		return s.fillMounted(ctx, containerID, m, source)
	}
	return s.fillPlain(v, source)
}

func empty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// fillPlain gathers the content beside the volume and gives it to it at once.
func (s *Store) fillPlain(v *volume, source string) error {
	tmp := s.fillPath(v.rec.Name)
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("fill volume %s: %w", v.rec.Name, err)
	}
	if err := continuity.CopyDir(tmp, source); err != nil {
		return errors.Join(fmt.Errorf("failed to populate volume: %w", err), os.RemoveAll(tmp))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(v.users) > 0 || !empty(v.rec.Path) {
		return os.RemoveAll(tmp)
	}
	if err := unix.Rename(tmp, v.rec.Path); err != nil { // takes the place of an empty directory
		return errors.Join(fmt.Errorf("fill volume %s: %w", v.rec.Name, err), os.RemoveAll(tmp))
	}
	return nil
}

// fillMounted fills the file system that is mounted on a volume.
func (s *Store) fillMounted(ctx context.Context, containerID string, m model.Mount, source string) error {
	mounts := []model.Mount{m}
	if err := s.Mount(ctx, containerID, mounts); err != nil {
		return fmt.Errorf("failed to populate volume: %w", err)
	}
	var err error
	if path := s.Path(m.Name); empty(path) {
		err = continuity.CopyDir(path, source)
	}
	return errors.Join(err, s.Unmount(ctx, containerID, mounts))
}
