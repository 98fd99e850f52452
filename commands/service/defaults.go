package service

import (
	"time"

	"github.com/docker/docker/api/types/swarm"
)

// What SwarmKit fills in where a specification is silent
// (moby/swarmkit v2.0.0, api/defaults/service.go). They are shown in the help
// of create and are the base an update or restart setting is applied to.
const (
	defaultStopGracePeriod  = 10 * time.Second
	defaultRestartDelay     = 5 * time.Second
	defaultRestartCondition = swarm.RestartPolicyConditionAny
	defaultParallelism      = 1
	defaultMonitor          = 5 * time.Second
	defaultFailureAction    = swarm.UpdateFailureActionPause
	defaultOrder            = swarm.UpdateOrderStopFirst
)

func defaultUpdateConfig() *swarm.UpdateConfig {
	return &swarm.UpdateConfig{
		Parallelism:   defaultParallelism,
		Monitor:       defaultMonitor,
		FailureAction: defaultFailureAction,
		Order:         defaultOrder,
	}
}

func defaultRestartPolicy() *swarm.RestartPolicy {
	delay, attempts := defaultRestartDelay, uint64(0)
	return &swarm.RestartPolicy{Condition: defaultRestartCondition, Delay: &delay, MaxAttempts: &attempts}
}
