package runtime

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
)

// sandboxMaker makes a container's processes itself: children of this one in
// namespaces of their own.
type sandboxMaker struct {
	bundle  bundle
	run     string // run directory
	log     *slog.Logger
	spawner *spawner
	cgroup  *cgroup // nil: the container has none
	pid     int     // of the first process
}

func newSandboxMaker(s *shim) (*sandboxMaker, error) {
	spawner, err := newSpawner()
	if err != nil {
		return nil, err
	}
	return &sandboxMaker{bundle: s.bundle, run: s.run, log: s.log, spawner: spawner}, nil
}

// first makes the container: a process in namespaces of its own, in a cgroup
// of its own.
func (m *sandboxMaker) first(s *session) error {
	var err error
	if s.stdio, err = openStdio(m.bundle.OpenStdin, m.bundle.Spec.Process.Terminal); err != nil {
		return err
	}
	if m.cgroup, err = makeCgroup(m.bundle, m.log); err != nil {
		return err
	}
	return m.spawner.spawn(s, sandbox{Bundle: m.bundle, Root: filepath.Join(m.run, fileRoot)}, &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}, func(pid int) error {
		m.pid = pid
		return m.cgroup.add(pid)
	})
}

// adopt refuses: children die with their shim.
func (m *sandboxMaker) adopt(*session, kernel.Process) (map[string]*session, error) {
	return nil, os.ErrProcessDone
}

func (m *sandboxMaker) outOfMemory() bool { return m.cgroup.outOfMemory() }

func (m *sandboxMaker) release() error { return m.cgroup.remove() }

func (m *sandboxMaker) retire(*session) {}

// further makes a process in the container's namespaces.
func (m *sandboxMaker) further(e *session, _ string, spec model.ExecSpec) error {
	var err error
	if e.stdio, err = openStdio(spec.Stdin, spec.TTY); err != nil {
		return err
	}
	box := sandbox{Bundle: m.bundle.with(spec), Joined: true}
	result := make(chan error, 1)
	go func() {
		// The thread ends with this goroutine: no other may run in the
		// container's namespaces.
		goruntime.LockOSThread()
		if err := enterAll(m.pid); err != nil {
			result <- err
			return
		}
		result <- m.spawner.spawn(e, box, &syscall.SysProcAttr{Setsid: true}, func(pid int) error {
			added := make(chan error)
			go func() { added <- m.cgroup.add(pid) }() // where the host's cgroups can be seen
			return <-added
		})
	}()
	return <-result
}

// enterAll puts this thread into a process's namespaces; what it starts is in
// its PID namespace too.
func enterAll(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("enter container: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter container: %w", err)
	}
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP | unix.CLONE_NEWPID
	if err := unix.Setns(fd, all); err != nil {
		return fmt.Errorf("enter container: %w", err)
	}
	return nil
}
