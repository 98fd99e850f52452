package workload

import (
	"context"
	"errors"
	"slices"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
	"weft/engine/model"
)

// PrepareTask records the container of a service task. Called again for the
// same task it only takes the attachments anew.
func (m *Manager) PrepareTask(ctx context.Context, t model.Task) error {
	m.mu.Lock()
	c := m.tasks[t.ID]
	if c != nil {
		c.attachments = t.Attachments
	}
	m.mu.Unlock()
	if c != nil {
		return nil
	}
	if _, err := m.Create(ctx, t.Spec); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c = m.tasks[t.ID]; c == nil {
		return fault.Internal("task %s vanished while it was prepared", t.ID)
	}
	c.attachments = t.Attachments
	return nil
}

func (m *Manager) task(id string) (*container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.tasks[id]; c != nil {
		return c, nil
	}
	return nil, fault.NotFound("no container for task %s on this node", id)
}

// StartTask starts the container of a prepared task.
func (m *Manager) StartTask(ctx context.Context, taskID string) error {
	c, err := m.task(taskID)
	if err != nil {
		return err
	}
	if err := m.start(ctx, c); err != nil {
		return err
	}
	err = m.awaitHealth(ctx, c)
	if errors.Is(err, errUnhealthy) {
		return errors.Join(err, m.kill(context.WithoutCancel(ctx), c))
	}
	if err != nil {
		return err
	}
	return m.setReadiness(ctx, c, "")
}

// setReadiness tells the others of a task, if that is news.
func (m *Manager) setReadiness(ctx context.Context, c *container, r model.Readiness) error {
	rec := m.snapshot(c)
	if rec.State != model.StateRunning {
		return nil
	}
	var news []model.Endpoint
	for i := range rec.Endpoints {
		if rec.Endpoints[i].Readiness != r {
			rec.Endpoints[i].Readiness = r
			news = append(news, rec.Endpoints[i])
		}
	}
	if len(news) == 0 {
		return nil
	}
	err := m.update(c, func(now *model.Container) {
		for i := range now.Endpoints {
			if slices.ContainsFunc(news, func(ep model.Endpoint) bool { return ep.ID == now.Endpoints[i].ID }) {
				now.Endpoints[i].Readiness = r
			}
		}
	})
	return errors.Join(err, m.Networks.SetReadiness(ctx, news))
}

// WaitTask blocks until the container of a task does not run any more. One
// that turns out unhealthy is stopped, and that is an error.
func (m *Manager) WaitTask(ctx context.Context, taskID string) (model.ExitStatus, error) {
	c, err := m.task(taskID)
	if err != nil {
		return model.ExitStatus{}, err
	}
	for {
		m.mu.Lock()
		rec, removed, changed := clone(c.rec), c.removed, c.changed
		m.mu.Unlock()
		switch {
		case removed || !alive(rec):
			return exitStatus(rec), nil
		case pending(rec) && (rec.Health == nil || rec.Health.Status == model.Healthy):
			// An earlier engine ended before it could say so.
			if err := m.setReadiness(ctx, c, ""); err != nil {
				m.Log.WarnContext(ctx, "task not announced", "task_id", taskID, "err", err)
			}
		case rec.Health != nil && rec.Health.Status == model.Unhealthy:
			return model.ExitStatus{}, errors.Join(errUnhealthy, m.retire(context.WithoutCancel(ctx), c, taskID))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return model.ExitStatus{}, ctx.Err()
		}
	}
}

func pending(rec model.Container) bool {
	return slices.ContainsFunc(rec.Endpoints, func(ep model.Endpoint) bool { return ep.Readiness == model.Pending })
}

// ShutdownTask stops the container of a task as its spec says, once nobody
// sends it anything new.
func (m *Manager) ShutdownTask(ctx context.Context, taskID string) error {
	c, err := m.task(taskID)
	if err != nil {
		return err
	}
	return m.retire(ctx, c, taskID)
}

// retire stops a task once nobody sends it anything new.
func (m *Manager) retire(ctx context.Context, c *container, taskID string) error {
	if err := m.setReadiness(ctx, c, model.Draining); err != nil {
		m.Log.WarnContext(ctx, "task not drained", "task_id", taskID, "err", err)
	}
	_, err := m.stop(ctx, c, "", nil)
	return err
}

// TerminateTask kills the container of a task.
func (m *Manager) TerminateTask(ctx context.Context, taskID string) error {
	c, err := m.task(taskID)
	if err != nil {
		return err
	}
	return m.kill(ctx, c)
}

// RemoveTask removes the container of a task, stopping it as its spec says if
// it runs. A task that is not here is no error.
func (m *Manager) RemoveTask(ctx context.Context, taskID string) error {
	c, err := m.task(taskID)
	if err != nil {
		return nil //nolint:nilerr // nothing to remove is what was asked for
	}
	if _, err := m.stop(ctx, c, "", nil); err != nil {
		return err
	}
	err = m.Remove(ctx, m.snapshot(c).ID, true, true)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Task gives the record of a task's container.
func (m *Manager) Task(taskID string) (model.Container, bool) {
	c, err := m.task(taskID)
	if err != nil {
		return model.Container{}, false
	}
	return m.snapshot(c), true
}

// RemoveTasks removes the containers of every task but those in keep.
func (m *Manager) RemoveTasks(ctx context.Context, keep map[string]bool) error {
	m.mu.Lock()
	var orphans []string
	for id := range m.tasks {
		if !keep[id] {
			orphans = append(orphans, id)
		}
	}
	m.mu.Unlock()
	return each(orphans, func(id string) error { return m.RemoveTask(ctx, id) })
}

// each calls f for all at once and waits for the last.
func each(ids []string, f func(id string) error) error {
	errs := make(chan error, len(ids))
	for _, id := range ids {
		go func() { errs <- f(id) }() // owned by this call, which waits for it below
	}
	var joined error
	for range ids {
		joined = errors.Join(joined, <-errs)
	}
	return joined
}
