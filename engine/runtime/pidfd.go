package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// procID names a process for good: PIDs are used again, start times are not.
type procID struct {
	Pid   int
	Start string // clock ticks since boot, field 22 of /proc/PID/stat
}

// identify gives the identity of a living process.
func identify(pid int) (procID, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procID{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	// The name, in parentheses, may contain anything, spaces included.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const startTime = 22 - 3 // the first field after the name is number 3
	if len(fields) <= startTime {
		return procID{}, fmt.Errorf("identify process %d: short stat line", pid)
	}
	return procID{Pid: pid, Start: string(fields[startTime])}, nil
}

// pidfd is a reference to a process that the poller can wait on.
type pidfd struct{ f *os.File }

// openPidfd gives a reference to the process p names. It fails with
// os.ErrProcessDone when that one is gone.
func openPidfd(p procID) (*pidfd, error) {
	fd, err := unix.PidfdOpen(p.Pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fault.Unsupported("pidfd_open: %w (weft needs Linux 5.10 or newer)", err)
	}
	ref := &pidfd{f: os.NewFile(uintptr(fd), "pidfd")}
	if now, err := identify(p.Pid); err != nil || now != p {
		_ = ref.close()
		return nil, os.ErrProcessDone
	}
	return ref, nil
}

func (p *pidfd) close() error { return p.f.Close() }

// kill sends SIGKILL; a process that is gone is no error.
func (p *pidfd) kill() error {
	if err := p.signal(unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// signal fails with os.ErrProcessDone when the process is gone.
func (p *pidfd) signal(sig unix.Signal) error {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("signal by pidfd: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.PidfdSendSignal(int(fd), sig, nil, 0)
	})
	switch err = errors.Join(err, failed); {
	case errors.Is(err, unix.ESRCH):
		return os.ErrProcessDone
	case err != nil:
		return fmt.Errorf("signal by pidfd: %w", err)
	}
	return nil
}

// reap waits for a child to end and collects it. It needs no thread while it
// waits and ends early when p is closed.
func (p *pidfd) reap() error {
	return p.poll(func(fd uintptr) (bool, error) {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG, nil)
		if errors.Is(err, unix.ECHILD) {
			return true, nil
		}
		return err == nil && info.Signo != 0, err
	})
}

// await waits for any process to end, child or not.
func (p *pidfd) await() error {
	return p.poll(func(fd uintptr) (bool, error) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor fits
		n, err := unix.Poll(fds, 0)
		return n > 0, err
	})
}

// poll calls done each time the descriptor becomes readable, until it says so.
func (p *pidfd) poll(done func(fd uintptr) (bool, error)) error {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait by pidfd: %w", err)
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		ok, err := done(fd)
		for errors.Is(err, unix.EINTR) {
			ok, err = done(fd)
		}
		failed = err
		return ok || err != nil
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("wait by pidfd: %w", err)
	}
	return nil
}

// end kills the process p names and waits until it is gone.
func (p procID) end() error {
	ref, err := openPidfd(p)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = ref.close() }()
	if err := ref.kill(); err != nil {
		return err
	}
	return ref.await()
}

// signal sends a signal to the process p names. It fails with
// os.ErrProcessDone when that one is gone.
func (p procID) signal(sig unix.Signal) error {
	ref, err := openPidfd(p)
	if err != nil {
		return err
	}
	defer func() { _ = ref.close() }()
	return ref.signal(sig)
}

// alive reports whether the process p names is there.
func (p procID) alive() bool {
	ref, err := openPidfd(p)
	if err != nil {
		return false
	}
	_ = ref.close()
	return true
}
