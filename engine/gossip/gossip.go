package gossip

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/docker/docker/libnetwork/networkdb"

	"weft/engine/fault"
	"weft/engine/model"
)

// Handler receives what the other nodes tell about a network. Its functions
// are called by one goroutine per network, in order; changes that come while
// one runs wait and arrive together. When full is set, changes holds the whole
// table without deletions and replaces everything told before: so does the
// first call, or a later one where the peers are slow, and one after each
// healing of the gossip. Otherwise deletions come first. Each function may be
// nil. They must not call JoinNetwork, LeaveNetwork or Close.
type Handler struct {
	// Peers gets the endpoints of the other nodes.
	Peers func(networkID string, changes []model.PeerChange, full bool)
	// Records gets the names of all endpoints, this node's own included.
	Records func(networkID string, changes []RecordChange, full bool)
	// Asked gets what the other nodes have asked last, when one has.
	Asked func(networkID string, asks map[netip.Addr]string)
}

// RecordChange is one event of the endpoint table.
type RecordChange struct {
	Record model.Record
	Delete bool
}

// Member is a node that takes part in the gossip.
type Member struct {
	ID   string // of its present session; not the swarm's node ID
	Addr netip.Addr
	Self bool
}

// Stats counts what an operator may want to look at.
type Stats struct {
	BadRows uint64 // rows of other nodes that were not used
	Heals   uint64 // sessions that had to be replaced
}

// Gossip is this node's part in the gossip. It is safe for concurrent use.
type Gossip struct {
	cfg   Config
	end   context.CancelFunc
	left  chan struct{}  // closed when the peers have been left
	err   error          // of that; read after left
	done  chan struct{}  // closed when everything has ended
	joins sync.WaitGroup // calls of networkdb that may hang for half a minute

	badRows, heals atomic.Uint64

	netMu sync.Mutex // serializes JoinNetwork and LeaveNetwork

	mu        sync.Mutex // guards the following
	session   *session   // nil between two sessions and after the end
	keys      [][]byte   // primary first
	networks  map[string]*network
	inherited map[string]map[string]row // of networks the previous run had and this one has not joined yet

	stateMu sync.Mutex // guards the following
	state   state
	saved   []byte // as last written
}

// Start binds the gossip port and returns; the peers are looked for in the
// background for as long as it takes. ctx covers the start only: the gossip
// ends with Close. It fails with a Conflict when the port is taken, and with
// Invalid for keys or addresses that cannot be used.
func Start(ctx context.Context, cfg Config) (*Gossip, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	keys, err := ring(cfg.Keys)
	if err != nil {
		return nil, err
	}
	if err := CheckPort(cfg.bindPort()); err != nil {
		return nil, err
	}
	st, err := loadState(cfg.Store)
	if err != nil {
		return nil, err
	}
	g := &Gossip{cfg: cfg, left: make(chan struct{}), done: make(chan struct{}), keys: keys, networks: map[string]*network{}, state: st}
	id, err := g.identify()
	if err != nil {
		return nil, err
	}
	s, err := g.open(id)
	if err != nil {
		return nil, err
	}
	run, end := context.WithCancel(context.WithoutCancel(ctx))
	g.end = end
	g.adopt(run, s)
	go g.run(run, s)
	cfg.Log.InfoContext(ctx, "gossip started", "gossip_id", id, "advertise_addr", cfg.AdvertiseAddr, "inherited_networks", len(g.inherited))
	return g, nil
}

// identify gives the node ID to appear under: that of a previous run which did
// not leave, if the peers would find it where it was, else a new one.
func (g *Gossip) identify() (string, error) {
	if g.state.ID != "" && g.state.Addr == g.cfg.AdvertiseAddr && g.state.Port == g.cfg.Port {
		g.inherited = make(map[string]map[string]row, len(g.state.Rows))
		for networkID, rows := range g.state.Rows {
			g.inherited[networkID] = maps.Clone(rows)
		}
		return g.state.ID, nil
	}
	id := newID()
	return id, g.renew(id)
}

// renew saves that this node appears under id from now on.
func (g *Gossip) renew(id string) error {
	err := g.save(func(st *state) {
		*st = state{ID: id, Addr: g.cfg.AdvertiseAddr, Port: g.cfg.Port, Peers: st.Peers}
	})
	if err != nil {
		return fmt.Errorf("remember gossip ID: %w", err)
	}
	return nil
}

// open makes a session. Its supervision starts with adopt and run.
func (g *Gossip) open(id string) (*session, error) {
	g.mu.Lock()
	keys := slices.Clone(g.keys)
	g.mu.Unlock()
	for i := range keys {
		keys[i] = bytes.Clone(keys[i])
	}
	db, err := g.listen(id, keys)
	if err != nil {
		return nil, err
	}
	return &session{
		g: g, id: id, db: db, keys: keys, joined: make(chan struct{}),
		turn: make(chan struct{}, 1), meet: make(chan meeting, 1),
	}, nil
}

// listen starts a networkdb. When it can't listen it says so in text only, so
// CheckPort tells why. A port that is free by then was on its way to be: a
// socket lives on after its Close while anybody looks at it (ss -p does).
func (g *Gossip) listen(id string, keys [][]byte) (*networkdb.NetworkDB, error) {
	db, err := networkdb.New(g.cfg.networkDB(id, keys))
	if err == nil {
		return db, nil
	}
	if err := CheckPort(g.cfg.bindPort()); err != nil {
		return nil, err
	}
	if db, err = networkdb.New(g.cfg.networkDB(id, keys)); err != nil {
		return nil, fault.Unavailable("start gossip on port %d: %w", g.cfg.Port, err)
	}
	return db, nil
}

// adopt makes s the present session and starts the feeds of all networks.
func (g *Gossip) adopt(ctx context.Context, s *session) {
	s.ctx, s.cancel = context.WithCancel(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	turn(s.db, s.keys, g.keys) // they may have changed since open
	g.session = s
	for _, n := range g.networks {
		s.feed(n)
	}
}

// run supervises the sessions until ctx ends.
func (g *Gossip) run(ctx context.Context, s *session) {
	defer close(g.done)
	for {
		trapped := s.run()
		g.mu.Lock()
		g.session = nil
		g.mu.Unlock()
		s.cancel()
		s.wg.Wait()
		if !trapped || ctx.Err() != nil {
			break
		}
		next := g.heal(ctx, s)
		if next == nil {
			s = nil
			break
		}
		s = next
	}
	if s != nil {
		s.db.Close()
	}
	g.err = g.save(func(st *state) { *st = state{Peers: st.Peers} })
	close(g.left)
	g.joins.Wait()
}

// Close leaves the gossip: the peers forget our rows at once. It takes about a
// second, and some more when none of them answers; when ctx ends before, it
// goes on in the background, as do synchronizations a peer does not answer,
// for half a minute. A second call waits like the first.
func (g *Gossip) Close(ctx context.Context) error {
	g.end()
	select {
	case <-g.left:
	case <-ctx.Done():
		return fmt.Errorf("leave gossip: %w", ctx.Err())
	}
	if g.err != nil {
		return fmt.Errorf("leave gossip: %w", g.err)
	}
	return nil
}

// Members gives the nodes that are heard, this one included.
func (g *Gossip) Members() []Member {
	s := g.current()
	if s == nil {
		return nil
	}
	return s.members(s.db.ClusterPeers())
}

// NetworkPeers gives the nodes that have joined a network, this one included.
func (g *Gossip) NetworkPeers(networkID string) []Member {
	s := g.current()
	if s == nil {
		return nil
	}
	return s.members(s.db.Peers(networkID))
}

// Records gives who answers to which name on a network this node has joined,
// in the order of the endpoint IDs.
func (g *Gossip) Records(networkID string) []model.Record {
	g.mu.Lock()
	n := g.networks[networkID]
	g.mu.Unlock()
	if n == nil {
		return nil
	}
	return n.listRecords()
}

// VTEPs gives, by endpoint ID, the VTEP of every endpoint on a network this node
// has joined, this node's own included.
func (g *Gossip) VTEPs(networkID string) map[string]netip.Addr {
	s := g.current()
	if s == nil {
		return nil
	}
	vteps := map[string]netip.Addr{}
	for _, key := range s.keysOf(peerTable, networkID) {
		value, err := s.db.GetEntry(peerTable, networkID, key)
		if err != nil {
			continue // not there any more
		}
		if p, err := decodePeer(key, value); err == nil { // the feed counts bad rows
			vteps[key] = p.VTEP
		}
	}
	return vteps
}

// Healthy reports whether the peers that should be there can be heard and take
// us for present.
func (g *Gossip) Healthy() bool {
	s := g.current()
	return s != nil && s.listed() && !(s.wanted.Load() && s.alone())
}

// Stats gives the counters since Start.
func (g *Gossip) Stats() Stats {
	return Stats{BadRows: g.badRows.Load(), Heals: g.heals.Load()}
}

func (g *Gossip) current() *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.session
}
