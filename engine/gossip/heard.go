package gossip

import (
	"bytes"
	"context"
	"encoding/hex"
	"net/netip"
	"slices"
)

// maxHeard bounds how many endpoints a row names: a node that drains more at a
// time is not waited for longer than it says itself.
const maxHeard = maxRowBytes / (maxKeyBytes + 1)

// heardKey is where a node's row of heardTable is.
func heardKey(node netip.Addr) string { return "node-" + hex.EncodeToString(node.AsSlice()) }

// Heard tells the peers which endpoints on a network, of those that are
// draining, get nothing new from this node any more.
func (g *Gossip) Heard(_ context.Context, networkID string, endpointIDs []string) error {
	ids := slices.Sorted(slices.Values(endpointIDs))
	value := []byte("\n") // what begins like this is never empty
	for _, id := range ids[:min(len(ids), maxHeard)] {
		value = append(append(value, id...), '\n')
	}
	return g.tell(networkID, heardKey(g.cfg.AdvertiseAddr), row{Table: heardTable, Value: value})
}

// tell publishes a row of this node's own.
func (g *Gossip) tell(networkID, key string, r row) error {
	n, err := g.network(networkID)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if have, ok := n.own[key]; ok && bytes.Equal(have.Value, r.Value) {
		return nil
	}
	n.own[key] = r
	delete(n.gone, key)
	delete(n.inherited, key)
	n.touch(key)
	return nil
}

// Unheard gives the nodes on a network that may still send something new to
// any of the endpoints: those that have not said otherwise, as nodes of
// Docker's never do.
func (g *Gossip) Unheard(networkID string, endpointIDs []string) []Member {
	s := g.current()
	if s == nil {
		return nil
	}
	var out []Member
	for _, m := range s.members(s.db.Peers(networkID)) {
		value, err := s.db.GetEntry(heardTable, networkID, heardKey(m.Addr))
		if err != nil {
			out = append(out, m)
			continue
		}
		said := bytes.Split(value, []byte("\n"))
		for _, id := range endpointIDs {
			if !slices.ContainsFunc(said, func(b []byte) bool { return string(b) == id }) {
				out = append(out, m)
				break
			}
		}
	}
	return out
}
