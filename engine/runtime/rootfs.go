package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountPoint is a file system of the sandbox. Paths are relative to its root.
type mountPoint struct {
	target, kind string
	flags        uintptr
	options      string
}

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mounts are the sandbox's file systems besides its root, with Docker's
// options (oci/defaults.go).
var mounts = []mountPoint{
	{"proc", "proc", quiet, ""},
	{"dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{"dev/shm", "tmpfs", quiet, "mode=1777,size=65536k"},
}

// devices are bound from the host: a node can't be made in a user namespace.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

var devLinks = []struct{ name, target string }{
	{"ptmx", "pts/ptmx"},
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
}

// maskedPaths and readOnlyPaths are Docker's (oci/defaults.go); the sandbox
// has no /sys.
var (
	maskedPaths = []string{
		"proc/asound", "proc/acpi", "proc/interrupts", "proc/kcore", "proc/keys", "proc/latency_stats",
		"proc/timer_list", "proc/timer_stats", "proc/sched_debug", "proc/scsi",
	}
	readOnlyPaths = []string{"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"}
)

// buildRoot makes the sandbox's root and enters it; nothing of the host's file
// system can be reached afterwards.
func (b sandbox) buildRoot(hostNetwork bool) error {
	// Unmounts on the host still reach us, so that we keep nothing busy; ours
	// don't reach it.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", b.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m"); err != nil {
		return err
	}
	for _, step := range []func() error{b.mountAll, b.makeDevices, b.bindProgram, b.writeFiles} {
		if err := step(); err != nil {
			return err
		}
	}
	if !hostNetwork {
		if err := setNetworkSysctls(b.path("proc")); err != nil {
			return err
		}
	}
	if err := b.hideProc(); err != nil {
		return err
	}
	return b.enter()
}

// path gives the place of a path of the sandbox before it is entered.
func (b sandbox) path(name string) string { return filepath.Join(b.Root, name) }

func (b sandbox) mountAll() error {
	for _, m := range mounts {
		if err := os.MkdirAll(b.path(m.target), 0o755); err != nil {
			return err
		}
		err := mount(m.kind, b.path(m.target), m.kind, m.flags, m.options)
		if m.kind == "devpts" && errors.Is(err, unix.EINVAL) {
			// A user namespace may have no group 5.
			err = mount(m.kind, b.path(m.target), m.kind, m.flags, "newinstance,ptmxmode=0666,mode=0620")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b sandbox) makeDevices() error {
	for _, name := range devices {
		if err := bind("/dev/"+name, b.path("dev/"+name), unix.MS_NOSUID|unix.MS_NOEXEC); err != nil {
			return err
		}
	}
	for _, l := range devLinks {
		if err := os.Symlink(l.target, b.path("dev/"+l.name)); err != nil {
			return err
		}
	}
	return nil
}

// bindProgram makes this program the sandbox's only one, under two names.
func (b sandbox) bindProgram() error {
	if err := os.Mkdir(b.path("bin"), 0o755); err != nil {
		return err
	}
	target := b.path(probePath)
	if err := os.WriteFile(target, nil, 0o755); err != nil { //nolint:gosec // what is mounted over it must be executable
		return err
	}
	if err := unix.MoveMount(programFD, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	if err := restrict(target, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV); err != nil {
		return err
	}
	return os.Symlink(probePath, b.path("bin/"+ProbeName))
}

// hideProc keeps from the container what /proc tells about the host or lets
// root change.
func (b sandbox) hideProc() error {
	for _, name := range readOnlyPaths {
		target := b.path(name)
		if _, err := os.Lstat(target); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := bindOver(target, target, unix.MS_RDONLY|quiet); err != nil {
			return err
		}
	}
	for _, name := range maskedPaths {
		target := b.path(name)
		st, err := os.Lstat(target)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if st.IsDir() {
			err = mount("tmpfs", target, "tmpfs", unix.MS_RDONLY|quiet, "size=0")
		} else {
			err = mount("/dev/null", target, "", unix.MS_BIND, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enter makes the sandbox's root this process's, read-only, and lets the
// host's go.
func (b sandbox) enter() error {
	if err := os.MkdirAll(b.path(b.Bundle.Dir), 0o755); err != nil {
		return fmt.Errorf("make working directory: %w", err)
	}
	if err := unix.Chdir(b.Root); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	// The old root is stacked on the new one: pivot_root(2), NOTES.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := restrict("/", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV); err != nil {
		return err
	}
	if err := unix.Chdir(b.Bundle.Dir); err != nil {
		return fmt.Errorf("enter working directory %s: %w", b.Bundle.Dir, err)
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// bind makes the file source appear at target, which it creates.
func bind(source, target string, flags uintptr) error {
	f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return bindOver(source, target, flags)
}

func bindOver(source, target string, flags uintptr) error {
	if err := mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return restrict(target, flags)
}

// keptFlags pairs what statfs says of a mount with the flag that asks for it:
// in a user namespace a remount must not take them away.
var keptFlags = []struct {
	have int64
	want uintptr
}{
	{unix.ST_RDONLY, unix.MS_RDONLY},
	{unix.ST_NOSUID, unix.MS_NOSUID},
	{unix.ST_NODEV, unix.MS_NODEV},
	{unix.ST_NOEXEC, unix.MS_NOEXEC},
	{unix.ST_NOATIME, unix.MS_NOATIME},
	{unix.ST_NODIRATIME, unix.MS_NODIRATIME},
	{unix.ST_RELATIME, unix.MS_RELATIME},
}

// restrict adds flags to a mount.
func restrict(target string, flags uintptr) error {
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	for _, f := range keptFlags {
		if st.Flags&f.have != 0 {
			flags |= f.want
		}
	}
	return mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|flags, "")
}
