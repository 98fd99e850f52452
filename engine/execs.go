package engine

import (
	"context"
	"sync"

	"github.com/containerd/errdefs"

	"weft/engine/dockerapi"
	"weft/engine/fault"
	"weft/engine/model"
	"weft/engine/runtime"
)

// execs are the further processes of containers that clients asked for. As in
// dockerd they are forgotten with the engine; the processes are not.
type execs struct {
	mu   sync.Mutex // guards the following
	byID map[string]*model.Exec
}

func newExecs() *execs { return &execs{byID: map[string]*model.Exec{}} }

func (x *execs) add(e model.Exec) string {
	e.ID = model.NewID()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.byID) >= execsKept {
		for old, e := range x.byID {
			if e.Exit != nil {
				delete(x.byID, old)
			}
		}
	}
	x.byID[e.ID] = &e
	return e.ID
}

// execsKept is how many are remembered before those that have ended are
// forgotten.
const execsKept = 1000

func (x *execs) get(id string) (model.Exec, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.byID[id]; e != nil {
		return *e, nil
	}
	return model.Exec{}, fault.NotFound("No such exec instance: %s", id)
}

// begin marks an exec as running; it runs once.
func (x *execs) begin(id string) (model.Exec, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.byID[id]
	switch {
	case e == nil:
		return model.Exec{}, fault.NotFound("No such exec instance: %s", id)
	case e.Running:
		return model.Exec{}, fault.Conflict("exec command %s is already running", id)
	case e.Exit != nil:
		return model.Exec{}, fault.Conflict("exec command %s has already run", id)
	}
	e.Running = true
	return *e, nil
}

// end records how an exec ended.
func (x *execs) end(id string, st model.ExitStatus) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.byID[id]; e != nil {
		e.Running, e.Exit = false, &st
	}
}

// drop forgets the execs of a container that is gone.
func (x *execs) drop(containerID string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, e := range x.byID {
		if e.ContainerID == containerID {
			delete(x.byID, id)
		}
	}
}

func (b containerBackend) CreateExec(ctx context.Context, name string, e model.Exec) (string, error) {
	c, err := b.e.workload.Container(ctx, name)
	if err != nil {
		return "", err
	}
	if c.State != model.StateRunning {
		return "", fault.Conflict("container %s is not running", c.ID)
	}
	e.ContainerID = c.ID
	return b.e.execs.add(e), nil
}

func (b containerBackend) Exec(ctx context.Context, id string) (model.Exec, error) {
	e, err := b.e.execs.get(id)
	if err != nil || !e.Running {
		return e, err
	}
	if c, err := b.e.workload.Container(ctx, e.ContainerID); err != nil || c.State != model.StateRunning {
		b.e.execs.end(id, model.ExitStatus{Code: 137}) // it ended with its container
		return b.e.execs.get(id)
	}
	return e, nil
}

func (b containerBackend) StartExec(ctx context.Context, id string, o dockerapi.AttachOptions, attached func() error) error {
	e, err := b.e.execs.begin(id)
	if err != nil {
		return err
	}
	spec := e.Spec
	spec.Detached = !o.Stream
	err = b.e.runtime.Exec(ctx, e.ContainerID, id, spec, runtime.AttachOptions{
		Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Attached: attached,
	})
	if spec.Detached {
		if err != nil {
			b.e.execs.end(id, model.ExitStatus{Code: 126, Err: err.Error()})
			return err
		}
		b.e.background.Go(func() { b.followExec(e) })
		return nil
	}
	if ctx.Err() != nil { // the client has gone; the process goes on
		b.e.background.Go(func() { b.followExec(e) })
		return err
	}
	b.followExec(e)
	return err
}

// followExec waits for the end of a process that was started.
func (b containerBackend) followExec(e model.Exec) {
	st, err := b.e.runtime.WaitExec(b.e.life, e.ContainerID, e.ID)
	switch {
	case errdefs.IsNotFound(err): // its container has ended
		st = model.ExitStatus{Code: 137}
	case err != nil:
		st = model.ExitStatus{Code: 255, Err: err.Error()}
	}
	b.e.execs.end(e.ID, st)
}

func (b containerBackend) ResizeExec(ctx context.Context, id string, rows, cols uint16) error {
	e, err := b.e.execs.get(id)
	if err != nil {
		return err
	}
	return b.e.runtime.Resize(ctx, e.ContainerID, id, rows, cols)
}

func (b containerBackend) Resize(ctx context.Context, name string, rows, cols uint16) error {
	c, err := b.e.workload.Container(ctx, name)
	if err != nil {
		return err
	}
	return b.e.runtime.Resize(ctx, c.ID, "", rows, cols)
}
