package gossip

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"weft/engine/fault"
	"weft/engine/model"
)

// network is a network this node has joined, over all sessions.
type network struct {
	id      string
	handler Handler
	wake    chan struct{} // has room for one: there is something to write

	cancel context.CancelFunc // of its feed, and
	done   <-chan struct{}    // its end; guarded by Gossip.mu

	mu        sync.Mutex // guards the following
	own       map[string]row
	inherited map[string]row      // of the previous run, not published again yet
	gone      map[string]row      // to be withdrawn
	touched   map[string]struct{} // keys of own and gone to be written
	rejoin    bool                // the network is to be joined once more, and then
	rewrite   bool                // all of own announced once more
	records   map[string]model.Record

	peers map[string]model.Peer // the feed's own
}

// JoinNetwork takes part in the tables of a network. It returns at once: h
// gets both tables as soon as the peers have sent them, and what changes from
// then on. It fails with a Conflict when the network is joined already.
func (g *Gossip) JoinNetwork(_ context.Context, networkID string, h Handler) error {
	if !goodKey(networkID) {
		return fault.Invalid("network ID %q cannot be gossiped", networkID)
	}
	g.netMu.Lock()
	defer g.netMu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.networks[networkID] != nil {
		return fault.Conflict("network %s is gossiped already", networkID)
	}
	n := &network{
		id: networkID, handler: h, wake: make(chan struct{}, 1),
		own: map[string]row{}, inherited: g.inherited[networkID], gone: map[string]row{}, touched: map[string]struct{}{},
		peers: map[string]model.Peer{}, records: map[string]model.Record{},
	}
	delete(g.inherited, networkID)
	g.networks[networkID] = n
	if g.session != nil {
		g.session.feed(n)
	}
	return nil
}

// LeaveNetwork ends the part in a network: the peers forget our rows of it,
// and its handler is not called any more. A network not joined is no error.
func (g *Gossip) LeaveNetwork(_ context.Context, networkID string) error {
	g.netMu.Lock()
	defer g.netMu.Unlock()
	g.mu.Lock()
	n, s := g.networks[networkID], g.session
	delete(g.networks, networkID)
	g.mu.Unlock()
	if n == nil {
		return nil
	}
	if n.cancel != nil {
		n.cancel()
		<-n.done
	}
	if s != nil {
		s.leave(networkID)
	}
	return nil
}

// leave makes the peers forget all our rows of a network. networkdb tells them
// before it finds out that this session never joined it, if so; it fails then,
// and there is nothing else to it.
func (s *session) leave(networkID string) {
	if err := s.db.LeaveNetwork(networkID); err != nil {
		s.g.cfg.Log.Debug("network left that was not joined", "network_id", networkID, "err", err)
	}
	s.g.remember(networkID, nil)
}

// Publish tells the peers where ep is and, if it has a name, who answers to
// it. An endpoint already published is brought up to date. The network must be
// joined; the rows are told again whenever the gossip had to be healed.
func (g *Gossip) Publish(_ context.Context, networkID string, ep model.Endpoint, vtep netip.Addr) error {
	r, err := encode(ep, vtep)
	if err != nil {
		return err
	}
	n, err := g.network(networkID)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.own[ep.ID] = r
	delete(n.gone, ep.ID)
	delete(n.inherited, ep.ID)
	n.touch(ep.ID)
	return nil
}

// Unpublish withdraws the rows of an endpoint. One that is not published is no
// error.
func (g *Gossip) Unpublish(_ context.Context, networkID, endpointID string) error {
	n, err := g.network(networkID)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, rows := range []map[string]row{n.own, n.inherited} {
		if r, ok := rows[endpointID]; ok {
			n.gone[endpointID] = r
			delete(rows, endpointID)
			n.touch(endpointID)
		}
	}
	return nil
}

func (g *Gossip) network(networkID string) (*network, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.networks[networkID]
	if n == nil {
		return nil, fault.NotFound("network %s is not gossiped on this node", networkID)
	}
	return n, nil
}

// announceAgain has every network joined and published once more: we have met
// peers that did not hear us before.
func (g *Gossip) announceAgain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.networks {
		n.mu.Lock()
		n.rejoin, n.rewrite = true, true
		n.touch()
		n.mu.Unlock()
	}
}

// expire withdraws what the previous run had published and this one has not.
func (g *Gossip) expire(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.inherited {
		s.leave(id)
	}
	g.inherited = nil
	for _, n := range g.networks {
		n.mu.Lock()
		for id, r := range n.inherited {
			n.gone[id] = r
			n.touch(id)
		}
		n.inherited = nil
		n.mu.Unlock()
	}
}

// disinherit forgets what the previous run had published.
func (n *network) disinherit() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inherited, n.gone = nil, map[string]row{}
}

// touch has the feed write the rows under keys. n.mu is held.
func (n *network) touch(keys ...string) {
	for _, k := range keys {
		n.touched[k] = struct{}{}
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *network) listRecords() []model.Record {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Values(n.records), func(a, b model.Record) int { return cmp.Compare(a.EndpointID, b.EndpointID) })
}
