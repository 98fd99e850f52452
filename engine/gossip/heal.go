package gossip

import (
	"context"
	"net/netip"
	"slices"
)

// heal replaces a session that networkdb has trapped. It gives nil when ctx
// ended meanwhile.
//
// Some peer still announces a ghost: a node at our address under another ID.
// The session is closed, so that the peers take it for gone; the ghost is
// joined once more and made to leave; and when that has spread, a session
// under a new ID goes on with the same networks and rows. Should the trap
// close again, the next pause is longer.
func (g *Gossip) heal(ctx context.Context, s *session) *session {
	ghosts := s.ghosts()
	g.cfg.Log.WarnContext(ctx, "gossip took this node for gone, starting over", "gossip_id", s.id, "ghosts", ghosts)
	attempt := g.heals.Add(1)
	s.db.Close()
	for _, id := range ghosts {
		if ctx.Err() == nil {
			g.expel(ctx, id)
		}
	}
	wait := g.cfg.times.abandon << min(attempt-1, 4)
	for {
		if !pause(ctx, wait) {
			return nil
		}
		next, err := g.begin()
		if err == nil {
			g.adopt(ctx, next)
			return next
		}
		g.cfg.Log.ErrorContext(ctx, "gossip not started again, will be retried", "err", err)
	}
}

// begin opens a session under a new ID.
func (g *Gossip) begin() (*session, error) {
	id := newID()
	if err := g.renew(id); err != nil {
		return nil, err
	}
	// What the previous run left was known under an ID that is gone now.
	g.mu.Lock()
	g.inherited = nil
	for _, n := range g.networks {
		n.disinherit()
	}
	g.mu.Unlock()
	return g.open(id)
}

// expel makes the peers forget the node that was here under id.
func (g *Gossip) expel(ctx context.Context, id string) {
	s, err := g.open(id)
	if err != nil {
		g.cfg.Log.WarnContext(ctx, "ghost of this node not expelled", "gossip_id", id, "err", err)
		return
	}
	if seeds := s.seeds(map[netip.Addr]bool{}); len(seeds) > 0 {
		s.join(ctx, seeds)
	}
	s.db.Close()
}

// ghosts gives the IDs of other nodes at our address.
func (s *session) ghosts() []string {
	own := s.g.cfg.AdvertiseAddr
	var ids []string
	for _, m := range s.members(s.db.ClusterPeers()) {
		if m.Addr == own && !m.Self {
			ids = append(ids, m.ID)
		}
	}
	return slices.Compact(ids)
}
