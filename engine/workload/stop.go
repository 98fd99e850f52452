package workload

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/signal"

	"weft/engine/fault"
	"weft/engine/model"
)

// DefaultGrace is how long a process has between its stop signal and SIGKILL
// when nothing else is said, as in Docker.
const DefaultGrace = 10 * time.Second

// Stop sends the stop signal and, after the grace, SIGKILL; it returns when
// the process has ended and its endpoints are gone. sig overrides the stop
// signal, grace the container's own; a negative grace has no end. stopped is
// false when the container was not running.
func (m *Manager) Stop(ctx context.Context, name, sig string, grace *time.Duration) (stopped bool, err error) {
	c, err := m.find(name)
	if err != nil {
		return false, err
	}
	if alive(m.snapshot(c)) {
		if err := m.update(c, func(r *model.Container) { r.Stopped = true }); err != nil {
			return false, err
		}
	}
	return m.stop(ctx, c, sig, grace)
}

func (m *Manager) stop(ctx context.Context, c *container, sig string, grace *time.Duration) (bool, error) {
	rec := m.snapshot(c)
	if rec.State == model.StateRestarting {
		return true, m.rest(c)
	}
	if rec.State != model.StateRunning {
		return false, nil
	}
	if sig == "" {
		sig = rec.Spec.Process.StopSignal
	}
	s, err := parseSignal(sig, syscall.SIGTERM)
	if err != nil {
		return false, err
	}
	limit := rec.Spec.Process.StopGrace
	if limit == 0 {
		limit = DefaultGrace
	}
	if grace != nil {
		limit = *grace
	}
	m.publish(rec, "kill", map[string]string{"signal": strconv.Itoa(int(s))})
	if err := m.Runtime.Signal(ctx, rec.ID, s); err != nil {
		m.Log.WarnContext(ctx, "stop signal not delivered", "container_id", rec.ID, "err", err)
	}
	if err := m.awaitEnd(ctx, c, limit); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err := m.kill(ctx, c); err != nil {
			return false, err
		}
	}
	m.publish(rec, "stop", nil)
	return true, nil
}

// kill sends SIGKILL and waits for the end. A process that has ended by itself
// meanwhile is as good.
func (m *Manager) kill(ctx context.Context, c *container) error {
	rec := m.snapshot(c)
	if rec.State == model.StateRestarting {
		return m.rest(c)
	}
	if rec.State != model.StateRunning {
		return nil
	}
	if err := m.update(c, func(r *model.Container) { r.Stopped = true }); err != nil {
		return err
	}
	m.publish(rec, "kill", map[string]string{"signal": "9"})
	if err := m.Runtime.Signal(ctx, rec.ID, syscall.SIGKILL); err != nil && !errdefs.IsConflict(err) {
		return err
	}
	return m.awaitEnd(ctx, c, -1)
}

var errGraceOver = errors.New("grace period over")

// awaitEnd waits until c does not run; a negative limit is none.
func (m *Manager) awaitEnd(ctx context.Context, c *container, limit time.Duration) error {
	var expired <-chan time.Time
	if limit >= 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		expired = t.C
	}
	for {
		m.mu.Lock()
		running, changed := alive(c.rec) && !c.removed, c.changed
		m.mu.Unlock()
		if !running {
			return nil
		}
		select {
		case <-changed:
		case <-expired:
			return errGraceOver
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stopSignal gives the signal that asks a container to end.
func stopSignal(rec model.Container) syscall.Signal {
	s, err := parseSignal(rec.Spec.Process.StopSignal, syscall.SIGTERM)
	if err != nil {
		return syscall.SIGTERM // checked when the container was made
	}
	return s
}

// parseSignal reads TERM, SIGTERM or 15; empty is fallback.
func parseSignal(s string, fallback syscall.Signal) (syscall.Signal, error) {
	if s == "" {
		return fallback, nil
	}
	sig, err := signal.ParseSignal(s)
	if err != nil {
		return 0, fault.Invalid("%w", err)
	}
	return sig, nil
}

// Kill sends a signal, SIGKILL when none is named. It does not wait for the
// process to end, but for SIGKILL it does, as dockerd.
func (m *Manager) Kill(ctx context.Context, name, sig string) error {
	c, err := m.find(name)
	if err != nil {
		return err
	}
	s, err := parseSignal(sig, syscall.SIGKILL)
	if err != nil {
		return err
	}
	rec := m.snapshot(c)
	if rec.State != model.StateRunning {
		return fault.Conflict("cannot kill container: %s: container %s is not running", name, rec.ID)
	}
	// As in Docker, a signal that is meant to end it rests its policy.
	if ends := s == syscall.SIGKILL || s == stopSignal(rec); ends {
		if err := m.update(c, func(r *model.Container) { r.Stopped = true }); err != nil {
			return err
		}
	}
	if err := m.Runtime.Signal(ctx, rec.ID, s); err != nil {
		return err
	}
	m.publish(rec, "kill", map[string]string{"signal": strconv.Itoa(int(s))})
	if s == syscall.SIGKILL {
		return m.awaitEnd(ctx, c, -1)
	}
	return nil
}

// Remove deletes a container that does not run; force kills it first. With
// volumes, its anonymous volumes go too.
func (m *Manager) Remove(ctx context.Context, name string, force, volumes bool) error {
	c, err := m.find(name)
	if err != nil {
		return err
	}
	switch rec := m.snapshot(c); {
	case force:
	case rec.State == model.StateRestarting:
		return fault.Conflict("cannot remove container %q: container is restarting: stop the container before removing or force remove", "/"+rec.Spec.Name)
	case rec.State == model.StateRunning:
		return fault.Conflict("cannot remove container %q: container is running: stop the container before removing or force remove", "/"+rec.Spec.Name)
	}
	if err := m.kill(ctx, c); err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	if m.gone(c) {
		return nil
	}
	return m.removeStopped(ctx, c, volumes)
}

// removeStopped deletes everything of c, the record last. c.op is held.
func (m *Manager) removeStopped(ctx context.Context, c *container, volumes bool) error {
	rec := m.snapshot(c)
	if err := m.teardown(ctx, c); err != nil {
		return err
	}
	if err := m.Runtime.Remove(ctx, rec.ID); err != nil {
		return err
	}
	if err := m.Volumes.Drop(ctx, rec.ID, rec.Spec.Process.Mounts, volumes); err != nil {
		return err
	}
	if err := m.forget(ctx, c, nil); err != nil {
		return err
	}
	m.publish(rec, "destroy", nil)
	return nil
}

// forget drops c from the tables and gives cause back.
func (m *Manager) forget(_ context.Context, c *container, cause error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.containers, c.rec.ID)
	if t := c.rec.Spec.Service; t != nil && m.tasks[t.TaskID] == c {
		delete(m.tasks, t.TaskID)
	}
	c.removed = true
	m.wakeLocked(c)
	return errors.Join(cause, m.Table.Delete(c.rec.ID))
}
