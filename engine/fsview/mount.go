package fsview

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/model"
)

// layerFlags are the options of root file systems that mount(2) takes as flags.
var layerFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "rw": 0, "bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC,
}

// mount mounts the layer in this thread's namespace. Paths are shortened to
// what they have in common: mount(2) takes a page of options, and an image may
// have a hundred layers.
func (l Layer) mount(dir string) error {
	flags := uintptr(0)
	var data []string
	for _, o := range l.Options {
		if f, ok := layerFlags[o]; ok {
			flags |= f
		} else {
			data = append(data, o)
		}
	}
	if flags&unix.MS_BIND != 0 {
		if err := unix.Mount(l.Source, dir, "", flags&^unix.MS_RDONLY, ""); err != nil || flags&unix.MS_RDONLY == 0 {
			return err
		}
		return unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	}
	base, short := shorten(data)
	if err := unix.Chdir(base); err != nil {
		return err
	}
	return unix.Mount(l.Source, dir, l.Type, flags, strings.Join(short, ","))
}

// shorten gives an overlay's options with its directories relative to a base.
func shorten(options []string) (base string, short []string) {
	base = "/"
	var dirs []string
	for _, o := range options {
		if name, value, ok := strings.Cut(o, "="); ok && slices.Contains([]string{"lowerdir", "upperdir", "workdir"}, name) {
			dirs = append(dirs, strings.Split(value, ":")...)
		}
	}
	if len(dirs) > 0 && !slices.ContainsFunc(dirs, func(d string) bool { return !filepath.IsAbs(d) }) {
		base = filepath.Dir(dirs[0])
		for _, d := range dirs {
			for base != "/" && !strings.HasPrefix(d, base+"/") {
				base = filepath.Dir(base)
			}
		}
	}
	prefix := strings.TrimSuffix(base, "/") + "/"
	for _, o := range options {
		name, value, ok := strings.Cut(o, "=")
		if !ok || !slices.Contains([]string{"lowerdir", "upperdir", "workdir"}, name) {
			short = append(short, o)
			continue
		}
		parts := strings.Split(value, ":")
		for i, d := range parts {
			parts[i] = strings.TrimPrefix(d, prefix)
		}
		short = append(short, name+"="+strings.Join(parts, ":"))
	}
	return base, short
}

// attachment is a mount that is attached nowhere yet.
type attachment struct {
	fd     int
	target string
	dir    bool
}

// detachAll takes what is mounted in the container while the host's files can
// still be reached, outer ones first. A tmpfs of a container that does not run
// has nothing in it.
func detachAll(mounts []model.Mount) ([]attachment, error) {
	sorted := slices.SortedStableFunc(slices.Values(mounts), func(a, b model.Mount) int {
		return cmp.Compare(strings.Count(path.Clean(a.Target), "/"), strings.Count(path.Clean(b.Target), "/"))
	})
	var out []attachment
	for _, m := range sorted {
		if m.Kind == model.MountTmpfs {
			continue
		}
		a, err := detach(m)
		if errors.Is(err, os.ErrNotExist) && m.MakeSource {
			continue // as good as an empty directory
		}
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.Target, err)
		}
		out = append(out, a)
	}
	return out, nil
}

func detach(m model.Mount) (attachment, error) {
	a := attachment{target: path.Clean(m.Target)}
	st, err := os.Stat(m.Source)
	if err != nil {
		return a, err
	}
	a.dir = st.IsDir()
	flags, attrFlags := uint(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC), uint(unix.AT_EMPTY_PATH)
	if !m.NonRecursive {
		flags, attrFlags = flags|unix.AT_RECURSIVE, attrFlags|unix.AT_RECURSIVE
	}
	if a.fd, err = unix.OpenTree(unix.AT_FDCWD, m.Source, flags); err != nil {
		return a, err
	}
	attr := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if m.ReadOnly {
		attr.Attr_set = unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(a.fd, "", attrFlags, &attr); err != nil {
		_ = unix.Close(a.fd)
		return a, err
	}
	return a, nil
}

// attach puts the mount into the root this thread is in by now.
func (a attachment) attach() error {
	defer func() { _ = unix.Close(a.fd) }()
	if err := a.place(); err != nil {
		return fmt.Errorf("mount %s: %w", a.target, err)
	}
	if err := unix.MoveMount(a.fd, "", unix.AT_FDCWD, a.target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", a.target, err)
	}
	return nil
}

// place makes what the mount takes the place of, unless it is there.
func (a attachment) place() error {
	if _, err := os.Stat(a.target); err == nil {
		return nil
	}
	if a.dir {
		return os.MkdirAll(a.target, 0o755) //nolint:gosec // as Docker makes it
	}
	if err := os.MkdirAll(path.Dir(a.target), 0o755); err != nil { //nolint:gosec // as Docker makes it
		return err
	}
	f, err := os.OpenFile(a.target, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // hidden by what is mounted over it
	if err != nil {
		return err
	}
	return f.Close()
}

// NotFound is Docker's answer for a path that is not in a container.
func NotFound(path, container string) error {
	return fault.NotFound("Could not find the file %s in container %s", path, container)
}
