package apitest

import (
	"context"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"weft/engine/fault"
)

func (b swarmBackend) Services(_ context.Context, f filters.Args, status bool) ([]swarm.Service, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if err := b.e.managerLocked(); err != nil {
		return nil, err
	}
	var out []swarm.Service
	for _, s := range byID(b.e.services) {
		if !f.Match("id", s.ID) || !f.Match("name", s.Spec.Name) || !f.MatchKVList("label", s.Spec.Labels) {
			continue
		}
		if status {
			s.ServiceStatus = &swarm.ServiceStatus{RunningTasks: replicas(s.Spec), DesiredTasks: replicas(s.Spec)}
		}
		out = append(out, s)
	}
	return out, nil
}

func (b swarmBackend) Service(_ context.Context, name string, _ bool) (swarm.Service, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return b.e.serviceLocked(name)
}

func (e *Engine) serviceLocked(name string) (swarm.Service, error) {
	if err := e.managerLocked(); err != nil {
		return swarm.Service{}, err
	}
	for _, s := range byID(e.services) {
		if s.Spec.Name == name || strings.HasPrefix(s.ID, name) {
			return s, nil
		}
	}
	return swarm.Service{}, fault.NotFound("service %s not found", name)
}

func (b swarmBackend) CreateService(_ context.Context, spec swarm.ServiceSpec) (swarm.ServiceCreateResponse, error) {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.managerLocked(); err != nil {
		return swarm.ServiceCreateResponse{}, err
	}
	for _, s := range e.services {
		if s.Spec.Name == spec.Name {
			return swarm.ServiceCreateResponse{}, fault.Conflict("rpc error: code = AlreadyExists desc = name conflicts with an existing object: service %s already exists", spec.Name)
		}
	}
	if spec.TaskTemplate.ContainerSpec == nil {
		return swarm.ServiceCreateResponse{}, fault.Invalid("rpc error: code = InvalidArgument desc = ContainerSpec: image reference must be provided")
	}
	s := swarm.Service{ID: newSwarmID(), Spec: spec}
	e.stampLocked(&s.Meta)
	e.services[s.ID] = s
	e.scaleLocked(s)
	return swarm.ServiceCreateResponse{ID: s.ID}, nil
}

func replicas(spec swarm.ServiceSpec) uint64 {
	if spec.Mode.Replicated != nil && spec.Mode.Replicated.Replicas != nil {
		return *spec.Mode.Replicated.Replicas
	}
	return 1
}

// scaleLocked replaces the tasks of a service by as many as it wants, running.
func (e *Engine) scaleLocked(s swarm.Service) {
	for id, t := range e.tasks {
		if t.ServiceID == s.ID {
			delete(e.tasks, id)
		}
	}
	for slot := range int(replicas(s.Spec)) {
		t := swarm.Task{
			ID: newSwarmID(), ServiceID: s.ID, NodeID: e.info.NodeID, Slot: slot + 1, Spec: s.Spec.TaskTemplate,
			DesiredState: swarm.TaskStateRunning, Status: swarm.TaskStatus{State: swarm.TaskStateRunning, Timestamp: e.now(), Message: "started"},
		}
		e.stampLocked(&t.Meta)
		e.tasks[t.ID] = t
	}
}

func (b swarmBackend) UpdateService(_ context.Context, name string, version uint64, spec swarm.ServiceSpec, opts swarm.ServiceUpdateOptions) (swarm.ServiceUpdateResponse, error) {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := e.serviceLocked(name)
	if err != nil {
		return swarm.ServiceUpdateResponse{}, err
	}
	if version != s.Version.Index {
		return swarm.ServiceUpdateResponse{}, errSequence()
	}
	if opts.Rollback == "previous" {
		if s.PreviousSpec == nil {
			return swarm.ServiceUpdateResponse{}, fault.Invalid("rpc error: code = FailedPrecondition desc = service %s does not have a previous spec", s.ID)
		}
		spec = *s.PreviousSpec
	}
	previous := s.Spec
	s.Spec, s.PreviousSpec = spec, &previous
	e.stampLocked(&s.Meta)
	e.services[s.ID] = s
	e.scaleLocked(s)
	return swarm.ServiceUpdateResponse{}, nil
}

func (b swarmBackend) RemoveService(_ context.Context, name string) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	s, err := b.e.serviceLocked(name)
	if err != nil {
		return err
	}
	none := uint64(0)
	s.Spec.Mode = swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &none}}
	b.e.scaleLocked(s)
	delete(b.e.services, s.ID)
	return nil
}

func (b swarmBackend) Tasks(_ context.Context, f filters.Args) ([]swarm.Task, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if err := b.e.managerLocked(); err != nil {
		return nil, err
	}
	var out []swarm.Task
	for _, t := range byID(b.e.tasks) {
		s := b.e.services[t.ServiceID]
		if f.Match("id", t.ID) && f.ExactMatch("desired-state", string(t.DesiredState)) &&
			(f.FuzzyMatch("service", t.ServiceID) || f.ExactMatch("service", s.Spec.Name)) && f.FuzzyMatch("node", t.NodeID) {
			out = append(out, t)
		}
	}
	return out, nil
}

func (b swarmBackend) Task(_ context.Context, id string) (swarm.Task, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if err := b.e.managerLocked(); err != nil {
		return swarm.Task{}, err
	}
	for _, t := range byID(b.e.tasks) {
		if strings.HasPrefix(t.ID, id) {
			return t, nil
		}
	}
	return swarm.Task{}, fault.NotFound("task %s not found", id)
}
