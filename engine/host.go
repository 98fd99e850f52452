package engine

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/containerd/errdefs"

	"weft/engine/control"
	"weft/engine/gossip"
	"weft/engine/localnet"
	"weft/engine/model"
	"weft/engine/overlay"
)

// gossipPort is Docker's port of the gossip layer, 7946/tcp and udp.
const gossipPort = 7946

// host answers control.Host: what the swarm's agent asks of this node.
type host struct {
	e *Engine

	mu     sync.Mutex // serializes Joined, Left and SetKeys; guards the following
	member control.Membership
	gossip *gossip.Gossip
}

func (h *host) Describe(context.Context) (control.Description, error) {
	p, err := readPlatform()
	if err != nil {
		return control.Description{}, err
	}
	return control.Description{
		Hostname: h.e.cfg.Hostname, Architecture: p.arch, OS: "linux",
		NanoCPUs: int64(p.cpus) * 1e9, MemoryBytes: p.memory, EngineVersion: h.e.cfg.Version,
	}, nil
}

// CheckMembership answers control.Checker: it refuses a membership this node
// could not fill before anything is made of it.
func (h *host) CheckMembership(ctx context.Context, m control.Membership) error {
	if err := gossip.CheckPort(netip.AddrPortFrom(m.ListenAddr.Addr(), gossipPort)); err != nil {
		return err
	}
	// A worker learns the data path port from its manager; until then the
	// driver takes the usual one.
	d, err := overlay.New(ctx, overlay.Config{Dir: h.e.namespaceDir(), VTEP: m.DataPathAddr, Port: m.DataPathPort, Log: h.e.cfg.Log})
	if err != nil {
		return err
	}
	return d.Close()
}

// Joined gives the networks their kernel driver and takes back what an earlier
// engine left. After a restart of the swarm node alone there is nothing to do.
func (h *host) Joined(ctx context.Context, m control.Membership) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m == h.member {
		return nil
	}
	if err := h.leave(ctx); err != nil {
		return err
	}
	d, err := overlay.New(ctx, overlay.Config{
		Dir: h.e.namespaceDir(), VTEP: m.DataPathAddr, Port: m.DataPathPort, Log: h.e.cfg.Log,
	})
	if err != nil {
		return err
	}
	h.e.networks.attach(d, m.DataPathAddr)
	h.member = m
	h.e.openGateway(ctx)
	running, err := h.e.runningEndpoints(ctx)
	if err != nil {
		return err
	}
	if err := h.e.networks.adopt(ctx, append(running, h.e.ingress.running()...)); err != nil {
		h.e.cfg.Log.ErrorContext(ctx, "networks of an earlier run not adopted", "err", err)
	}
	return errors.Join(h.e.workload.Settle(ctx), h.e.resumeAttachments(ctx, anyNetwork))
}

// SetKeys starts the gossip with the first keys and rotates with the others.
func (h *host) SetKeys(ctx context.Context, keys []model.GossipKey) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gossip != nil {
		return h.gossip.SetKeys(ctx, keys)
	}
	g, err := gossip.Start(ctx, gossip.Config{
		Hostname: h.e.cfg.Hostname, BindAddr: h.member.ListenAddr.Addr(), AdvertiseAddr: h.member.AdvertiseAddr,
		Port: gossipPort, Keys: keys, Seeds: h.e.control.Managers, Store: h.e.store, Log: h.e.cfg.Log, Now: h.e.cfg.Now,
	})
	if err != nil {
		return err
	}
	h.gossip = g
	return h.e.networks.setGossip(ctx, g)
}

// SetIngress joins the swarm's ingress network, or leaves the one that is gone.
func (h *host) SetIngress(ctx context.Context, a *model.Attachment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.e.ingress.set(ctx, a)
}

// Left ends every overlay: containers of tasks go, standalone ones lose their
// attachments.
func (h *host) Left(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leave(ctx)
}

// leave does Left's work with h.mu held.
func (h *host) leave(ctx context.Context) error {
	if !h.member.AdvertiseAddr.IsValid() {
		return nil
	}
	err := errors.Join(
		h.e.workload.RemoveTasks(ctx, nil),
		h.e.workload.DisconnectAll(ctx, h.e.swarms),
		h.e.attachments.ReleaseAll(ctx, false, h.e.swarms),
		h.e.networks.detach(ctx),
		h.e.ingress.remove(),
	)
	h.gossip, h.member = nil, control.Membership{}
	return err
}

// stop ends the overlays of a node that stays a member.
func (h *host) stop(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gossip, h.member = nil, control.Membership{}
	return errors.Join(h.e.networks.detach(ctx), h.e.ingress.remove())
}

// PrepareTask gives a task without networks the default bridge, as Docker does.
func (h *host) PrepareTask(ctx context.Context, t model.Task) error {
	for i := range t.Attachments {
		t.Attachments[i].Network = h.e.networks.mesh(t.Attachments[i].Network)
	}
	if len(t.Attachments) == 0 && h.e.bridges != nil {
		t.Spec.Networks = []model.NetworkRequest{{Network: localnet.Bridge}}
	}
	return h.e.workload.PrepareTask(ctx, t)
}

func (h *host) StartTask(ctx context.Context, taskID string) error {
	return h.e.workload.StartTask(ctx, taskID)
}

func (h *host) WaitTask(ctx context.Context, taskID string) (model.ExitStatus, error) {
	return h.e.workload.WaitTask(ctx, taskID)
}

func (h *host) ShutdownTask(ctx context.Context, taskID string) error {
	return ignoreNotFound(h.e.workload.ShutdownTask(ctx, taskID))
}

func (h *host) TerminateTask(ctx context.Context, taskID string) error {
	return ignoreNotFound(h.e.workload.TerminateTask(ctx, taskID))
}

// RemoveTask goes on when the agent that asked for it ends: it then asks for
// every task's removal and does not wait.
func (h *host) RemoveTask(ctx context.Context, taskID string) error {
	return h.e.workload.RemoveTask(context.WithoutCancel(ctx), taskID)
}

func (h *host) TaskStatus(_ context.Context, taskID string) (control.TaskStatus, bool) {
	c, ok := h.e.workload.Task(taskID)
	if !ok {
		return control.TaskStatus{}, false
	}
	s := control.TaskStatus{ContainerID: c.ID, Pid: c.Pid, ExitCode: c.ExitCode, Running: c.State == model.StateRunning}
	for _, ep := range c.AllEndpoints() {
		s.Ports = append(s.Ports, ep.Ports...)
	}
	return s, true
}

// KeepTasks removes the containers of tasks the swarm took away while this
// node was not looking, and the attachments of containers it forgot.
func (h *host) KeepTasks(ctx context.Context, taskIDs, _ []string) {
	keep := map[string]bool{}
	for _, id := range taskIDs {
		keep[id] = true
	}
	if err := h.e.workload.RemoveTasks(ctx, keep); err != nil {
		h.e.cfg.Log.ErrorContext(ctx, "containers of dropped tasks not removed", "err", err)
	}
	running, err := h.e.runningEndpoints(ctx)
	if err != nil {
		h.e.cfg.Log.ErrorContext(ctx, "attachments not compared", "err", err)
		return
	}
	used := map[[2]string]bool{}
	for _, ep := range running {
		used[[2]string{ep.ContainerID, ep.NetworkID}] = true
	}
	for _, a := range h.e.control.Attachments() {
		network := a.Attachment.Network.ID
		if used[[2]string{a.ContainerID, network}] {
			continue
		}
		if err := h.e.control.Detach(ctx, a.ContainerID, network); err != nil {
			h.e.cfg.Log.WarnContext(ctx, "address not released", "container_id", a.ContainerID, "network_id", network, "err", err)
		}
	}
}

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// namespaceDir is where the namespaces of sandboxes and overlays are bound.
func (e *Engine) namespaceDir() string { return filepath.Join(e.cfg.RunDir, "netns") }

// runningEndpoints gives the endpoints of the containers that run and of the
// attachments that are held.
func (e *Engine) runningEndpoints(ctx context.Context) ([]model.Endpoint, error) {
	all, err := e.workload.Containers(ctx)
	if err != nil {
		return nil, err
	}
	eps := e.attachments.Endpoints()
	for _, c := range all {
		if c.State == model.StateRunning {
			eps = append(eps, c.AllEndpoints()...)
		}
	}
	return eps, nil
}
