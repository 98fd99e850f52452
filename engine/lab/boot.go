package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"weft/engine/fault"
)

// order is what a host's PID 1 is told over its orders pipe once its link is
// there. If the pipe closes without, whoever made the host is gone, and PID 1
// ends.
type order struct {
	Name  string         `json:"name"`
	Addrs []netip.Prefix `json:"addrs"`
	Boot  Boot           `json:"boot"`
	Hosts string         `json:"hosts"` // file to have as /etc/hosts
}

// answer is what PID 1 says on its answers pipe: an empty Error when the host
// is up.
type answer struct {
	Error string `json:"error,omitempty"`
}

// Descriptors of the two pipes in PID 1.
const (
	ordersFD  = 3
	answersFD = 4
)

// hostNamespaces are what a host has of its own.
const hostNamespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// Start boots a host again, on the disk it has, and returns when it is up. It
// fails with Conflict if the host is on. When it fails the host is off.
func (l *Lab) Start(ctx context.Context, name string) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := l.load()
	if err != nil {
		return err
	}
	h, err := st.host(l.Name, name)
	if err != nil {
		return err
	}
	if err := l.ensureUnderlay(st.MTU); err != nil {
		return err
	}
	return l.boot(ctx, h, st.MTU)
}

// Kill cuts a host's power and returns when nothing of it runs. It fails with
// Conflict if the host is off.
func (l *Lab) Kill(ctx context.Context, name string) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	h, err := l.Host(name)
	if err != nil {
		return err
	}
	p, on, err := find(h)
	if err != nil {
		return err
	}
	if !on {
		return fault.Conflict("%s is off: boot it with `weft lab start %[1]s`", name)
	}
	defer p.close()
	return errors.Join(p.kill(ctx), l.unplug(name))
}

// boot starts a host's PID 1 and returns when the host is up. The caller holds
// the lab's lock.
func (l *Lab) boot(ctx context.Context, h Host, mtu int) error {
	if p, on, err := find(h); err != nil {
		return err
	} else if on {
		p.close()
		return fault.Conflict("%s is on (pid %d)", h.Name, p.pid)
	}
	// What a reboot clears is cleared here: the directory is on a real disk so
	// that sockets in it can be reached from outside.
	if err := os.RemoveAll(h.RunPath()); err != nil {
		return fmt.Errorf("clear the run directory of %s: %w", h.Name, err)
	}
	for _, dir := range []string{h.DataDir(), h.RunPath()} {
		if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // sockets below have modes of their own
			return fmt.Errorf("make the disk of %s: %w", h.Name, err)
		}
	}
	logged := fileSize(h.LogPath())
	ctx, cancel := context.WithTimeoutCause(ctx, l.ready, fmt.Errorf("not up within %s", l.ready))
	defer cancel()
	pid, orders, answers, err := l.clone(h)
	if err != nil {
		return fmt.Errorf("start %s: %w", h.Name, err)
	}
	defer orders.Close()  //nolint:errcheck // only wakes PID 1 up
	defer answers.Close() //nolint:errcheck // only read
	err = l.plug(h, mtu, pid)
	if err == nil {
		err = instruct(ctx, orders, answers, order{
			Name: h.Name, Addrs: []netip.Prefix{h.Addr, h.Addr6}, Boot: h.Boot, Hosts: l.hostsPath(),
		})
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("start %s: %w", h.Name, err)
	if last := lastLine(h.LogPath(), logged); last != "" {
		err = fmt.Errorf("%w: %s", err, last)
	}
	// It is our child and not yet waited for, so the number is still its own.
	killErr := syscall.Kill(pid, syscall.SIGKILL)
	_, waitErr := syscall.Wait4(pid, nil, 0, nil)
	return errors.Join(err, killErr, waitErr, l.unplug(h.Name))
}

// clone starts PID 1 of a host in namespaces of its own and gives it with the
// near ends of its pipes.
func (l *Lab) clone(h Host) (pid int, orders, answers *os.File, err error) {
	console, err := os.OpenFile(h.consolePath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("open its console: %w", err)
	}
	defer console.Close() //nolint:errcheck // PID 1 has its own
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("open its input: %w", err)
	}
	defer null.Close() //nolint:errcheck // as above
	theirOrders, orders, err := os.Pipe()
	if err != nil {
		return 0, nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer theirOrders.Close() //nolint:errcheck // as above
	answers, theirAnswers, err := os.Pipe()
	if err != nil {
		return 0, nil, nil, errors.Join(fmt.Errorf("make a pipe: %w", err), orders.Close())
	}
	defer theirAnswers.Close() //nolint:errcheck // as above
	p, err := os.StartProcess(l.self, []string{HostName, h.dir}, &os.ProcAttr{
		Dir:   "/",
		Env:   HostEnv(os.Environ()),
		Files: []*os.File{null, console, console, theirOrders, theirAnswers},
		Sys:   &syscall.SysProcAttr{Cloneflags: hostNamespaces, Setsid: true},
	})
	if err != nil {
		return 0, nil, nil, errors.Join(kernelLacks("namespaces of all kinds", err), orders.Close(), answers.Close())
	}
	pid = p.Pid
	return pid, orders, answers, p.Release() //nolint:wrapcheck // never fails for a process that was started
}

// instruct sends the order and waits for the answer.
func instruct(ctx context.Context, orders, answers *os.File, o order) error {
	stop := context.AfterFunc(ctx, func() { _ = answers.SetReadDeadline(time.Unix(1, 0)) }) // ends the read below
	defer stop()
	if err := json.NewEncoder(orders).Encode(o); err != nil {
		return fmt.Errorf("tell it what to be: %w", err)
	}
	var a answer
	switch err := json.NewDecoder(answers).Decode(&a); {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return errors.New("its PID 1 ended")
	case err != nil:
		return fmt.Errorf("wait until it is up: %w", err)
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// HostEnv gives an environment without what would point a host's programs at
// an engine outside.
func HostEnv(env []string) []string {
	var kept []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "DOCKER_") && !strings.HasPrefix(kv, "WEFT_") && !strings.HasPrefix(kv, notifyVar+"=") {
			kept = append(kept, kv)
		}
	}
	return kept
}

func fileSize(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// lastLine gives the last line written to a log after offset, at most a few
// hundred bytes of it; empty if there is none.
func lastLine(path string, offset int64) string {
	const most = 400
	f, err := os.Open(path) //nolint:gosec // the lab's own file
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	offset = max(offset, st.Size()-most)
	b, err := io.ReadAll(io.NewSectionReader(f, offset, most))
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(lines[len(lines)-1])
}
