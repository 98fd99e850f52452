package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
)

// Start runs a container that is not running and gives the PID of its process
// once its command has been executed. A command that can't be is an *ExecError
// and leaves the container as it was. Those who attached before get all output.
func (r *Runtime) Start(ctx context.Context, id string) (int, error) {
	defer r.lock(id)()
	st, err := r.stateLocked(ctx, id)
	if err != nil {
		return 0, err
	}
	if st.Running {
		return 0, fault.Conflict("container %s is already running", id)
	}
	// The shim of the last run may still be busy with a slow client.
	if err := r.endShim(ctx, id); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Join(r.runDir(id), fileRoot), 0o700); err != nil {
		return 0, fmt.Errorf("start container %s: %w", id, err)
	}
	pid, err := r.launch(ctx, id)
	if err == nil {
		return pid, nil
	}
	return 0, errors.Join(err, r.endShim(ctx, id))
}

// launch starts a shim, connects the clients, and lets it start the process.
// When that fails neither is left.
func (r *Runtime) launch(ctx context.Context, id string) (int, error) {
	ctl, shim, err := r.startShim(id, "")
	if err != nil {
		return 0, err
	}
	defer func() { _ = ctl.Close() }()
	defer context.AfterFunc(ctx, func() { _ = ctl.Close() })()
	pid, err := r.converse(ctx, id, ctl)
	if err == nil {
		return pid, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("start container %s: %w", id, cause)
	}
	// The process dies with its shim.
	if end := shim.End(); end != nil {
		err = errors.Join(err, end)
	}
	return 0, err
}

// startShim starts a shim and gives the connection to it. The shim is reaped
// when it ends. mode is adopting or empty.
func (r *Runtime) startShim(id, mode string) (net.Conn, kernel.Process, error) {
	fail := func(err error) (net.Conn, kernel.Process, error) {
		return nil, kernel.Process{}, fmt.Errorf("start the shim of container %s: %w", id, err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "shim"), os.NewFile(uintptr(pair[1]), "engine")
	defer func() { _ = errors.Join(ours.Close(), theirs.Close()) }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = null.Close() }()
	log, err := os.OpenFile(filepath.Join(r.bundleDir(id), fileShimLog), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = log.Close() }()
	conn, err := net.FileConn(ours)
	if err != nil {
		return fail(err)
	}
	args := []string{ShimName, r.bundleDir(id), r.runDir(id)}
	if mode != "" {
		args = append(args, mode)
	}
	proc, err := os.StartProcess(r.cfg.Self, args, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1"},
		Files: []*os.File{null, log, log, theirs},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		_ = conn.Close()
		return fail(err)
	}
	shim, err := r.adopt(proc)
	if err != nil {
		_ = conn.Close()
		return fail(err)
	}
	return conn, shim, nil
}

// adopt takes over the reaping of a child from the os package, which would
// need a thread for each.
func (r *Runtime) adopt(proc *os.Process) (kernel.Process, error) {
	id, err := kernel.Identify(proc.Pid)
	var ref *kernel.Pidfd
	if err == nil {
		ref, err = kernel.OpenPidfd(id)
	}
	if err != nil {
		_ = proc.Kill()
		_, _ = proc.Wait()
		return kernel.Process{}, err
	}
	_ = proc.Release()
	r.reap(ref)
	return id, nil
}

// converse sees a shim through to the start of its process.
func (r *Runtime) converse(ctx context.Context, id string, ctl net.Conn) (int, error) {
	in := bufio.NewReader(ctl)
	first, err := in.ReadString('\n')
	if err != nil {
		return 0, r.shimEnded(id)
	}
	var answer started
	if strings.TrimSpace(first) != lineReady {
		if err := readLine(bufio.NewReader(strings.NewReader(first)), &answer); err != nil {
			return 0, r.shimEnded(id)
		}
		return 0, answer.failure(id)
	}
	r.connectPending(ctx, id)
	if _, err := io.WriteString(ctl, lineStart+"\n"); err != nil {
		return 0, r.shimEnded(id)
	}
	if err := readLine(in, &answer); err != nil {
		return 0, r.shimEnded(id)
	}
	return answer.Pid, answer.failure(id)
}

// failure gives the error in a shim's answer, nil when there is none.
func (s started) failure(id string) error {
	switch {
	case s.Error == nil:
		return nil
	case s.Error.Code == 0:
		return fault.Internal("start container %s: %s", id, s.Error.Msg)
	default:
		return s.Error
	}
}

// shimEnded tells of a shim that ended without an answer, with what it said:
// the end of a Go panic, as a rule.
func (r *Runtime) shimEnded(id string) error {
	const enough = 1 << 10
	text, err := os.ReadFile(filepath.Join(r.bundleDir(id), fileShimLog))
	if err != nil || len(text) == 0 {
		return fault.Internal("start container %s: its shim ended without an answer", id)
	}
	return fault.Internal("start container %s: its shim ended: %s", id, text[:min(len(text), enough)])
}
