package dockerapi

import (
	"cmp"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"

	"weft/engine/fault"
	"weft/engine/model"
)

// leastHealthTime is the shortest interval or timeout Docker takes
// (container.MinimumDuration).
const leastHealthTime = time.Millisecond

// healthOf reads a container's own check: nil for none, so that the image's
// counts, and Shell without Args where the image's is to be left out.
func healthOf(c *container.HealthConfig) (*model.HealthCheck, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // none is an answer here
	}
	for _, d := range []struct {
		what  string
		value time.Duration
	}{{"Interval", c.Interval}, {"Timeout", c.Timeout}, {"StartPeriod", c.StartPeriod}, {"StartInterval", c.StartInterval}} {
		if d.value != 0 && d.value < leastHealthTime {
			return nil, fault.Invalid("%s in Healthcheck cannot be less than %s", d.what, leastHealthTime)
		}
	}
	if c.Retries < 0 {
		return nil, fault.Invalid("Retries in Healthcheck cannot be negative")
	}
	h := &model.HealthCheck{
		Interval: c.Interval, Timeout: c.Timeout, StartPeriod: c.StartPeriod, StartInterval: c.StartInterval, Retries: c.Retries,
	}
	if len(c.Test) == 0 {
		return h, nil
	}
	switch c.Test[0] {
	case "NONE":
		return &model.HealthCheck{Shell: true}, nil
	case "CMD":
	case "CMD-SHELL":
		h.Shell = true
	default:
		return nil, fault.Invalid("Unknown healthcheck type %q (expected 'CMD')", c.Test[0])
	}
	h.Args = slices.Clone(c.Test[1:])
	return h, nil
}

// healthConfig gives a check in Docker's form.
func healthConfig(h *model.HealthCheck) *container.HealthConfig {
	if h == nil {
		return nil
	}
	kind := "CMD"
	if h.Shell {
		kind = "CMD-SHELL"
	}
	return &container.HealthConfig{
		Test: append([]string{kind}, h.Args...), Interval: h.Interval, Timeout: h.Timeout,
		StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
	}
}

// healthState gives what checks have found; nil where there are none.
func healthState(c model.Container) *container.Health {
	if c.Health == nil {
		return nil
	}
	out := &container.Health{Status: string(c.Health.Status), FailingStreak: c.Health.FailingStreak, Log: []*container.HealthcheckResult{}}
	for _, r := range c.Health.Log {
		out.Log = append(out.Log, &container.HealthcheckResult{Start: r.Start, End: r.End, ExitCode: r.ExitCode, Output: r.Output})
	}
	return out
}

// healthWord is a status as a list of containers has it.
func healthWord(s model.HealthStatus) string {
	if s == model.HealthStarting {
		return "health: starting"
	}
	return string(s)
}

// alive reports whether a container runs or will by itself, which Docker calls
// running.
func alive(c model.Container) bool {
	return c.State == model.StateRunning || c.State == model.StateRestarting
}

func restartOf(p container.RestartPolicy) model.RestartPolicy {
	if p.IsNone() {
		return model.RestartPolicy{}
	}
	return model.RestartPolicy{Name: string(p.Name), MaxRetries: p.MaximumRetryCount}
}

func restartPolicy(p model.RestartPolicy) container.RestartPolicy {
	return container.RestartPolicy{Name: container.RestartPolicyMode(cmp.Or(p.Name, model.RestartNo)), MaximumRetryCount: p.MaxRetries}
}
