package fsview

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/model"
)

// Layer is one mount of a root file system, in the order they are made; an
// overlay or a bind.
type Layer struct {
	Type    string
	Source  string
	Options []string // as mount(8) has them
}

// View is a container's file system.
type View struct {
	Pid int // of the container's first process; 0: it does not run
	// Still reports whether Pid is the container's: a process that has ended
	// may have given its number to one of the host's.
	Still  func() bool
	Root   []Layer       // how its root is mounted when it does not run
	Mounts []model.Mount // what is mounted in it when it does not run
	Bare   bool          // the root alone, without what is mounted in it
	// Dir is an empty directory of the host. In the thread's own namespace the
	// root is mounted there.
	Dir string
}

// errEnded is what Do reports when fn ended its goroutine and returned nothing.
var errEnded = errors.New("the function ended its goroutine")

var errJustEnded = fault.Conflict("it has just ended")

// Do runs fn on a thread whose root is the container's. Goroutines and
// processes that fn starts run outside, or not at all: fn must not start any.
func (v View) Do(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errEnded
		defer func() { result <- err }()
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread is the one /proc/self/root shows.
			// Held here, it leaves another one to the inner call.
			defer runtime.UnlockOSThread()
			err = v.Do(fn)
			return
		}
		// Never unlocked: the thread, and its namespace, end with the goroutine.
		if err = v.enter(); err == nil {
			err = fn()
		}
	}()
	return <-result
}

// Open gives a directory of the container to look at from outside, by its
// /proc/self/fd path. Links on the way lead nowhere but into the container.
func (v View) Open(path string) (*os.File, error) {
	var dir *os.File
	err := v.Do(func() (err error) {
		dir, err = os.Open(path) //nolint:gosec // in the container's root
		return err
	})
	return dir, err
}

func (v View) enter() error {
	if err := v.enterNamespace(); err != nil {
		return fmt.Errorf("look into the container: %w", err)
	}
	return nil
}

func (v View) enterNamespace() error {
	if v.Pid == 0 {
		return v.build()
	}
	ns, err := os.Open("/proc/" + strconv.Itoa(v.Pid) + "/ns/mnt")
	if errors.Is(err, os.ErrNotExist) {
		return errJustEnded
	}
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	if !v.Still() {
		return errJustEnded
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter its mount namespace: %w", err)
	}
	if !v.Bare {
		return nil
	}
	// A copy of the root's mount has nothing mounted in it.
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("copy its root: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Fchdir(fd); err != nil {
		return err
	}
	return unix.Chroot(".")
}

// build makes the container's file system in a namespace of the thread's own.
func (v View) build() error {
	if len(v.Root) == 0 {
		return fault.Unsupported("its image is built into the engine: it has files only while it runs")
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	// Unmounts on the host still reach us, so that we keep nothing busy.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	for _, l := range v.Root {
		if err := l.mount(v.Dir); err != nil {
			return fmt.Errorf("mount its root: %w", err)
		}
	}
	var inside []attachment
	if !v.Bare {
		var err error
		if inside, err = detachAll(v.Mounts); err != nil {
			return err
		}
	}
	if err := pivot(v.Dir); err != nil {
		return err
	}
	for _, a := range inside {
		if err := a.attach(); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes a mount the thread's root and lets the host's go.
func pivot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	// The old root is stacked on the new one: pivot_root(2), NOTES.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("enter its root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}
	return unix.Chdir("/")
}
