package container

import (
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/pflag"
)

// healthFlags are those that say how the container's health is looked after.
type healthFlags struct {
	cmd           string
	interval      time.Duration
	timeout       time.Duration
	startPeriod   time.Duration
	startInterval time.Duration
	retries       int
	none          bool
}

func (f *healthFlags) bind(set *pflag.FlagSet) {
	set.StringVar(&f.cmd, "health-cmd", "", "Command to run to check health")
	set.DurationVar(&f.interval, "health-interval", 0, "Time between running the check (ms|s|m|h) (default 0s)")
	set.IntVar(&f.retries, "health-retries", 0, "Consecutive failures needed to report unhealthy")
	set.DurationVar(&f.timeout, "health-timeout", 0, "Maximum time to allow one check to run (ms|s|m|h) (default 0s)")
	set.DurationVar(&f.startPeriod, "health-start-period", 0,
		"Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)")
	set.DurationVar(&f.startInterval, "health-start-interval", 0,
		"Time between running the check during the start period (ms|s|m|h) (default 0s)")
	set.BoolVar(&f.none, "no-healthcheck", false, "Disable any container-specified HEALTHCHECK")
}

// config gives the health check, nil for the image's own.
func (f *healthFlags) config() (*container.HealthConfig, error) {
	asked := *f
	asked.none = false
	given := asked != healthFlags{}
	switch {
	case f.none && given:
		return nil, errors.New("--no-healthcheck conflicts with --health-* options")
	case f.none:
		return &container.HealthConfig{Test: []string{"NONE"}}, nil
	case !given:
		return nil, nil
	}
	for _, v := range []struct {
		flag     string
		negative bool
	}{
		{"interval", f.interval < 0},
		{"timeout", f.timeout < 0},
		{"retries", f.retries < 0},
		{"start-period", f.startPeriod < 0},
		{"start-interval", f.startInterval < 0},
	} {
		if v.negative {
			return nil, fmt.Errorf("--health-%s cannot be negative", v.flag)
		}
	}
	h := &container.HealthConfig{
		Interval: f.interval, Timeout: f.timeout, StartPeriod: f.startPeriod, StartInterval: f.startInterval, Retries: f.retries,
	}
	if f.cmd != "" {
		h.Test = []string{"CMD-SHELL", f.cmd}
	}
	return h, nil
}
