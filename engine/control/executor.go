package control

import (
	"context"
	"sort"
	"sync"

	"github.com/moby/swarmkit/v2/agent"
	"github.com/moby/swarmkit/v2/agent/exec"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/model"
)

// executor is what SwarmKit's agent runs this node's tasks with. Each start of
// the node has its own: what it knows of tasks, networks and attachments is
// what the agent has told since.
type executor struct {
	exec.DependencyManager
	cfg    *Config
	run    *runner
	joined chan struct{} // closed when the host knows the membership

	attachments *attachments

	keys    *courier[[]model.GossipKey]
	ingress *courier[*api.NetworkAttachment]
	tried   chan struct{} // closed when the host was told first
	once    sync.Once

	mu       sync.Mutex // guards what follows
	hostErr  error      // what the host has against the membership or the keys
	member   Membership // once known
	node     *api.NodeDescription
	port     uint32 // data path port; 0 until the node object came
	kept     bool
	tasks    map[string]bool // of which there is a controller
	networks map[string]model.Network
}

func newExecutor(cfg *Config, r *runner) *executor {
	return &executor{
		DependencyManager: agent.NewDependencyManager(noPlugins{}),
		cfg:               cfg, run: r, joined: make(chan struct{}),
		keys: newCourier[[]model.GossipKey](), ingress: newCourier[*api.NetworkAttachment](), tried: make(chan struct{}),
		attachments: newAttachments(), tasks: map[string]bool{}, networks: map[string]model.Network{},
	}
}

// Describe implements exec.Executor.
func (e *executor) Describe(ctx context.Context) (*api.NodeDescription, error) {
	d, err := e.cfg.Host.Describe(ctx)
	if err != nil {
		return nil, err
	}
	labels := map[string]string{}
	for k, v := range d.Labels {
		labels[k] = v
	}
	desc := &api.NodeDescription{
		Hostname:  d.Hostname,
		Platform:  &api.Platform{Architecture: d.Architecture, OS: d.OS},
		Resources: &api.Resources{NanoCPUs: d.NanoCPUs, MemoryBytes: d.MemoryBytes},
		Engine: &api.EngineDescription{
			EngineVersion: d.EngineVersion, Labels: labels,
			// The scheduler places tasks with overlay networks by this.
			Plugins: []api.PluginDescription{{Type: "Network", Name: overlayDriver}},
		},
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.node = desc
	return desc, nil
}

// Configure implements exec.Executor: it gets this node's own object, which
// has the data path port of the swarm and the node's place in its ingress
// network. It comes once per session at least, and with each change.
func (e *executor) Configure(_ context.Context, n *api.Node) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.port = n.VXLANUDPPort
	if e.port == 0 {
		e.port = defaultDataPathPort
	}
	e.ingress.send(ingressOf(n))
	return nil
}

// SetNetworkBootstrapKeys implements exec.Executor. The first keys come after
// the node object and after the agent has taken up all saved tasks. They are
// handed over by serve: the agent must not wait for gossip to come up, and
// would not repeat keys that were refused.
func (e *executor) SetNetworkBootstrapKeys(keys []*api.EncryptionKey) error {
	out := make([]model.GossipKey, len(keys))
	for i, k := range keys {
		out[i] = model.GossipKey{Subsystem: k.Subsystem, Key: append([]byte(nil), k.Key...), Lamport: k.LamportTime}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Lamport < out[j].Lamport })
	e.keys.send(out)
	return nil
}

// serve hands keys to the host until ctx ends.
func (e *executor) serve(ctx context.Context) {
	e.keys.run(ctx, func(ctx context.Context, keys []model.GossipKey) error {
		err := e.hand(ctx, keys)
		e.outcome(err)
		if err != nil && ctx.Err() == nil {
			e.cfg.Log.ErrorContext(ctx, "the host can not take up the swarm membership", "err", err)
		}
		return err
	})
}

func (e *executor) hand(ctx context.Context, keys []model.GossipKey) error {
	select {
	case <-e.joined:
	default:
		m, ok := e.membership()
		if !ok {
			return errPreparing
		}
		if err := e.cfg.Host.Joined(ctx, m); err != nil {
			return err
		}
		close(e.joined)
	}
	if err := e.cfg.Host.SetKeys(ctx, keys); err != nil {
		return err
	}
	e.keep(ctx)
	return nil
}

// outcome notes how the host took the membership and the last keys.
func (e *executor) outcome(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hostErr = err
	e.once.Do(func() { close(e.tried) })
}

// host waits until the host was first told of the membership, and gives the
// error it has with it. It does not wait beyond ctx.
func (e *executor) host(ctx context.Context) error {
	select {
	case <-e.tried:
	case <-ctx.Done():
		return nil
	}
	return e.trouble()
}

func (e *executor) trouble() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hostErr
}

// keep tells the host once which of its tasks are still wanted.
func (e *executor) keep(ctx context.Context) {
	e.mu.Lock()
	if e.kept {
		e.mu.Unlock()
		return
	}
	e.kept = true
	ids := make([]string, 0, len(e.tasks))
	for id := range e.tasks {
		ids = append(ids, id)
	}
	e.mu.Unlock()
	sort.Strings(ids)
	e.cfg.Host.KeepTasks(ctx, ids, e.attachments.containers())
}

func (e *executor) membership() (Membership, bool) {
	e.mu.Lock()
	port, known := e.port, e.member
	e.mu.Unlock()
	if known.NodeID != "" {
		return known, true
	}
	v := e.run.view()
	id := v.nodeID()
	if port == 0 || id == "" {
		return Membership{}, false
	}
	m, err := v.membership()
	if err != nil {
		e.cfg.Log.Error("addresses of the swarm membership", "err", err)
		return Membership{}, false
	}
	m.NodeID, m.DataPathPort = id, uint16(port) //nolint:gosec // below 49152, by the manager's validation
	e.mu.Lock()
	defer e.mu.Unlock()
	e.member = m
	return m, true
}

// Controller implements exec.Executor.
func (e *executor) Controller(t *api.Task) (exec.Controller, error) {
	for _, na := range t.Networks {
		if na.Network != nil {
			e.learn(na.Network)
		}
	}
	if a := t.Spec.GetAttachment(); a != nil {
		return newAttachController(e, t, a.ContainerID), nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tasks[t.ID] = true
	return &taskController{exec: e, task: t, node: e.node, closed: make(chan struct{})}, nil
}

func (e *executor) forgetTask(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.tasks, id)
}

func (e *executor) learn(n *api.Network) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.networks[n.ID] = networkModel(n)
}

// network gives a network the agent has been told of, by ID or name.
func (e *executor) network(nameOrID string) (model.Network, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	found, ok := e.networks[nameOrID]
	if ok {
		return found, true
	}
	for _, n := range e.networks { // a removed one may have had the same name
		if n.Name == nameOrID && (!ok || n.Created.After(found.Created)) {
			found, ok = n, true
		}
	}
	return found, ok
}
