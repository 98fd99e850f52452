package control

import (
	"context"
	"fmt"
	"sync"

	"github.com/moby/swarmkit/v2/agent/exec"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
	"weft/engine/model"
)

// taskController runs one service task on the host. The agent makes one per
// task and start of the node, and may begin with any of its methods: with
// Remove or Wait after a restart.
type taskController struct {
	exec   *executor
	task   *api.Task
	node   *api.NodeDescription
	once   sync.Once
	closed chan struct{}
}

// Update implements exec.Controller: nothing in a running task can change.
func (c *taskController) Update(context.Context, *api.Task) error { return c.open() }

// Prepare implements exec.Controller. It waits for the membership to be up: an
// agent that restarts may resume a task before it has a session.
func (c *taskController) Prepare(ctx context.Context) error {
	if err := c.open(); err != nil {
		return err
	}
	t, err := taskModel(c.task, c.node)
	if err != nil {
		return err
	}
	if err := c.member(ctx); err != nil {
		return err
	}
	return c.exec.cfg.Host.PrepareTask(ctx, t)
}

// Start implements exec.Controller.
func (c *taskController) Start(ctx context.Context) error {
	if err := c.open(); err != nil {
		return err
	}
	if err := c.member(ctx); err != nil {
		return err
	}
	if s, ok := c.exec.cfg.Host.TaskStatus(ctx, c.task.ID); ok && s.Running {
		return exec.ErrTaskStarted
	}
	return c.exec.cfg.Host.StartTask(ctx, c.task.ID)
}

// Wait implements exec.Controller.
func (c *taskController) Wait(ctx context.Context) error {
	if err := c.open(); err != nil {
		return err
	}
	st, err := c.exec.cfg.Host.WaitTask(ctx, c.task.ID)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // the agent compares, and asks again
		}
		return err
	}
	return exitOf(st)
}

// Shutdown implements exec.Controller.
func (c *taskController) Shutdown(ctx context.Context) error {
	if err := c.open(); err != nil {
		return err
	}
	return c.exec.cfg.Host.ShutdownTask(ctx, c.task.ID)
}

// Terminate implements exec.Controller.
func (c *taskController) Terminate(ctx context.Context) error {
	if err := c.open(); err != nil {
		return err
	}
	return c.exec.cfg.Host.TerminateTask(ctx, c.task.ID)
}

// Remove implements exec.Controller: the task is stopped first if it runs.
func (c *taskController) Remove(ctx context.Context) error {
	if err := c.open(); err != nil {
		return err
	}
	c.exec.forgetTask(c.task.ID)
	if s, ok := c.exec.cfg.Host.TaskStatus(ctx, c.task.ID); ok && s.Running {
		if err := c.exec.cfg.Host.ShutdownTask(ctx, c.task.ID); err != nil {
			if err := c.exec.cfg.Host.TerminateTask(ctx, c.task.ID); err != nil {
				return err
			}
		}
	}
	return c.exec.cfg.Host.RemoveTask(ctx, c.task.ID)
}

// Close implements exec.Controller.
func (c *taskController) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// ContainerStatus implements exec.ContainerStatuser.
func (c *taskController) ContainerStatus(ctx context.Context) (*api.ContainerStatus, error) {
	s, ok := c.exec.cfg.Host.TaskStatus(ctx, c.task.ID)
	if !ok {
		return nil, nil //nolint:nilnil // SwarmKit's way to say that there is no container
	}
	return &api.ContainerStatus{
		ContainerID: s.ContainerID,
		PID:         int32(s.Pid),      //nolint:gosec // pid_max is 2^22
		ExitCode:    int32(s.ExitCode), //nolint:gosec // one byte, or 128 and a signal
	}, nil
}

func (c *taskController) open() error {
	select {
	case <-c.closed:
		return exec.ErrControllerClosed
	default:
		return nil
	}
}

func (c *taskController) member(ctx context.Context) error {
	select {
	case <-c.exec.joined:
		return nil
	case <-c.closed:
		return exec.ErrControllerClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exitError is a task that ended with a code; the words are dockerd's.
type exitError struct {
	code  int
	cause string
}

// Error implements error.
func (e *exitError) Error() string {
	if e.cause != "" {
		return fmt.Sprintf("task: non-zero exit (%v): %v", e.code, e.cause)
	}
	return fmt.Sprintf("task: non-zero exit (%v)", e.code)
}

// ExitCode implements exec.ExitCoder.
func (e *exitError) ExitCode() int { return e.code }

func exitOf(st model.ExitStatus) error {
	switch {
	case st.Code != 0:
		return &exitError{st.Code, st.Err}
	case st.Err != "":
		return fault.Internal("task: %s", st.Err)
	}
	return nil
}
