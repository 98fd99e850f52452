package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Process names a process: the first one of a container, or the further one
// that Exec names.
type Process struct{ Container, Exec string }

// Exit is how a process ended.
type Exit struct {
	Code     int // 128+n when signal n ended it
	Finished time.Time
}

// errRunning means that the daemon can't say more about a process than that it
// has not ended.
var errRunning = errors.New("the process has not ended")

// Start lets a process run that Create or Exec made.
func (c *Client) Start(ctx context.Context, p Process) (pid int, err error) {
	started, err := c.tasks.Start(c.in(ctx), &tasks.StartRequest{ContainerID: p.Container, ExecID: p.Exec}, patient())
	if err != nil {
		return 0, failed("start process", err)
	}
	return int(started.GetPid()), nil
}

// Exec adds a further process to a running container; Start runs it.
func (c *Client) Exec(ctx context.Context, p Process, spec *specs.Process, streams Streams) error {
	process, err := typeurl.MarshalAnyToProto(spec)
	if err != nil {
		return fmt.Errorf("encode process: %w", err)
	}
	_, err = c.tasks.Exec(c.in(ctx), &tasks.ExecProcessRequest{
		ContainerID: p.Container, ExecID: p.Exec, Spec: process, Terminal: streams.Terminal,
		Stdin: streams.Stdin, Stdout: streams.Stdout, Stderr: streams.Stderr,
	}, patient())
	return failed("add process", err)
}

// Wait blocks until a process has ended and says how, also when that was
// before. It fails as NotFound when the daemon knows no such process, as after
// the death of its shim, and otherwise when asking is worth another try.
func (c *Client) Wait(ctx context.Context, p Process) (Exit, error) {
	ended, err := c.tasks.Wait(c.in(ctx), &tasks.WaitRequest{ContainerID: p.Container, ExecID: p.Exec}, patient())
	if err == nil {
		return Exit{Code: int(ended.GetExitStatus()), Finished: ended.GetExitedAt().AsTime()}, nil
	}
	if errdefs.IsNotFound(errgrpc.ToNative(err)) || ctx.Err() != nil {
		return Exit{}, failed("wait for process", err)
	}
	// The daemon went down, or its shim did: what does it know now?
	got, err := c.tasks.Get(c.in(ctx), &tasks.GetRequest{ContainerID: p.Container, ExecID: p.Exec}, patient())
	if err != nil {
		return Exit{}, failed("ask for process", err)
	}
	if got.GetProcess().GetStatus() != task.Status_STOPPED {
		return Exit{}, errRunning
	}
	return Exit{Code: int(got.GetProcess().GetExitStatus()), Finished: got.GetProcess().GetExitedAt().AsTime()}, nil
}

// Signal sends a signal to a process. It fails as NotFound when the process
// has ended.
func (c *Client) Signal(ctx context.Context, p Process, sig syscall.Signal) error {
	_, err := c.tasks.Kill(c.in(ctx), &tasks.KillRequest{ContainerID: p.Container, ExecID: p.Exec, Signal: uint32(sig)}, patient()) //nolint:gosec // positive
	return failed("signal process", err)
}

// Resize tells a process how large its terminal is.
func (c *Client) Resize(ctx context.Context, p Process, rows, cols uint16) error {
	_, err := c.tasks.ResizePty(c.in(ctx), &tasks.ResizePtyRequest{
		ContainerID: p.Container, ExecID: p.Exec, Width: uint32(cols), Height: uint32(rows),
	}, patient())
	return failed("resize terminal", err)
}

// CloseInput ends a process's standard input; the caller's own end of the FIFO
// has to be closed before.
func (c *Client) CloseInput(ctx context.Context, p Process) error {
	_, err := c.tasks.CloseIO(c.in(ctx), &tasks.CloseIORequest{ContainerID: p.Container, ExecID: p.Exec, Stdin: true}, patient())
	return failed("close standard input", err)
}

// Delete makes the daemon forget a further process that has ended. One that is
// not there is no error.
func (c *Client) Delete(ctx context.Context, p Process) error {
	_, err := c.tasks.DeleteProcess(c.in(ctx), &tasks.DeleteProcessRequest{ContainerID: p.Container, ExecID: p.Exec}, patient())
	return failed("delete process", unlessGone(errgrpc.ToNative(err)))
}

// ExecFailure finds in an error of Create or Start why runc could not execute
// a command; empty: it did not come to that.
func ExecFailure(err error) string {
	const runcs = "unable to start container process: " // libcontainer/process_linux.go
	if err == nil {
		return ""
	}
	_, why, ok := strings.Cut(err.Error(), runcs)
	if !ok {
		return ""
	}
	return strings.TrimSuffix(why, ": unknown") // gRPC's code, which containerd adds
}

// Transient reports whether an error of Wait says no more than that the daemon
// can't tell yet.
func Transient(err error) bool {
	return err != nil && (errors.Is(err, errRunning) || !errdefs.IsNotFound(err))
}
