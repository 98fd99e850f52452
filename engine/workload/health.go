package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"weft/engine/model"
)

// Docker's defaults (daemon/health.go).
const (
	checkInterval = 30 * time.Second
	checkTimeout  = 30 * time.Second
	startInterval = 5 * time.Second
	checkRetries  = 3
	keptResults   = 5
)

// codeTimeout is the exit code of a check that took too long, as in Docker.
const codeTimeout = -1

// healthCheck gives a container's check: its own, completed by the image's.
func healthCheck(own *model.HealthCheck, image *dockerspec.HealthcheckConfig) *model.HealthCheck {
	if own != nil && len(own.Args) == 0 && own.Shell {
		return nil // "NONE"
	}
	h := FromImage(image)
	if own == nil {
		return h
	}
	out := *own
	if h == nil {
		if len(out.Args) == 0 {
			return nil
		}
		return &out
	}
	if len(out.Args) == 0 {
		out.Args, out.Shell = h.Args, h.Shell
	}
	out.Interval = cmp.Or(out.Interval, h.Interval)
	out.Timeout = cmp.Or(out.Timeout, h.Timeout)
	out.StartPeriod = cmp.Or(out.StartPeriod, h.StartPeriod)
	out.StartInterval = cmp.Or(out.StartInterval, h.StartInterval)
	out.Retries = cmp.Or(out.Retries, h.Retries)
	return &out
}

// FromImage gives a check in the form of Docker's images: nil for none, and
// Shell without Args for "NONE".
func FromImage(c *dockerspec.HealthcheckConfig) *model.HealthCheck {
	if c == nil {
		return nil
	}
	h := &model.HealthCheck{
		Interval: c.Interval, Timeout: c.Timeout, StartPeriod: c.StartPeriod, StartInterval: c.StartInterval, Retries: c.Retries,
	}
	if len(c.Test) == 0 {
		return h
	}
	switch c.Test[0] {
	case "NONE":
		return &model.HealthCheck{Shell: true}
	case "CMD-SHELL":
		h.Shell = true
	}
	h.Args = slices.Clone(c.Test[1:])
	return h
}

// beginChecks follows the health of a running container that has a check,
// until endChecks. The Manager owns the goroutine: Close waits for it.
func (m *Manager) beginChecks(c *container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.rec.Spec.Health == nil || len(c.rec.Spec.Health.Args) == 0 || c.rec.State != model.StateRunning || c.endCheck != nil {
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	c.endCheck = cancel
	m.done.Add(1)
	go func() {
		defer m.done.Done()
		m.check(ctx, c)
	}()
}

func (m *Manager) endChecks(c *container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.endCheck != nil {
		c.endCheck()
		c.endCheck = nil
	}
}

// check runs a container's check again and again until ctx ends.
func (m *Manager) check(ctx context.Context, c *container) {
	for {
		rec := m.snapshot(c)
		t := time.NewTimer(m.nextCheck(rec))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		result, err := m.probe(ctx, rec)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.Log.WarnContext(ctx, "health check not run", "container_id", rec.ID, "err", err)
		}
		if err := m.judge(c, result); err != nil {
			m.Log.ErrorContext(ctx, "health not recorded", "container_id", rec.ID, "err", err)
		}
	}
}

// nextCheck gives the pause before the next check.
func (m *Manager) nextCheck(rec model.Container) time.Duration {
	h := rec.Spec.Health
	starting := rec.Health == nil || rec.Health.Status == model.HealthStarting
	if starting && m.Now().Sub(rec.Started) < h.StartPeriod {
		return cmp.Or(h.StartInterval, startInterval)
	}
	return cmp.Or(h.Interval, checkInterval)
}

// probe runs the check once.
func (m *Manager) probe(ctx context.Context, rec model.Container) (model.HealthResult, error) {
	h := rec.Spec.Health
	limit := cmp.Or(h.Timeout, checkTimeout)
	args := h.Args
	if h.Shell {
		args = append([]string{"/bin/sh", "-c"}, args...)
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	result := model.HealthResult{Start: m.Now()}
	var err error
	result.ExitCode, result.Output, err = m.Runtime.Check(timed, rec.ID, model.ExecSpec{Args: args})
	result.End = m.Now()
	if errors.Is(timed.Err(), context.DeadlineExceeded) {
		result.ExitCode = codeTimeout
		result.Output = fmt.Sprintf("Health check exceeded timeout (%v)", limit)
		return result, nil
	}
	if err != nil {
		result.ExitCode, result.Output = codeTimeout, err.Error()
	}
	return result, err
}

// judge records a result and what follows from it.
func (m *Manager) judge(c *container, result model.HealthResult) error {
	changed := false
	err := m.update(c, func(r *model.Container) {
		if r.State != model.StateRunning || r.Spec.Health == nil {
			return
		}
		health := model.Health{Status: model.HealthStarting}
		if r.Health != nil {
			health = *r.Health
		}
		was := health.Status
		results := append(slices.Clone(health.Log), result)
		health.Log = results[max(0, len(results)-keptResults):]
		switch {
		case result.ExitCode == 0:
			health.Status, health.FailingStreak = model.Healthy, 0
		case health.Status == model.HealthStarting && result.Start.Sub(r.Started) < r.Spec.Health.StartPeriod:
		default:
			health.FailingStreak++
			if health.FailingStreak >= cmp.Or(r.Spec.Health.Retries, checkRetries) {
				health.Status = model.Unhealthy
			}
		}
		r.Health, changed = &health, health.Status != was
	})
	if rec := m.snapshot(c); changed && rec.Health != nil {
		m.publish(rec, "health_status: "+string(rec.Health.Status), nil)
	}
	return err
}

// awaitHealth blocks until a container's checks have found it healthy; one
// without a check is. It fails when the container ends or turns out unhealthy.
func (m *Manager) awaitHealth(ctx context.Context, c *container) error {
	for {
		m.mu.Lock()
		rec, changed := c.rec, c.changed
		m.mu.Unlock()
		switch {
		case rec.State != model.StateRunning:
			return nil // its end says why
		case rec.Health == nil || rec.Health.Status == model.Healthy:
			return nil
		case rec.Health.Status == model.Unhealthy:
			return errUnhealthy
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errUnhealthy is a task whose check failed too often, in Docker's words.
var errUnhealthy = errors.New("task: unhealthy container")
