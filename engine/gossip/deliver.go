package gossip

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"weft/engine/model"
)

// deliverAll gives both tables to the handler: as a whole that replaces what
// it had, or as additions to it.
func (n *network) deliverAll(s *session, whole bool) {
	peers, records := map[string]model.Peer{}, map[string]model.Record{}
	for _, key := range s.keysOf(peerTable, n.id) {
		if p, ok := n.peer(s, key); ok {
			peers[key] = p
		}
	}
	for _, key := range s.keysOf(recordTable, n.id) {
		if r, ok := n.record(s, key); ok {
			records[key] = r
		}
	}
	n.peers = peers
	n.mu.Lock()
	n.records = maps.Clone(records)
	n.mu.Unlock()
	if n.handler.Peers != nil {
		changes := make([]model.PeerChange, 0, len(peers))
		for _, key := range slices.Sorted(maps.Keys(peers)) {
			changes = append(changes, model.PeerChange{Peer: peers[key]})
		}
		n.handler.Peers(n.id, changes, whole)
	}
	if n.handler.Records != nil {
		changes := make([]RecordChange, 0, len(records))
		for _, key := range slices.Sorted(maps.Keys(records)) {
			changes = append(changes, RecordChange{Record: records[key]})
		}
		n.handler.Records(n.id, changes, whole)
	}
}

// deliver gives the handler what has become of the rows under keys.
func (n *network) deliver(s *session, keys map[string]struct{}) {
	sorted := slices.Sorted(maps.Keys(keys))
	if changes := n.peerChanges(s, sorted); len(changes) > 0 && n.handler.Peers != nil {
		n.handler.Peers(n.id, changes, false)
	}
	if changes := n.recordChanges(s, sorted); len(changes) > 0 && n.handler.Records != nil {
		n.handler.Records(n.id, changes, false)
	}
	asked := slices.ContainsFunc(sorted, func(key string) bool { return strings.HasPrefix(key, askPrefix) })
	if asked && n.handler.Asked != nil {
		n.handler.Asked(n.id, n.asks(s))
	}
}

// peerChanges updates the known peers and gives the difference.
func (n *network) peerChanges(s *session, keys []string) []model.PeerChange {
	var deleted, set []model.PeerChange
	told := map[string]bool{}
	for _, key := range keys {
		is, ok := n.peer(s, key)
		was, known := n.peers[key]
		if ok == known && is == was {
			continue
		}
		if known && (!ok || is.Addr != was.Addr || is.MAC != was.MAC) {
			deleted = append(deleted, model.PeerChange{Peer: was, Delete: true})
		}
		if !ok {
			delete(n.peers, key)
			continue
		}
		n.peers[key] = is
		told[key] = true
		set = append(set, model.PeerChange{Peer: is})
	}
	return slices.Concat(deleted, set, n.survivors(deleted, told))
}

// survivors gives the peers, except those told, that have the address of a
// deleted one: their rows came first, and the deletion may have taken their
// entries with it.
func (n *network) survivors(deleted []model.PeerChange, told map[string]bool) []model.PeerChange {
	if len(deleted) == 0 {
		return nil
	}
	freed := map[netip.Addr]bool{}
	for _, c := range deleted {
		freed[c.Peer.Addr.Addr()] = true
	}
	var again []model.PeerChange
	for _, key := range slices.Sorted(maps.Keys(n.peers)) {
		if p := n.peers[key]; freed[p.Addr.Addr()] && !told[key] {
			again = append(again, model.PeerChange{Peer: p})
		}
	}
	return again
}

// recordChanges updates the known records and gives the difference.
func (n *network) recordChanges(s *session, keys []string) []RecordChange {
	var deleted, set []RecordChange
	for _, key := range keys {
		is, ok := n.record(s, key)
		n.mu.Lock()
		was, known := n.records[key]
		switch {
		case ok && (!known || !reflect.DeepEqual(is, was)):
			n.records[key] = is
			set = append(set, RecordChange{Record: is})
		case !ok && known:
			delete(n.records, key)
			deleted = append(deleted, RecordChange{Record: was, Delete: true})
		}
		n.mu.Unlock()
	}
	return append(deleted, set...)
}

// peer gives the peer another node has under key. Rows that lead to our own
// VTEP are of no use: they are ours, or of an engine that was here before.
func (n *network) peer(s *session, key string) (model.Peer, bool) {
	value, err := s.db.GetEntry(peerTable, n.id, key)
	if err != nil {
		return model.Peer{}, false // not there any more
	}
	p, err := decodePeer(key, value)
	if err != nil {
		n.reject(s, peerTable, key, err)
		return model.Peer{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, own := n.own[key]; own || p.VTEP == s.g.cfg.AdvertiseAddr {
		return model.Peer{}, false
	}
	for _, r := range n.own {
		if r.vtep == p.VTEP {
			return model.Peer{}, false
		}
	}
	return p, true
}

// record gives the record under key.
func (n *network) record(s *session, key string) (model.Record, bool) {
	value, err := s.db.GetEntry(recordTable, n.id, key)
	if err != nil {
		return model.Record{}, false
	}
	r, err := decodeRecord(key, value)
	if err != nil {
		n.reject(s, recordTable, key, err)
		return model.Record{}, false
	}
	return r, true
}

// reject counts a bad row.
func (n *network) reject(s *session, table, key string, err error) {
	s.g.badRows.Add(1)
	s.g.cfg.Log.Warn("row of another node dropped", "network_id", n.id, "endpoint_id", key, "table", table, "err", err)
}

// keysOf gives the keys a table has for a network.
func (s *session) keysOf(table, networkID string) []string {
	var keys []string
	// WalkTable has no way to fail.
	_ = s.db.WalkTable(table, func(nid, key string, _ []byte, deleted bool) bool {
		if nid == networkID && !deleted {
			keys = append(keys, key)
		}
		return false
	})
	return keys
}
