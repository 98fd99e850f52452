package apitest

import (
	"context"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"weft/engine/fault"
)

// Tokens another engine's join requests are compared with.
const (
	WorkerToken  = "SWMTKN-1-fake-worker"
	ManagerToken = "SWMTKN-1-fake-manager"
)

type swarmBackend struct{ e *Engine }

func errOutside() error {
	return fault.Unavailable(`This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`)
}

func errWorker() error {
	return fault.Unavailable("This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. " +
		"Please run this command on a manager node or promote the current node to a manager.")
}

// managerLocked refuses what only a manager can do.
func (e *Engine) managerLocked() error {
	switch {
	case e.info.ControlAvailable:
		return nil
	case e.info.LocalNodeState == swarm.LocalNodeStateInactive:
		return errOutside()
	}
	return errWorker()
}

// stampLocked gives a new object its metadata, a changed one its new version.
func (e *Engine) stampLocked(m *swarm.Meta) {
	e.index++
	m.Version.Index = e.index
	if m.CreatedAt.IsZero() {
		m.CreatedAt = e.now()
	}
	m.UpdatedAt = e.now()
}

func (b swarmBackend) Info(context.Context) swarm.Info {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return b.e.info
}

func (b swarmBackend) Init(_ context.Context, req swarm.InitRequest) (string, error) {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.info.LocalNodeState != swarm.LocalNodeStateInactive {
		return "", fault.Unavailable(`This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.`)
	}
	node := swarm.Node{
		ID:            newSwarmID(),
		Spec:          swarm.NodeSpec{Role: swarm.NodeRoleManager, Availability: swarm.NodeAvailabilityActive, Annotations: swarm.Annotations{Labels: map[string]string{}}},
		Description:   swarm.NodeDescription{Hostname: "fake", Engine: swarm.EngineDescription{EngineVersion: Version}},
		Status:        swarm.NodeStatus{State: swarm.NodeStateReady, Addr: "127.0.0.1"},
		ManagerStatus: &swarm.ManagerStatus{Leader: true, Reachability: swarm.ReachabilityReachable, Addr: "127.0.0.1:2377"},
	}
	e.stampLocked(&node.Meta)
	e.nodes[node.ID] = node
	e.cluster = swarm.Swarm{
		ClusterInfo: swarm.ClusterInfo{ID: newSwarmID(), Spec: req.Spec},
		JoinTokens:  swarm.JoinTokens{Worker: WorkerToken, Manager: ManagerToken},
	}
	e.cluster.Spec.Name = "default"
	e.stampLocked(&e.cluster.Meta)
	e.info = swarm.Info{
		NodeID: node.ID, NodeAddr: "127.0.0.1", LocalNodeState: swarm.LocalNodeStateActive, ControlAvailable: true,
		Nodes: 1, Managers: 1, Cluster: &e.cluster.ClusterInfo,
	}
	e.addNetworkLocked("ingress", true)
	return node.ID, nil
}

func (b swarmBackend) Join(_ context.Context, req swarm.JoinRequest) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.info.LocalNodeState != swarm.LocalNodeStateInactive {
		return fault.Unavailable(`This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.`)
	}
	if req.JoinToken != WorkerToken {
		return fault.Invalid("invalid join token")
	}
	e.info = swarm.Info{NodeID: newSwarmID(), NodeAddr: "127.0.0.1", LocalNodeState: swarm.LocalNodeStateActive}
	return nil
}

func (b swarmBackend) Leave(_ context.Context, force bool) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.info.LocalNodeState == swarm.LocalNodeStateInactive {
		return fault.Unavailable("This node is not part of a swarm")
	}
	if e.info.ControlAvailable && !force {
		return fault.Unavailable("You are attempting to leave the swarm on a node that is participating as a manager. " +
			"Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ")
	}
	e.info = swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive}
	clear(e.nodes)
	clear(e.services)
	clear(e.tasks)
	clear(e.configs)
	e.networks = e.networks[:1]
	return nil
}

func (b swarmBackend) Inspect(context.Context) (swarm.Swarm, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return b.e.cluster, b.e.managerLocked()
}

func (b swarmBackend) Update(_ context.Context, version uint64, spec swarm.Spec, flags swarm.UpdateFlags) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.managerLocked(); err != nil {
		return err
	}
	if version != e.cluster.Version.Index {
		return errSequence()
	}
	e.cluster.Spec = spec
	if flags.RotateWorkerToken {
		e.cluster.JoinTokens.Worker = WorkerToken + "-" + newSwarmID()
	}
	if flags.RotateManagerToken {
		e.cluster.JoinTokens.Manager = ManagerToken + "-" + newSwarmID()
	}
	if spec.EncryptionConfig.AutoLockManagers && (e.unlockKey == "" || flags.RotateManagerUnlockKey) {
		e.unlockKey = "SWMKEY-1-" + newSwarmID()
	}
	e.stampLocked(&e.cluster.Meta)
	return nil
}

func errSequence() error {
	return fault.Internal("rpc error: code = Unknown desc = update out of sequence")
}

func (b swarmBackend) UnlockKey(context.Context) (string, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return b.e.unlockKey, b.e.managerLocked()
}

func (b swarmBackend) Unlock(context.Context, swarm.UnlockRequest) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if b.e.info.LocalNodeState == swarm.LocalNodeStateInactive {
		return errOutside()
	}
	return fault.Conflict("swarm is not locked")
}

func (b swarmBackend) Nodes(_ context.Context, f filters.Args) ([]swarm.Node, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if err := b.e.managerLocked(); err != nil {
		return nil, err
	}
	var out []swarm.Node
	for _, n := range byID(b.e.nodes) {
		if f.Match("id", n.ID) && f.Match("name", n.Description.Hostname) && f.ExactMatch("role", string(n.Spec.Role)) {
			out = append(out, n)
		}
	}
	return out, nil
}

func (b swarmBackend) Node(_ context.Context, name string) (swarm.Node, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return b.e.nodeLocked(name)
}

func (e *Engine) nodeLocked(name string) (swarm.Node, error) {
	if err := e.managerLocked(); err != nil {
		return swarm.Node{}, err
	}
	for _, n := range byID(e.nodes) {
		if strings.HasPrefix(n.ID, name) || n.Description.Hostname == name || (name == "self" && n.ID == e.info.NodeID) {
			return n, nil
		}
	}
	return swarm.Node{}, fault.NotFound("node %s not found", name)
}

func (b swarmBackend) UpdateNode(_ context.Context, name string, version uint64, spec swarm.NodeSpec) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	n, err := b.e.nodeLocked(name)
	if err != nil {
		return err
	}
	if version != n.Version.Index {
		return errSequence()
	}
	n.Spec = spec
	b.e.stampLocked(&n.Meta)
	b.e.nodes[n.ID] = n
	return nil
}

func (b swarmBackend) RemoveNode(_ context.Context, name string, _ bool) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	n, err := b.e.nodeLocked(name)
	if err != nil {
		return err
	}
	if n.ID == b.e.info.NodeID {
		return fault.Invalid("rpc error: code = FailedPrecondition desc = node %s is a cluster manager and is a member of the raft cluster. "+
			"It must be demoted to worker before removal", n.ID)
	}
	delete(b.e.nodes, n.ID)
	return nil
}
