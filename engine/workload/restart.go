package workload

import (
	"context"
	"errors"
	"time"

	"weft/engine/model"
)

// A container that ends again and again is started after longer and longer
// pauses; one that ran for a while begins anew. The numbers are Docker's
// (restartmanager).
const (
	firstPause  = 100 * time.Millisecond
	longestWait = time.Minute
	steadyAfter = 10 * time.Second
)

// alive reports whether a container runs or will by itself.
func alive(rec model.Container) bool {
	return rec.State == model.StateRunning || rec.State == model.StateRestarting
}

// restarts decides whether a container that has just ended is started again.
func (m *Manager) restarts(rec model.Container, st model.ExitStatus) bool {
	if rec.Stopped || rec.Spec.AutoRemove || rec.Spec.Service != nil {
		return false
	}
	switch p := rec.Spec.Restart; p.Name {
	case model.RestartAlways, model.RestartUnlessStopped:
		return true
	case model.RestartOnFailure:
		return st.Code != 0 && (p.MaxRetries == 0 || rec.RestartCount < p.MaxRetries)
	}
	return false
}

// restartLater starts c after its pause, unless somebody does something else
// with it first. The Manager owns the goroutine: Close waits for it.
func (m *Manager) restartLater(c *container) {
	m.mu.Lock()
	if c.rec.Finished.Sub(c.rec.Started) >= steadyAfter {
		c.backoff = 0
	}
	c.backoff = min(max(2*c.backoff, firstPause), longestWait)
	pause, count := c.backoff, c.rec.RestartCount
	m.mu.Unlock()
	m.done.Add(1)
	go func() {
		defer m.done.Done()
		t := time.NewTimer(pause)
		defer t.Stop()
		for {
			m.mu.Lock()
			due := c.rec.State == model.StateRestarting && c.rec.RestartCount == count && !c.removed
			changed := c.changed
			m.mu.Unlock()
			if !due {
				return
			}
			select {
			case <-m.ctx.Done():
				return
			case <-changed:
			case <-t.C:
				m.restart(c, count)
				return
			}
		}
	}()
}

// restart starts a container that waits for it. What can't start ends as if it
// had, and is tried again while its policy says so.
func (m *Manager) restart(c *container, count int) {
	rec := m.snapshot(c)
	if rec.State != model.StateRestarting || rec.RestartCount != count {
		return
	}
	err := m.start(m.ctx, c)
	if err == nil || m.ctx.Err() != nil {
		return
	}
	m.Log.Warn("container not started again", "container_id", rec.ID, "err", err)
	c.op.Lock()
	defer c.op.Unlock()
	rec = m.snapshot(c)
	if alive(rec) || !m.restarts(rec, model.ExitStatus{Code: failedStart}) {
		return
	}
	err = m.update(c, func(r *model.Container) {
		r.State = model.StateRestarting
		r.RestartCount++
	})
	if err != nil {
		m.Log.Error("restart not recorded", "container_id", rec.ID, "err", err)
	}
	m.restartLater(c)
}

// failedStart is the code of a container that could not be started (docker
// run's 125).
const failedStart = 125

// rest ends the wait of a container for its restart.
func (m *Manager) rest(c *container) error {
	c.op.Lock()
	defer c.op.Unlock()
	return m.update(c, func(r *model.Container) {
		if r.State == model.StateRestarting {
			r.State, r.Stopped = model.StateExited, true
		}
	})
}

// Resume starts the containers whose policy wants them to run: after the
// engine was stopped, or when they ended while none was there.
func (m *Manager) Resume(ctx context.Context) error {
	m.mu.Lock()
	var due []*container
	for _, c := range m.containers {
		if m.resumes(c.rec) {
			due = append(due, c)
		}
	}
	m.mu.Unlock()
	var errs []error
	for _, c := range due {
		err := m.update(c, func(r *model.Container) {
			r.State = model.StateRestarting
			r.RestartCount++
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m.restartLater(c)
	}
	return errors.Join(errs...)
}

// resumes decides as restarts does for a container found at a start.
func (m *Manager) resumes(rec model.Container) bool {
	switch {
	case rec.State == model.StateRestarting:
		return true
	case rec.State != model.StateExited || rec.Spec.Service != nil:
		return false
	case rec.Spec.Restart.Name == model.RestartAlways:
		return true // also what was stopped by hand
	}
	return m.restarts(rec, model.ExitStatus{Code: rec.ExitCode})
}

// SetRestart gives a container another policy.
func (m *Manager) SetRestart(name string, p model.RestartPolicy) error {
	c, err := m.find(name)
	if err != nil {
		return err
	}
	return m.update(c, func(r *model.Container) { r.Spec.Restart = p })
}
