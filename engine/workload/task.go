package workload

import (
	"context"
	"errors"

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
	return err
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
		rec, removed, changed := c.rec, c.removed, c.changed
		m.mu.Unlock()
		switch {
		case removed || !alive(rec):
			return exitStatus(rec), nil
		case rec.Health != nil && rec.Health.Status == model.Unhealthy:
			_, err := m.stop(context.WithoutCancel(ctx), c, "", nil)
			return model.ExitStatus{}, errors.Join(errUnhealthy, err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return model.ExitStatus{}, ctx.Err()
		}
	}
}

// ShutdownTask stops the container of a task as its spec says.
func (m *Manager) ShutdownTask(ctx context.Context, taskID string) error {
	c, err := m.task(taskID)
	if err != nil {
		return err
	}
	_, err = m.stop(ctx, c, "", nil)
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
