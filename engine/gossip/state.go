package gossip

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"

	"weft/engine/fault"
)

// stateKey is where the state is in the Store.
const stateKey = "gossip"

// savedPeers is how many peers are remembered: enough to find the others.
const savedPeers = 32

// state is what has to survive an engine that does not end cleanly.
type state struct {
	ID    string                    `json:"id,omitempty"` // empty after a clean leave
	Addr  netip.Addr                `json:"addr"`         // where that ID was
	Port  int                       `json:"port"`
	Peers []netip.Addr              `json:"peers,omitempty"` // last ones heard, sorted
	Rows  map[string]map[string]row `json:"rows,omitempty"`  // network ID -> endpoint ID -> what peers know of it
}

func loadState(s Store) (state, error) {
	var st state
	raw, err := s.Load(stateKey)
	if err != nil || raw == nil {
		return st, err
	}
	if err := json.Unmarshal(raw, &st); err != nil {
		return st, fault.Internal("read saved gossip state: %w", err)
	}
	return st, nil
}

// save changes the state and writes it when it became another one.
func (g *Gossip) save(change func(*state)) error {
	g.stateMu.Lock()
	defer g.stateMu.Unlock()
	change(&g.state)
	raw, err := json.Marshal(g.state)
	if err != nil {
		return fault.Internal("encode gossip state: %w", err)
	}
	if string(raw) == string(g.saved) {
		return nil
	}
	if err := g.cfg.Store.Save(stateKey, raw); err != nil {
		return err
	}
	g.saved = raw
	return nil
}

// remember saves what the peers are about to learn of a network; nil when they
// are to forget it.
func (g *Gossip) remember(networkID string, rows map[string]row) {
	err := g.save(func(st *state) {
		if len(rows) == 0 {
			delete(st.Rows, networkID)
			return
		}
		if st.Rows == nil {
			st.Rows = map[string]map[string]row{}
		}
		st.Rows[networkID] = maps.Clone(rows)
	})
	if err != nil {
		g.cfg.Log.Error("gossip rows not remembered, a crash would leave them with the peers", "network_id", networkID, "err", err)
	}
}

// rememberPeers saves the addresses of the peers that are there, unless there
// are none: then the last ones are worth more.
func (g *Gossip) rememberPeers(addrs []netip.Addr) {
	if len(addrs) == 0 {
		return
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	if len(addrs) > savedPeers {
		addrs = addrs[:savedPeers]
	}
	if err := g.save(func(st *state) { st.Peers = addrs }); err != nil {
		g.cfg.Log.Error("gossip peers not remembered", "err", err)
	}
}
