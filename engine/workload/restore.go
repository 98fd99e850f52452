package workload

import (
	"context"
	"errors"

	"weft/engine/model"
)

// Restore reads the records and takes back what still runs. Containers that
// ended while no engine watched are marked so; their endpoints are given back
// by Settle, when there are networks again.
func (m *Manager) Restore(ctx context.Context) error {
	recs, err := m.Table.List()
	if err != nil {
		return err
	}
	for _, rec := range recs {
		c := &container{rec: rec, changed: make(chan struct{})}
		m.mu.Lock()
		m.addLocked(c)
		m.mu.Unlock()
		if rec.State != model.StateRunning {
			continue
		}
		pid, running, err := m.Runtime.Running(ctx, rec.ID)
		if err != nil {
			m.Log.WarnContext(ctx, "container's process can't be looked up, taken as ended", "container_id", rec.ID, "err", err)
		}
		if running {
			if err := m.update(c, func(r *model.Container) { r.Pid = pid }); err != nil {
				return err
			}
			m.Log.InfoContext(ctx, "container adopted", "container_id", rec.ID, "pid", pid)
			m.watch(c)
			m.beginChecks(c)
			continue
		}
		if err := m.recordLost(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// recordLost notes the end of a process nobody watched. The shim knows how it
// ended, unless the whole machine went down with it.
func (m *Manager) recordLost(ctx context.Context, c *container) error {
	rec := m.snapshot(c)
	st, err := m.Runtime.Wait(ctx, rec.ID)
	if err != nil {
		st = model.ExitStatus{Code: 255, Finished: m.Now(), Err: "ended while the engine was down"}
	}
	return m.update(c, func(r *model.Container) {
		r.State, r.Pid, r.ExitCode, r.Finished, r.Error = model.StateExited, 0, st.Code, st.Finished, st.Err
		c.exits++
	})
}

// Settle cleans up after the containers that do not run: endpoints and
// sandboxes a crash left, and those to be removed at their end.
func (m *Manager) Settle(ctx context.Context) error {
	m.mu.Lock()
	var idle []*container
	for _, c := range m.containers {
		if c.rec.State != model.StateRunning {
			idle = append(idle, c)
		}
	}
	m.mu.Unlock()
	var errs []error
	for _, c := range idle {
		errs = append(errs, m.settle(ctx, c))
	}
	return errors.Join(errs...)
}

func (m *Manager) settle(ctx context.Context, c *container) error {
	c.op.Lock()
	defer c.op.Unlock()
	rec := m.snapshot(c)
	if rec.State == model.StateRunning || m.gone(c) {
		return nil
	}
	if rec.Spec.AutoRemove && rec.State == model.StateExited {
		return m.removeStopped(ctx, c, true)
	}
	return m.teardown(ctx, c)
}

// StopStandalone stops every running container that is not a task, all at
// once, each within its own grace.
func (m *Manager) StopStandalone(ctx context.Context) error {
	all, err := m.Containers(ctx)
	if err != nil {
		return err
	}
	var running []string
	for _, rec := range all {
		if rec.State == model.StateRunning && rec.Spec.Service == nil {
			running = append(running, rec.ID)
		}
	}
	return each(running, func(id string) error {
		_, err := m.Stop(ctx, id, "", nil)
		return err
	})
}
