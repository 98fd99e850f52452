package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is the PID 1 of a host as this process sees it. It must be closed.
type process struct {
	pid int
	fd  int    // pidfd(2): stays with the process when its number is used again
	dir string // of the host
}

func (p process) close() { _ = unix.Close(p.fd) }

// find gives the running PID 1 of a host, ok if there is one.
func find(host Host) (p process, ok bool, err error) {
	inits, err := findInits(filepath.Dir(host.dir))
	if err != nil {
		return process{}, false, err
	}
	for _, pid := range inits {
		if initDir(pid) != host.dir {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return process{}, false, fmt.Errorf("open process %d of %s: %w", pid, host.Name, err)
		}
		p := process{pid: pid, fd: fd, dir: host.dir}
		if initDir(pid) == host.dir { // still, so fd is that process
			return p, true, nil
		}
		p.close()
	}
	return process{}, false, nil
}

// findInits gives the process IDs of every host's PID 1 in a lab's directory.
func findInits(labDir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for hosts: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if dir := initDir(pid); dir != "" && filepath.Dir(dir) == labDir {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// initDir gives the host's directory if pid is a host's PID 1 that runs, and
// "" otherwise: the command line of a process that has ended is empty.
func initDir(pid int) string {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	line, err := os.ReadFile(filepath.Join(proc, "cmdline")) //nolint:gosec // below /proc
	if err != nil {
		return ""
	}
	args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	if len(args) != 2 || args[0] != HostName {
		return ""
	}
	var st unix.Stat_t
	if unix.Stat(proc, &st) != nil || int(st.Uid) != os.Geteuid() {
		return "" // anybody can give a process this name; we only believe ourselves
	}
	return args[1]
}

// kill ends the process with SIGKILL, and with it every process in its PID
// namespace, and returns when all are gone.
func (p process) kill(ctx context.Context) error {
	if err := unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	if err := p.wait(ctx); err != nil {
		return err
	}
	reap(p.pid)
	return nil
}

// wait returns when the process has ended.
func (p process) wait(ctx context.Context) error {
	err := poll(ctx, time.Millisecond, func() (bool, error) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, 50) //nolint:gosec // descriptors fit
		if errors.Is(err, unix.EINTR) {
			return false, nil
		}
		return n > 0, err
	})
	if err != nil {
		return fmt.Errorf("wait for the end of process %d: %w", p.pid, err)
	}
	return nil
}

// reap collects an ended process if it is a child of this one; a host started
// by another command is init's.
func reap(pid int) {
	var st unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &st, unix.WNOHANG, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
