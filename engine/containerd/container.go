package containerd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Streams are the FIFOs of a process's standard streams; empty: none. A
// terminal has no Stderr.
type Streams struct {
	Stdin, Stdout, Stderr string
	Terminal              bool
}

// Container is what Create makes.
type Container struct {
	ID      string
	Spec    *specs.Spec // its root is "rootfs"
	Root    []mount.Mount
	Streams Streams
	RuncDir string // where runc keeps its state
}

// Create makes a container and its first process, which waits for Start, and
// gives the PID. What is left of an earlier container of that ID goes first.
// The error is runc's when it can't.
func (c *Client) Create(ctx context.Context, ctr Container) (int, error) {
	if err := c.record(ctx, ctr); err != nil {
		return 0, failed("create container", err)
	}
	runc, err := typeurl.MarshalAnyToProto(&options.Options{Root: ctr.RuncDir})
	if err != nil {
		return 0, fmt.Errorf("encode runc's options: %w", err)
	}
	req := &tasks.CreateTaskRequest{
		ContainerID: ctr.ID, Options: runc, Terminal: ctr.Streams.Terminal,
		Stdin: ctr.Streams.Stdin, Stdout: ctr.Streams.Stdout, Stderr: ctr.Streams.Stderr,
	}
	for _, m := range ctr.Root {
		req.Rootfs = append(req.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	created, err := c.tasks.Create(c.in(ctx), req, patient())
	if err != nil {
		return 0, failed("create task", err)
	}
	return int(created.GetPid()), nil
}

// record tells the daemon of a container.
func (c *Client) record(ctx context.Context, ctr Container) error {
	spec, err := typeurl.MarshalAny(ctr.Spec)
	if err != nil {
		return fmt.Errorf("encode specification: %w", err)
	}
	rec := containers.Container{ID: ctr.ID, Runtime: containers.RuntimeInfo{Name: RuntimeName}, Spec: spec}
	_, err = c.client.ContainerService().Create(c.in(ctx), rec)
	if !errdefs.IsAlreadyExists(err) {
		return err
	}
	if err := c.Purge(ctx, ctr.ID); err != nil {
		return err
	}
	_, err = c.client.ContainerService().Create(c.in(ctx), rec)
	return err
}

// Purge kills what runs in a container and removes all the daemon has of it.
// One that is not there is no error.
func (c *Client) Purge(ctx context.Context, id string) error {
	if err := c.end(ctx, id); unlessGone(err) != nil {
		return err
	}
	_, err := c.tasks.Delete(c.in(ctx), &tasks.DeleteTaskRequest{ContainerID: id}, patient())
	if err := unlessGone(errgrpc.ToNative(err)); err != nil {
		return failed("delete task", err)
	}
	if err := unlessGone(c.client.ContainerService().Delete(c.in(ctx), id)); err != nil {
		return failed("delete container", err)
	}
	// The last one takes the namespace along; the daemon refuses before.
	err = c.client.NamespaceService().Delete(ctx, c.ref.Namespace)
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
		return failed("delete namespace", err)
	}
	return nil
}

// end kills the first process of a container and waits until the daemon has
// seen it. It asks no runc: that one may have lost its state.
func (c *Client) end(ctx context.Context, id string) error {
	got, err := c.tasks.Get(c.in(ctx), &tasks.GetRequest{ContainerID: id}, patient())
	if err != nil {
		return failed("ask for task", err)
	}
	if got.GetProcess().GetStatus() == task.Status_STOPPED {
		return nil
	}
	if pid := int(got.GetProcess().GetPid()); pid > 0 { // not reaped, so it is that process
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	_, err = c.Wait(ctx, Process{Container: id})
	return err
}

// List gives the IDs of the daemon's containers in our namespace.
func (c *Client) List(ctx context.Context) ([]string, error) {
	list, err := c.client.ContainerService().List(c.in(ctx))
	if err != nil {
		return nil, failed("list containers", err)
	}
	running, err := c.tasks.List(c.in(ctx), &tasks.ListTasksRequest{}, patient())
	if err != nil {
		return nil, failed("list tasks", err)
	}
	ids := map[string]bool{}
	for _, ctr := range list {
		ids[ctr.ID] = true
	}
	for _, t := range running.GetTasks() { // one whose creation was cut short has no container
		ids[t.GetID()] = true
	}
	return slices.Sorted(maps.Keys(ids)), nil
}
