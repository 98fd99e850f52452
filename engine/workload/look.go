package workload

import (
	"context"
	"errors"

	"weft/engine/fault"
	"weft/engine/model"
)

// Look runs fn while a container's files can be looked at, and then tells of an
// action, if there is one. A container that does not run is not started
// meanwhile, and its volumes are mounted; one that runs may end.
func (m *Manager) Look(ctx context.Context, name, action string, fn func(model.Container) error) error {
	c, err := m.find(name)
	if err != nil {
		return err
	}
	if err := m.look(ctx, c, fn); err != nil {
		return err
	}
	if action != "" {
		m.publish(m.snapshot(c), action, nil)
	}
	return nil
}

func (m *Manager) look(ctx context.Context, c *container, fn func(model.Container) error) (err error) {
	c.op.Lock()
	rec := m.snapshot(c)
	if rec.State == model.StateRunning {
		c.op.Unlock() // its end must not wait for fn
		return fn(rec)
	}
	defer c.op.Unlock()
	if m.gone(c) {
		return fault.NotFound("No such container: %s", rec.ID)
	}
	mounts := rec.Spec.Process.Mounts
	if err := m.Volumes.Mount(ctx, rec.ID, mounts); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Volumes.Unmount(context.WithoutCancel(ctx), rec.ID, mounts)) }()
	return fn(rec)
}
