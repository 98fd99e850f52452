package service

import (
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/swarm"
)

var (
	errReplicasNeedReplicated      = errors.New("replicas can only be used with replicated or replicated-job mode")
	errMaxReplicasNeedReplicated   = errors.New("replicas-max-per-node can only be used with replicated or replicated-job mode")
	errMaxConcurrentNeedReplicated = errors.New("max-concurrent can only be used with replicated-job mode")
)

// mode turns --mode and the flags that depend on it into a service mode.
func (o *createOptions) serviceMode() (swarm.ServiceMode, error) {
	replicas, concurrent := o.flags.replicas.value, o.flags.maxConcurrent.value
	switch o.mode {
	case "replicated":
		if concurrent != nil {
			return swarm.ServiceMode{}, errMaxConcurrentNeedReplicated
		}
		return swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: replicas}}, nil
	case "replicated-job":
		if concurrent == nil {
			concurrent = replicas
		}
		return swarm.ServiceMode{ReplicatedJob: &swarm.ReplicatedJob{MaxConcurrent: concurrent, TotalCompletions: replicas}}, nil
	case "global":
		return swarm.ServiceMode{Global: &swarm.GlobalService{}}, o.rejectReplicaFlags()
	case "global-job":
		return swarm.ServiceMode{GlobalJob: &swarm.GlobalJob{}}, o.rejectReplicaFlags()
	default:
		return swarm.ServiceMode{}, fmt.Errorf("Unknown mode: %s, only replicated and global supported", o.mode) //nolint:staticcheck // docker's wording
	}
}

// rejectReplicaFlags refuses the flags a service with one task per node has
// no use for.
func (o *createOptions) rejectReplicaFlags() error {
	switch {
	case o.flags.replicas.value != nil:
		return errReplicasNeedReplicated
	case o.flags.placement.maxReplicas > 0:
		return errMaxReplicasNeedReplicated
	case o.flags.maxConcurrent.value != nil:
		return errMaxConcurrentNeedReplicated
	}
	return nil
}
