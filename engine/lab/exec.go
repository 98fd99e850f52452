package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// Process is a program to run in a host.
type Process struct {
	Args []string
	Env  []string // nil: this process's, without what names an engine; the host's is added
	Dir  string   // working directory; empty: /

	In       io.Reader
	Out, Err io.Writer

	Signals <-chan os.Signal // passed on to the program; nil: none
}

// endDelay is what a program gets between SIGTERM and SIGKILL when the context
// ends.
const endDelay = 5 * time.Second

// Exec runs a program in all namespaces of a host and returns when it has
// ended. The error is an *exec.ExitError if it ended with another status than
// 0, an *exec.Error if it could not be found, Conflict if the host is off.
// When ctx ends the program gets SIGTERM, then SIGKILL. Without a terminal in
// between: In, Out and Err reach the program as they are.
func (l *Lab) Exec(ctx context.Context, host string, p Process) error {
	h, err := l.Host(host)
	if err != nil {
		return err
	}
	if err := RequireRoot(); err != nil {
		return err
	}
	if len(p.Args) == 0 {
		return fault.Invalid("no command to run in %s", host)
	}
	pid1, on, err := find(h)
	if err != nil {
		return err
	}
	if !on {
		return fault.Conflict("%s is off: boot it with `weft lab start %[1]s`", host)
	}
	defer pid1.close()
	cmd, err := l.startIn(ctx, pid1, h, p)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return err
		case sig := <-p.Signals:
			if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return errors.Join(fmt.Errorf("pass %s on: %w", sig, err), <-ended)
			}
		}
	}
}

// startIn starts a program from a thread that has joined the namespaces of a
// host. The thread is given up afterwards.
func (l *Lab) startIn(ctx context.Context, pid1 process, h Host, p Process) (*exec.Cmd, error) {
	type result struct {
		cmd *exec.Cmd
		err error
	}
	started := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := join(pid1); err != nil {
			started <- result{err: fmt.Errorf("enter %s: %w", h.Name, err)}
			return
		}
		cmd := l.command(ctx, h, p)
		started <- result{cmd, cmd.Start()}
	}()
	r := <-started
	return r.cmd, r.err
}

// command gives the program as it runs in a host, where this program's binary
// is found by its name.
func (l *Lab) command(ctx context.Context, h Host, p Process) *exec.Cmd {
	name := p.Args[0]
	if name == filepath.Base(l.self) {
		name = l.self
	}
	cmd := exec.CommandContext(ctx, name, p.Args[1:]...) //nolint:gosec // running what it is given is the purpose
	cmd.Args[0] = p.Args[0]
	env := p.Env
	if env == nil {
		env = HostEnv(os.Environ())
	}
	cmd.Env = append(withPath(env, filepath.Dir(l.self)), h.Boot.Env...)
	cmd.Dir = p.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.In, p.Out, p.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endDelay
	return cmd
}

// withPath gives a copy of an environment whose PATH begins with dir.
func withPath(env []string, dir string) []string {
	env = slices.Clone(env)
	for i, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			env[i] = "PATH=" + dir + string(filepath.ListSeparator) + path
		}
	}
	return env
}

// join moves the calling thread, which must be locked to its goroutine, into
// the namespaces of a host; its children will be in the PID namespace too.
func join(pid1 process) error {
	// A thread that shares its working directory can't change mount namespaces.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("leave the shared file system state: %w", err)
	}
	if err := unix.Setns(pid1.fd, hostNamespaces); err != nil {
		return fmt.Errorf("join its namespaces: %w", err)
	}
	return nil
}
