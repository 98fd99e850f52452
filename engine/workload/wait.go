package workload

import (
	"context"
	"strconv"

	"weft/engine/model"
)

// WaitFor is what Wait waits for.
type WaitFor int

// The conditions of Docker's container wait.
const (
	NotRunning WaitFor = iota // now or as soon as the process has ended
	NextExit                  // the next end of the process, whatever it does now
	Removed                   // the container is gone
)

// Wait blocks until the condition holds and gives how the process ended last.
// registered is called once, when an end can not be missed any more.
func (m *Manager) Wait(ctx context.Context, name string, cond WaitFor, registered func()) (model.ExitStatus, error) {
	c, err := m.find(name)
	if err != nil {
		return model.ExitStatus{}, err
	}
	m.mu.Lock()
	first := c.exits
	m.mu.Unlock()
	registered()
	for {
		m.mu.Lock()
		rec, exits, removed, changed := c.rec, c.exits, c.removed, c.changed
		m.mu.Unlock()
		ok := removed
		switch cond {
		case NotRunning:
			ok = ok || !alive(rec)
		case NextExit:
			ok = ok || exits > first
		case Removed:
		}
		if ok {
			return exitStatus(rec), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return model.ExitStatus{}, ctx.Err()
		}
	}
}

// exitStatus gives how a container that does not run ended.
func exitStatus(rec model.Container) model.ExitStatus {
	st := model.ExitStatus{Code: rec.ExitCode, Finished: rec.Finished}
	if rec.State == model.StateExited {
		st.Err = rec.Error // else it says why a start failed, which the starter was told
	}
	return st
}

// watch follows the process of a running container to its end. The Manager
// owns the goroutine: Close waits for it.
func (m *Manager) watch(c *container) {
	id := m.snapshot(c).ID
	m.done.Add(1)
	go func() {
		defer m.done.Done()
		st, err := m.Runtime.Wait(m.ctx, id)
		if m.ctx.Err() != nil {
			return
		}
		if err != nil {
			st = model.ExitStatus{Code: 255, Finished: m.Now(), Err: err.Error()}
			m.Log.Error("container lost", "container_id", id, "err", err)
		}
		m.ended(c, st)
	}()
}

// ended takes the container off its networks first and says it has exited
// after that, so that who waits for the end finds its addresses free.
func (m *Manager) ended(c *container, st model.ExitStatus) {
	c.op.Lock()
	defer c.op.Unlock()
	if m.gone(c) {
		return
	}
	ctx := context.WithoutCancel(m.ctx)
	if err := m.teardown(ctx, c); err != nil {
		m.Log.Error("container not cleaned up", "container_id", m.snapshot(c).ID, "err", err)
	}
	m.endChecks(c)
	again := m.restarts(m.snapshot(c), st)
	err := m.update(c, func(r *model.Container) {
		r.State, r.Pid, r.ExitCode, r.Finished, r.Error = model.StateExited, 0, st.Code, st.Finished, st.Err
		r.OOMKilled = st.OOMKilled
		if again {
			r.State = model.StateRestarting
			r.RestartCount++
		}
		c.exits++
	})
	if err != nil {
		m.Log.Error("exit not recorded", "container_id", m.snapshot(c).ID, "err", err)
	}
	rec := m.snapshot(c)
	if st.OOMKilled {
		m.publish(rec, "oom", nil)
	}
	m.publish(rec, "die", map[string]string{"exitCode": strconv.Itoa(st.Code)})
	if again {
		m.restartLater(c)
	}
	if rec.Spec.AutoRemove {
		if err := m.removeStopped(ctx, c, true); err != nil {
			m.Log.Error("container not removed", "container_id", rec.ID, "err", err)
		}
	}
}
