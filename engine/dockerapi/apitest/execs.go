package apitest

import (
	"context"
	"fmt"
	"io"
	"strings"

	"weft/engine/dockerapi"
	"weft/engine/fault"
	"weft/engine/model"
)

func (b containerBackend) Resize(ctx context.Context, name string, rows, cols uint16) error {
	c, err := b.Container(ctx, name)
	if err != nil {
		return err
	}
	if c.State != model.StateRunning {
		return fault.Conflict("container %s is not running", c.ID)
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	b.e.sizes = append(b.e.sizes, fmt.Sprint(c.Spec.Name, " ", rows, "x", cols))
	return nil
}

func (b containerBackend) CreateExec(ctx context.Context, name string, e model.Exec) (string, error) {
	c, err := b.Container(ctx, name)
	if err != nil {
		return "", err
	}
	if c.State != model.StateRunning {
		return "", fault.Conflict("container %s is not running", c.ID)
	}
	e.ID, e.ContainerID = model.NewID(), c.ID
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	b.e.execs[e.ID] = e
	return e.ID, nil
}

func (b containerBackend) Exec(_ context.Context, id string) (model.Exec, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if e, ok := b.e.execs[id]; ok {
		return e, nil
	}
	return model.Exec{}, fault.NotFound("No such exec instance: %s", id)
}

// StartExec prints the command and its input, and exits with 7.
func (b containerBackend) StartExec(ctx context.Context, id string, o dockerapi.AttachOptions, attached func() error) error {
	e, err := b.Exec(ctx, id)
	if err != nil {
		return err
	}
	if err := attached(); err != nil {
		return err
	}
	if o.Stdout != nil {
		_, _ = fmt.Fprintln(o.Stdout, strings.Join(e.Spec.Args, " "))
	}
	if o.Stdin != nil {
		_, _ = io.Copy(o.Stdout, o.Stdin)
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	e.Exit = &model.ExitStatus{Code: 7}
	b.e.execs[id] = e
	return nil
}

func (b containerBackend) ResizeExec(ctx context.Context, id string, rows, cols uint16) error {
	if _, err := b.Exec(ctx, id); err != nil {
		return err
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	b.e.sizes = append(b.e.sizes, fmt.Sprint("exec ", rows, "x", cols))
	return nil
}
