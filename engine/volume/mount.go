package volume

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"weft/engine/model"
)

// mounted reports whether a file system is mounted on the volume.
func (v *volume) mounted() (bool, error) {
	if len(v.rec.Options) == 0 {
		return false, nil
	}
	return mountinfo.Mounted(v.rec.Path)
}

// mount mounts the volume's file system, if it has one and it isn't.
func (v *volume) mount() error {
	if len(v.rec.Options) == 0 {
		return nil
	}
	is, err := v.mounted()
	if err != nil || is {
		return err
	}
	device, kind := v.rec.Options["device"], v.rec.Options["type"]
	flags, data := parseOptions(v.rec.Options["o"])
	err = unix.Mount(device, v.rec.Path, kind, flags, data)
	if err == nil && flags&unix.MS_BIND != 0 && flags&^(unix.MS_BIND|unix.MS_REC) != 0 {
		// A bind takes its flags only when it is made anew.
		if err = unix.Mount("", v.rec.Path, "", flags&^unix.MS_REC|unix.MS_REMOUNT, ""); err != nil {
			err = errors.Join(err, unmountAll(v.rec.Path))
		}
	}
	if err != nil {
		return fmt.Errorf("error while mounting volume '%s': failed to mount local volume: mount %s:%s: %w", v.rec.Path, device, v.rec.Path, err)
	}
	return nil
}

// unmountAll takes away whatever is mounted on or below a directory.
func unmountAll(dir string) error {
	real, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return nil //nolint:nilerr // nothing can be mounted on what is not there
	}
	dir = filepath.Join(real, filepath.Base(dir))
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("unmount volume: %w", err)
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		at := mounts[i].Mountpoint
		if at != dir && !strings.HasPrefix(at, dir+"/") {
			continue
		}
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", at, err)
		}
	}
	return nil
}

// Mount makes the volumes among mounts ready for a container that is to run.
// Called again it changes nothing.
func (s *Store) Mount(_ context.Context, containerID string, mounts []model.Mount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range volumesOf(mounts) {
		v := s.vols[m.Name]
		if v == nil {
			return errors.Join(notFound(m.Name), s.unmountLocked(containerID, mounts))
		}
		v.users[containerID] = true
		if err := v.mount(); err != nil {
			return errors.Join(err, s.unmountLocked(containerID, mounts))
		}
		s.publishMount("mount", containerID, m)
	}
	return nil
}

// Unmount undoes Mount for a container that does not run any more.
func (s *Store) Unmount(_ context.Context, containerID string, mounts []model.Mount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unmountLocked(containerID, mounts)
}

func (s *Store) unmountLocked(containerID string, mounts []model.Mount) error {
	var errs []error
	for _, m := range volumesOf(mounts) {
		v := s.vols[m.Name]
		if v == nil || !v.users[containerID] {
			continue
		}
		delete(v.users, containerID)
		if len(v.users) == 0 && len(v.rec.Options) > 0 {
			errs = append(errs, unmountAll(v.rec.Path))
		}
		s.publishMount("unmount", containerID, m)
	}
	return errors.Join(errs...)
}

func (s *Store) publishMount(action, containerID string, m model.Mount) {
	attrs := map[string]string{"driver": model.VolumeDriver, "container": containerID}
	if action == "mount" {
		attrs["destination"], attrs["propagation"] = m.Target, m.Propagation
		attrs["read/write"] = strconv.FormatBool(!m.ReadOnly)
	}
	s.publish(m.Name, action, attrs)
}

// volumesOf gives the mounts that are volumes, each volume once.
func volumesOf(mounts []model.Mount) []model.Mount {
	var out []model.Mount
	seen := map[string]bool{}
	for _, m := range mounts {
		if m.Kind == model.MountVolume && !seen[m.Name] {
			seen[m.Name] = true
			out = append(out, m)
		}
	}
	return out
}
