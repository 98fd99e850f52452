package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
	"weft/engine/gossip"
	"weft/engine/model"
	"weft/engine/overlay"
)

// networks connects the two halves of an overlay network on this node: what
// the kernel carries (overlay) and what the other nodes know (gossip). A
// network is present from its first endpoint here to its last.
//
// The gossip starts later than the overlay (its keys come from the swarm), and
// may be replaced; endpoints joined meanwhile are published when it comes.
type networks struct {
	log       *slog.Logger
	table     networkTable
	directory *directory // gets the records
	publisher *publisher // and those of the ingress network

	mu     sync.Mutex // guards the following
	driver *overlay.Driver
	gossip *gossip.Gossip
	vtep   netip.Addr
	active map[string]*activeNetwork
}

// networkTable remembers which networks are present, for a restart.
type networkTable interface {
	Put(id string, n model.Network) error
	Delete(id string) error
	List() (map[string]model.Network, error)
}

type activeNetwork struct {
	mu        sync.Mutex // serializes joins and leaves; guards the following
	nw        model.Network
	up        bool // ensured in the kernel and remembered
	gossiped  bool
	endpoints map[string]model.Endpoint

	// addrs are those of the endpoints, for who must not wait for mu: leaving a
	// network waits for its records' handler.
	addrs atomic.Pointer[map[netip.Addr]bool]
}

// noteAddrs follows a change of the endpoints. a.mu is held.
func (a *activeNetwork) noteAddrs() {
	addrs := make(map[netip.Addr]bool, len(a.endpoints))
	for _, ep := range a.endpoints {
		addrs[ep.Addr.Addr()] = true
	}
	a.addrs.Store(&addrs)
}

func newNetworks(log *slog.Logger, table networkTable, d *directory) *networks {
	return &networks{log: log, table: table, directory: d, active: map[string]*activeNetwork{}}
}

// attach gives the networks a kernel driver: the node is part of a swarm.
func (n *networks) attach(d *overlay.Driver, vtep netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.driver, n.vtep = d, vtep
}

func (n *networks) parts() (*overlay.Driver, *gossip.Gossip, netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.driver, n.gossip, n.vtep
}

// namespace gives the path of the namespace a network is in while it is present
// here; empty outside of a swarm.
func (n *networks) namespace(networkID string) string {
	d, _, _ := n.parts()
	if d == nil {
		return ""
	}
	return d.Namespace(networkID)
}

func (n *networks) get(nw model.Network) *activeNetwork {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.active[nw.ID]
	if a == nil {
		a = &activeNetwork{nw: nw, endpoints: map[string]model.Endpoint{}}
		n.active[nw.ID] = a
	}
	return a
}

// known gives a network that is or was present.
func (n *networks) known(id string) (model.Network, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.active[id]; a != nil {
		return a.nw, true
	}
	all, err := n.table.List() // what an earlier engine had, before it is adopted
	nw, ok := all[id]
	return nw, ok && err == nil
}

// join makes the network present, plugs ep in and announces it.
func (n *networks) join(ctx context.Context, nw model.Network, ep model.Endpoint) (model.Endpoint, error) {
	d, g, vtep := n.parts()
	if d == nil {
		return ep, fault.Unavailable("network %s needs this node to be part of a swarm", nw.Name)
	}
	a := n.get(nw)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := n.bringUp(ctx, a, d, g); err != nil {
		return ep, errors.Join(err, n.takeDownIfIdle(context.WithoutCancel(ctx), a))
	}
	full, err := d.Join(ctx, ep)
	if err != nil {
		return ep, errors.Join(err, n.takeDownIfIdle(context.WithoutCancel(ctx), a))
	}
	if full.Mesh != nil {
		own := *full.Mesh
		own.IPv6 = full.AddrV6.IsValid()
		full.Mesh = &own
		noteListeners(&full, listening(full)) // of a task that is adopted
	}
	a.endpoints[full.ID] = full
	a.noteAddrs()
	if g != nil {
		if err := g.Publish(ctx, nw.ID, full, vtep); err != nil {
			return full, errors.Join(err, n.unplug(context.WithoutCancel(ctx), a, full.ID))
		}
	}
	return full, nil
}

// bringUp makes a's network present in the kernel and the gossip. a.mu is held.
func (n *networks) bringUp(ctx context.Context, a *activeNetwork, d *overlay.Driver, g *gossip.Gossip) error {
	if !a.up {
		// Remembered first: a crash in between leaves a name to sweep.
		if err := n.table.Put(a.nw.ID, a.nw); err != nil {
			return err
		}
		if err := d.Ensure(ctx, a.nw); err != nil {
			return errors.Join(err, n.table.Delete(a.nw.ID))
		}
		a.up = true
	}
	if g != nil && !a.gossiped {
		if err := g.JoinNetwork(ctx, a.nw.ID, n.handler()); err != nil {
			return err
		}
		a.gossiped = true
		return g.Heard(ctx, a.nw.ID, nil)
	}
	return nil
}

// handler feeds what the gossip says into the kernel.
func (n *networks) handler() gossip.Handler {
	return gossip.Handler{Records: n.heed, Asked: n.publisher.asked, Peers: func(networkID string, changes []model.PeerChange, full bool) {
		d, _, _ := n.parts()
		if d == nil {
			return
		}
		var err error
		if full {
			peers := make([]model.Peer, 0, len(changes))
			for _, c := range changes {
				if !c.Delete {
					peers = append(peers, c.Peer)
				}
			}
			err = d.SetPeers(context.Background(), networkID, peers)
		} else {
			err = d.ApplyPeers(context.Background(), networkID, changes)
		}
		if err != nil {
			n.log.Error("peers not programmed", "network_id", networkID, "err", err)
		}
	}}
}

// heed passes on what the gossip says of names.
func (n *networks) heed(networkID string, changes []gossip.RecordChange, full bool) {
	n.directory.apply(networkID, changes, full)
	if nw, ok := n.known(networkID); ok && nw.Ingress {
		n.publisher.apply(networkID, changes, full)
	}
}

// heard tells the others which endpoints, of those that are draining, get
// nothing new from this node any more.
func (n *networks) heard(networkID string, endpointIDs []string) {
	_, g, _ := n.parts()
	if g == nil {
		return
	}
	if err := g.Heard(context.Background(), networkID, endpointIDs); err != nil && !errdefs.IsNotFound(err) {
		n.log.Warn("the others not told what drains here", "network_id", networkID, "err", err)
	}
}

// report tells the others how this node fares with the published ports.
func (n *networks) report(networkID string, r model.MeshReport) {
	_, g, _ := n.parts()
	if g == nil {
		return
	}
	if err := g.Report(context.Background(), networkID, r); err != nil && !errdefs.IsNotFound(err) {
		n.log.Warn("the others not told of the published ports here", "network_id", networkID, "err", err)
	}
}

// ask has the other nodes on a network report anew.
func (n *networks) ask(networkID, question string) error {
	_, g, _ := n.parts()
	if g == nil {
		return nil
	}
	return g.Ask(context.Background(), networkID, question)
}

// nodes gives the nodes on a network, with what they report of the published
// ports.
func (n *networks) nodes(networkID string) []model.MeshNode {
	_, g, _ := n.parts()
	if g == nil {
		return nil
	}
	told := g.Reports(networkID)
	var out []model.MeshNode
	for _, m := range g.NetworkPeers(networkID) {
		node := model.MeshNode{Addr: m.Addr, Self: m.Self}
		if r, ok := told[m.Addr]; ok {
			node.Report = &r
		}
		out = append(out, node)
	}
	return out
}

// spared is heard by the virtual IPs, which say nothing of the ingress network.
func (n *networks) spared(networkID string, endpointIDs []string) {
	if nw, ok := n.known(networkID); ok && !nw.Ingress {
		n.heard(networkID, endpointIDs)
	}
}

// drainTime is how long a leaving endpoint waits at most for every node to
// send it nothing new. Docker always waits so long.
const (
	drainTime = 2 * time.Second
	drainPoll = 5 * time.Millisecond
	// settleTime is for what was on its way: a connection the kernel has made
	// and the task has not accepted yet would be reset.
	settleTime = 250 * time.Millisecond
)

// drain waits until no node sends the endpoints anything new.
func (n *networks) drain(ctx context.Context, endpoints []model.Endpoint) {
	_, g, _ := n.parts()
	if g == nil || len(endpoints) == 0 {
		return
	}
	if !n.awaitSpared(ctx, g, endpoints) {
		return
	}
	settled := time.NewTimer(settleTime)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-ctx.Done():
	}
}

// awaitSpared gives false when the time is over.
func (n *networks) awaitSpared(ctx context.Context, g *gossip.Gossip, endpoints []model.Endpoint) bool {
	var ep model.Endpoint
	var late []gossip.Member
	spared := poll(ctx, drainPoll, drainTime, func() bool {
		for _, ep = range endpoints {
			if late = g.Unheard(ep.NetworkID, []string{ep.ID}); len(late) > 0 {
				return false
			}
		}
		return true
	})
	if !spared && ctx.Err() == nil {
		n.log.InfoContext(ctx, "not every node says that it sends nothing new to a leaving task", "endpoint_id", ep.ID, "network_id", ep.NetworkID, "first", late[0].Addr, "nodes", len(late))
	}
	return spared
}

// poll looks every so often whether something is done. It gives false when the
// time is over, or ctx.
func poll(ctx context.Context, every, limit time.Duration, done func() bool) bool {
	over := time.NewTimer(limit)
	defer over.Stop()
	again := time.NewTicker(every)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-over.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// addresses gives those of this node's endpoints on a network, not to be
// changed.
func (n *networks) addresses(networkID string) map[netip.Addr]bool {
	n.mu.Lock()
	a := n.active[networkID]
	n.mu.Unlock()
	if a == nil {
		return nil
	}
	if addrs := a.addrs.Load(); addrs != nil {
		return *addrs
	}
	return nil
}

// setReadiness tells the others of an endpoint that is present.
func (n *networks) setReadiness(ctx context.Context, ep model.Endpoint) error {
	return n.change(ctx, ep, func(have *model.Endpoint) bool {
		if have.Readiness == model.Draining && ep.Readiness == "" { // it was too slow to get ready
			return false
		}
		have.Readiness = ep.Readiness
		if ep.Readiness == "" {
			noteListeners(have, listening(*have))
		}
		return true
	})
}

// lead leads frames between the host's leg in a network and tasks.
func (n *networks) lead(networkID, port string, node netip.Prefix) error {
	d, _, _ := n.parts()
	if d == nil {
		return fault.Unavailable("network %s needs this node to be part of a swarm", networkID)
	}
	return d.Lead(networkID, port, node)
}

// reviewListeners tells the others where tasks listen by now: all, or those with
// ports that are pending.
func (n *networks) reviewListeners(ctx context.Context, all bool) error {
	n.mu.Lock()
	active := slices.Collect(maps.Values(n.active))
	n.mu.Unlock()
	var errs []error
	for _, a := range active {
		for _, ep := range a.published() {
			if !all && !pending(ep) {
				continue
			}
			have := listening(ep)
			errs = append(errs, n.change(ctx, ep, func(ep *model.Endpoint) bool { return noteListeners(ep, have) }))
		}
	}
	return errors.Join(errs...)
}

// published gives the endpoints of tasks with published ports that are ready.
func (a *activeNetwork) published() []model.Endpoint {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []model.Endpoint
	for _, ep := range a.endpoints {
		if ep.Mesh != nil && len(ep.Ingress) > 0 && ep.Readiness == "" {
			out = append(out, ep)
		}
	}
	return out
}

// rename tells the others the name of an endpoint that is present.
func (n *networks) rename(ctx context.Context, ep model.Endpoint) error {
	return n.change(ctx, ep, func(have *model.Endpoint) bool {
		changed := have.Name != ep.Name
		have.Name = ep.Name
		return changed
	})
}

// change changes what is known of an endpoint that is present, and tells the
// others if there is a change.
func (n *networks) change(ctx context.Context, ep model.Endpoint, set func(have *model.Endpoint) bool) error {
	n.mu.Lock()
	a := n.active[ep.NetworkID]
	n.mu.Unlock()
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	have, ok := a.endpoints[ep.ID]
	if !ok || !set(&have) {
		return nil
	}
	a.endpoints[ep.ID] = have
	_, g, vtep := n.parts()
	if g == nil || !a.gossiped {
		return nil
	}
	return g.Publish(ctx, ep.NetworkID, have, vtep)
}

// leave withdraws and unplugs ep, and the network with its last endpoint.
func (n *networks) leave(ctx context.Context, ep model.Endpoint) error {
	n.mu.Lock()
	a := n.active[ep.NetworkID]
	n.mu.Unlock()
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return n.unplug(ctx, a, ep.ID)
}

// unplug does leave's work with a.mu held.
func (n *networks) unplug(ctx context.Context, a *activeNetwork, endpointID string) error {
	d, g, _ := n.parts()
	var errs []error
	if g != nil && a.gossiped {
		errs = append(errs, g.Unpublish(ctx, a.nw.ID, endpointID))
	}
	if d != nil {
		errs = append(errs, d.Leave(ctx, a.nw.ID, endpointID))
	}
	delete(a.endpoints, endpointID)
	a.noteAddrs()
	errs = append(errs, n.takeDownIfIdle(ctx, a))
	return errors.Join(errs...)
}

// takeDownIfIdle removes a network without endpoints. a.mu is held.
func (n *networks) takeDownIfIdle(ctx context.Context, a *activeNetwork) error {
	if len(a.endpoints) > 0 || !a.up {
		return nil
	}
	d, g, _ := n.parts()
	if g != nil && a.gossiped {
		if err := g.LeaveNetwork(ctx, a.nw.ID); err != nil {
			return err
		}
		a.gossiped = false
	}
	n.directory.drop(a.nw.ID)
	if d != nil {
		if err := d.Remove(ctx, a.nw.ID); err != nil {
			return err
		}
	}
	a.up = false
	return n.table.Delete(a.nw.ID)
}

// setGossip publishes everything present through g; nil ends the gossip.
func (n *networks) setGossip(ctx context.Context, g *gossip.Gossip) error {
	n.mu.Lock()
	n.gossip = g
	all := make([]*activeNetwork, 0, len(n.active))
	for _, a := range n.active {
		all = append(all, a)
	}
	vtep := n.vtep
	n.mu.Unlock()
	var errs []error
	for _, a := range all {
		errs = append(errs, n.announce(ctx, a, g, vtep))
	}
	return errors.Join(errs...)
}

func (n *networks) announce(ctx context.Context, a *activeNetwork, g *gossip.Gossip, vtep netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gossiped = false
	if g == nil || !a.up {
		return nil
	}
	d, _, _ := n.parts()
	if err := n.bringUp(ctx, a, d, g); err != nil {
		return err
	}
	var errs []error
	for _, ep := range a.endpoints {
		errs = append(errs, g.Publish(ctx, a.nw.ID, ep, vtep))
	}
	return errors.Join(errs...)
}

// adopt takes back what an earlier engine left: the networks it remembered,
// with the endpoints of containers that still run. Everything else of ours in
// the kernel is swept.
func (n *networks) adopt(ctx context.Context, endpoints []model.Endpoint) error {
	d, _, _ := n.parts()
	known, err := n.table.List()
	if err != nil {
		return err
	}
	keepNets, keepEps := map[string]bool{}, map[string]bool{}
	for _, ep := range endpoints {
		if _, ok := known[ep.NetworkID]; ok {
			keepNets[ep.NetworkID], keepEps[ep.ID] = true, true
		}
	}
	if err := d.Sweep(ctx, keepNets, keepEps); err != nil {
		return err
	}
	var errs []error
	for _, ep := range endpoints {
		if nw, ok := known[ep.NetworkID]; ok {
			_, err := n.join(ctx, nw, ep)
			errs = append(errs, err)
		}
	}
	for id := range known {
		if !keepNets[id] {
			errs = append(errs, n.table.Delete(id))
		}
	}
	return errors.Join(errs...)
}

// remembered gives the networks an earlier engine had present.
func (n *networks) remembered() (map[string]model.Network, error) { return n.table.List() }

// records gives who answers to which name on a network, cluster-wide.
func (n *networks) records(networkID string) []model.Record {
	_, g, _ := n.parts()
	if g == nil {
		return nil
	}
	return g.Records(networkID)
}

// vteps gives the VTEP of every endpoint on a network, cluster-wide, by its ID.
func (n *networks) vteps(networkID string) map[string]netip.Addr {
	_, g, _ := n.parts()
	if g == nil {
		return nil
	}
	return g.VTEPs(networkID)
}

// members gives the nodes that have endpoints on a network.
func (n *networks) members(networkID string) []gossip.Member {
	_, g, _ := n.parts()
	if g == nil {
		return nil
	}
	return g.NetworkPeers(networkID)
}

// detach ends the overlays: the node has left the swarm, or the engine stops.
func (n *networks) detach(ctx context.Context) error {
	n.mu.Lock()
	d, g := n.driver, n.gossip
	n.driver, n.gossip = nil, nil
	left := n.active
	n.active = map[string]*activeNetwork{}
	n.mu.Unlock()
	var errs []error
	if g != nil {
		errs = append(errs, g.Close(ctx))
	}
	for id := range left {
		n.directory.drop(id)
	}
	if d != nil {
		errs = append(errs, d.Sweep(ctx, nil, nil), d.Close())
	}
	known, err := n.table.List()
	errs = append(errs, err)
	for id := range known {
		errs = append(errs, n.table.Delete(id))
	}
	return errors.Join(errs...)
}
