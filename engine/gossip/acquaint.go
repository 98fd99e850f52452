package gossip

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// acquaint has the network joined once more for peers that joined it at the
// same time as we did. Neither of us knew of the other then, so neither asked
// for the other's rows; and networkdb, with nobody to send them to, has used up
// the transmissions of ours. Its periodic synchronization would make up for it
// after half a minute. Peers that come later ask us themselves.
//
// Two nodes that ask each other at the same moment miss the answer, so each
// waits for its rank among the addresses.
func (n *network) acquaint(ctx context.Context, s *session, known map[string]netip.Addr) {
	end := time.NewTimer(s.g.cfg.times.acquaint)
	defer end.Stop()
	tick := time.NewTicker(s.g.cfg.times.acquaint / 30)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-tick.C:
		}
		now := s.peersOf(n.id)
		if !grown(known, now) {
			continue
		}
		rank := slices.Index(slices.SortedFunc(maps.Values(now), netip.Addr.Compare), s.g.cfg.AdvertiseAddr)
		if !pause(ctx, time.Duration(min(max(rank, 0), 8)+1)*s.g.cfg.times.acquaint/30) {
			return
		}
		known = s.peersOf(n.id)
		n.mu.Lock()
		n.rejoin = true
		n.touch()
		n.mu.Unlock()
	}
}

// peersOf gives the nodes that take part in a network, by their session.
func (s *session) peersOf(networkID string) map[string]netip.Addr {
	peers := map[string]netip.Addr{}
	for _, p := range s.db.Peers(networkID) {
		if a, err := netip.ParseAddr(p.IP); err == nil {
			peers[p.Name] = a.Unmap()
		}
	}
	return peers
}

func grown(known, now map[string]netip.Addr) bool {
	for id := range now {
		if _, ok := known[id]; !ok {
			return true
		}
	}
	return false
}
