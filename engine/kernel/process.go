package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// Process names a process for good: PIDs are used again, start times are not.
type Process struct {
	Pid   int
	Start string // clock ticks since boot, field 22 of /proc/PID/stat
}

// Identify gives the identity of a living process.
func Identify(pid int) (Process, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	// The name, in parentheses, may contain anything, spaces included.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const startTime = 22 - 3 // the first field after the name is number 3
	if len(fields) <= startTime {
		return Process{}, fmt.Errorf("identify process %d: short stat line", pid)
	}
	return Process{Pid: pid, Start: string(fields[startTime])}, nil
}

// Pidfd is a reference to a process that the poller can wait on.
type Pidfd struct{ f *os.File }

// OpenPidfd gives a reference to the process p names. It fails with
// os.ErrProcessDone when that one is gone.
func OpenPidfd(p Process) (*Pidfd, error) {
	fd, err := unix.PidfdOpen(p.Pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fault.Unsupported("pidfd_open: %w (weft needs Linux 5.10 or newer)", err)
	}
	ref := &Pidfd{f: os.NewFile(uintptr(fd), "pidfd")}
	if now, err := Identify(p.Pid); err != nil || now != p {
		_ = ref.Close()
		return nil, os.ErrProcessDone
	}
	return ref, nil
}

// Close lets go of the process.
func (p *Pidfd) Close() error { return p.f.Close() }

// Kill sends SIGKILL; a process that is gone is no error.
func (p *Pidfd) Kill() error {
	if err := p.Signal(unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Signal fails with os.ErrProcessDone when the process is gone.
func (p *Pidfd) Signal(sig unix.Signal) error {
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

// Reap waits for a child to end and collects it. It needs no thread while it
// waits and ends early when p is closed.
func (p *Pidfd) Reap() error {
	return p.poll(func(fd uintptr) (bool, error) {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG, nil)
		if errors.Is(err, unix.ECHILD) {
			return true, nil
		}
		return err == nil && info.Signo != 0, err
	})
}

// Await waits for any process to end, child or not.
func (p *Pidfd) Await() error {
	return p.poll(func(fd uintptr) (bool, error) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor fits
		n, err := unix.Poll(fds, 0)
		return n > 0, err
	})
}

// poll calls done each time the descriptor becomes readable, until it says so.
func (p *Pidfd) poll(done func(fd uintptr) (bool, error)) error {
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

// End kills the process p names and waits until it is gone.
func (p Process) End() error {
	ref, err := OpenPidfd(p)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = ref.Close() }()
	if err := ref.Kill(); err != nil {
		return err
	}
	return ref.Await()
}

// Signal sends a signal to the process p names. It fails with
// os.ErrProcessDone when that one is gone.
func (p Process) Signal(sig unix.Signal) error {
	ref, err := OpenPidfd(p)
	if err != nil {
		return err
	}
	defer func() { _ = ref.Close() }()
	return ref.Signal(sig)
}

// Alive reports whether the process p names is there.
func (p Process) Alive() bool {
	ref, err := OpenPidfd(p)
	if err != nil {
		return false
	}
	_ = ref.Close()
	return true
}
