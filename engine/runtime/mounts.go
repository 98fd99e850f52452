package runtime

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// detached is a mount that is attached nowhere yet. Those of a container are
// made while the host's files can be reached and attached when only its own
// root can: no link of an image leads one anywhere else.
type detached struct {
	fd     int
	target string // absolute, inside the container
	dir    bool   // what it takes the place of
}

// mountAttrs are the options of mount(8) that are attributes of a mount
// (MOUNT_ATTR_* of <linux/mount.h>).
var mountAttrs = map[string]uint64{
	"ro": unix.MOUNT_ATTR_RDONLY, "nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV,
	"noexec": unix.MOUNT_ATTR_NOEXEC, "noatime": unix.MOUNT_ATTR_NOATIME, "strictatime": unix.MOUNT_ATTR_STRICTATIME,
	"nodiratime": unix.MOUNT_ATTR_NODIRATIME, "relatime": unix.MOUNT_ATTR_RELATIME,
}

// undone are the options that take an attribute's name back.
var undone = map[string]string{"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec"}

// propagations are the words for who sees the mounts made below a mount.
var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE, "shared": unix.MS_SHARED, "rshared": unix.MS_SHARED,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE,
}

// mountOptions are the options of a mount, sorted by what they are.
type mountOptions struct {
	attrs       uint64
	propagation uint64
	recursive   bool
	data        []string // of the file system
}

func parseOptions(list []string) mountOptions {
	var o mountOptions
	names := map[string]bool{}
	for _, opt := range list {
		if mode, ok := propagations[opt]; ok {
			o.propagation = mode
		} else if _, ok := mountAttrs[opt]; ok {
			names[opt] = true
		} else if attr, ok := undone[opt]; ok {
			delete(names, attr)
		} else if opt == "rbind" {
			o.recursive = true
		} else if opt != "bind" {
			o.data = append(o.data, opt)
		}
	}
	for name := range names {
		o.attrs |= mountAttrs[name]
	}
	return o
}

// detach makes a mount of the specification.
func detach(m specs.Mount) (detached, error) {
	d := detached{target: path.Clean(m.Destination), dir: true}
	o := parseOptions(m.Options)
	var err error
	switch m.Type {
	case "bind":
		err = d.clone(m.Source, o)
	case "devpts": // makes no nodes but its own
		d.fd, err = makeMount(m.Type, append([]string{"source=" + m.Source}, o.data...), o.attrs)
	default:
		d.fd, err = makeMount(m.Type, append([]string{"source=" + m.Source}, o.data...), o.attrs|unix.MOUNT_ATTR_NODEV)
	}
	if err != nil {
		return d, fmt.Errorf("mount %s: %w", m.Destination, err)
	}
	return d, nil
}

// clone takes what is at a path of the host.
func (d *detached) clone(source string, o mountOptions) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	d.dir = st.IsDir()
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	attrFlags := uint(unix.AT_EMPTY_PATH)
	if o.recursive {
		flags |= unix.AT_RECURSIVE
		attrFlags |= unix.AT_RECURSIVE
	}
	if d.fd, err = unix.OpenTree(unix.AT_FDCWD, source, flags); err != nil {
		return err
	}
	if !harmless(st) {
		o.attrs |= unix.MOUNT_ATTR_NODEV
	}
	attr := unix.MountAttr{Attr_set: o.attrs, Propagation: o.propagation}
	return unix.MountSetattr(d.fd, "", attrFlags, &attr)
}

// harmless reports whether a file is one of the devices every container has.
// All others are dead in a container, wherever their nodes come from: a mount
// of the host's, or mknod(2), which Docker's containers may call.
func harmless(st os.FileInfo) bool {
	for _, name := range devices {
		if own, err := os.Stat("/dev/" + name); err == nil && sameDevice(st, own) {
			return true
		}
	}
	return false
}

// sameDevice reports whether two files are nodes of one device.
func sameDevice(a, b os.FileInfo) bool {
	x, isStat := a.Sys().(*syscall.Stat_t)
	y, isStatToo := b.Sys().(*syscall.Stat_t)
	return isStat && isStatToo && a.Mode().Type()&os.ModeDevice != 0 && a.Mode().Type() == b.Mode().Type() && x.Rdev == y.Rdev
}

// makeMount makes a file system with options "name=value" or "name".
func makeMount(kind string, options []string, attrs uint64) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(fs) }()
	for _, opt := range options {
		name, value, has := strings.Cut(opt, "=")
		switch {
		case !has:
			err = unix.FsconfigSetFlag(fs, name)
		default:
			err = unix.FsconfigSetString(fs, name, value)
		}
		if kind == "devpts" && name == "gid" && errors.Is(err, unix.EINVAL) {
			err = nil // a user namespace may have no group 5
		}
		if err != nil {
			return -1, fmt.Errorf("option %s: %w", opt, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(attrs)) //nolint:gosec // the bits above
}

// attach puts the mount into the root this thread is in, and makes the place
// for it if need be.
func (d detached) attach() error {
	defer func() { _ = unix.Close(d.fd) }()
	if err := makePlace(d.target, d.dir); err != nil {
		return fmt.Errorf("mount %s: %w", d.target, err)
	}
	if err := unix.MoveMount(d.fd, "", unix.AT_FDCWD, d.target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", d.target, err)
	}
	return nil
}

// makePlace makes a directory, or an empty file, unless something is there.
func makePlace(target string, dir bool) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if dir {
		return makeDirs(target)
	}
	if err := makeDirs(path.Dir(target)); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // hidden by what is mounted over it
	if err != nil {
		return err
	}
	return f.Close()
}

// makeDirs is os.MkdirAll that also makes what links on the way lead to.
func makeDirs(dir string) error {
	const maxLinks = 40 // MAXSYMLINKS of <linux/namei.h>
	for range maxLinks {
		err := os.MkdirAll(dir, 0o755)
		if !errors.Is(err, os.ErrExist) {
			return err
		}
		link, to := danglingLink(dir)
		if link == "" {
			return err
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(link), to)
		}
		if rest := strings.TrimPrefix(dir, link); rest != dir {
			dir = path.Join(to, rest)
		}
	}
	return unix.ELOOP
}

// danglingLink finds the first link on the way to dir that leads nowhere.
func danglingLink(dir string) (link, to string) {
	at := "/"
	for name := range strings.SplitSeq(strings.Trim(path.Clean(dir), "/"), "/") {
		at = path.Join(at, name)
		to, err := os.Readlink(at)
		if err != nil {
			continue
		}
		if _, err := os.Stat(at); err != nil {
			return at, to
		}
	}
	return "", ""
}

// remountReadOnly makes what is at a path read-only, whatever is mounted there.
func remountReadOnly(target string, attrs uint64) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, target, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	defer func() { _ = unix.Close(fd) }()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | attrs}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}

// mask hides what is at a path behind nothing.
func mask(target string) error {
	st, err := os.Lstat(target)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hide %s: %w", target, err)
	}
	d := detached{target: target, dir: st.IsDir()}
	if d.dir {
		d.fd, err = makeMount("tmpfs", []string{"size=0", "nr_inodes=1"}, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	} else {
		d.fd, err = unix.OpenTree(unix.AT_FDCWD, "/dev/null", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	}
	if err != nil {
		return fmt.Errorf("hide %s: %w", target, err)
	}
	return d.attach()
}
