package gossip

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/libnetwork/networkdb"
)

// maxSeeds bounds how many peers are asked at a time; one that answers is
// enough.
const maxSeeds = 10

// maxRetry bounds the delay between attempts to join.
const maxRetry = 15 * time.Second

// session is the life of one networkdb under one node ID.
type session struct {
	g      *Gossip
	id     string
	db     *networkdb.NetworkDB
	keys   [][]byte // it was opened with
	joined chan struct{}
	wanted atomic.Bool // there are peers we should hear
	likely atomic.Bool // there are, or were last time

	turn chan struct{} // who joins a network; has room for one
	meet chan meeting  // peers that came back, to keepJoined; has room for one

	ctx    context.Context //nolint:containedctx // the lifetime of the feeds, which start one by one
	cancel context.CancelFunc
	wg     sync.WaitGroup // of the feeds and what they started
}

// feed starts the feed of n. g.mu is held.
func (s *session) feed(n *network) {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	n.cancel, n.done = cancel, done
	s.wg.Go(func() {
		defer close(done)
		n.run(ctx, s)
	})
}

// run looks after the session until it ends, and reports whether that is
// because networkdb has trapped itself.
func (s *session) run() (trapped bool) {
	nodes, stop := s.db.Watch(networkdb.NodeTable, "")
	defer stop()
	s.wg.Go(func() { s.keepJoined(s.ctx) })
	tick := time.NewTicker(s.g.cfg.times.watch)
	defer tick.Stop()
	grace := time.NewTimer(s.g.cfg.times.grace)
	defer grace.Stop()
	// The event of a node comes before networkdb has dealt with it, and seldom
	// alone.
	soon := time.NewTimer(time.Hour)
	defer soon.Stop()
	back := newAbsences(s.g.cfg.Now())
	for {
		select {
		case <-s.ctx.Done():
			return false
		case ev := <-nodes.C:
			back.note(ev)
			soon.Reset(settle)
			continue
		case <-grace.C:
			s.g.expire(s)
		case <-soon.C:
		case <-tick.C:
			back.tick(s.g.cfg.Now(), s.g.cfg.times.watch)
		}
		if !s.listed() {
			return true
		}
		back.report(s.meet, s.members(s.db.ClusterPeers()))
		s.g.rememberPeers(s.others())
	}
}

// keepJoined looks for peers at once, and again while there are none or a
// manager is missing, and meets those that came back. The first attempt,
// whatever its outcome, lets the feeds begin.
func (s *session) keepJoined(ctx context.Context) {
	futile := map[netip.Addr]bool{} // answer, but under another address
	wait := s.g.cfg.times.retry
	s.lookFor(ctx, futile)
	close(s.joined)
	for {
		delay := s.g.cfg.times.patrol
		if s.alone() {
			delay, wait = wait, min(2*wait, maxRetry)
		} else {
			wait = s.g.cfg.times.retry
		}
		t := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case m := <-s.meet:
			t.Stop()
			s.meetAgain(ctx, m)
		case <-t.C:
			if s.lookFor(ctx, futile) {
				s.g.announceAgain()
			}
		}
	}
}

// meetAgain synchronizes with peers that came back. They are likely to do so
// as well, and networkdb loses an answer when two nodes ask each other at the
// same time; so the one with the higher address gives way.
func (s *session) meetAgain(ctx context.Context, m meeting) {
	if m.peers[0].Less(s.g.cfg.AdvertiseAddr) && !pause(ctx, s.g.cfg.times.turn) {
		return
	}
	if s.join(ctx, m.peers) && m.announce {
		s.g.announceAgain()
	}
}

// lookFor joins the peers we should hear and do not.
func (s *session) lookFor(ctx context.Context, futile map[netip.Addr]bool) bool {
	seeds := s.seeds(futile)
	if len(seeds) == 0 || !s.join(ctx, seeds) {
		return false
	}
	heard := s.others()
	for _, a := range seeds {
		futile[a] = !slices.Contains(heard, a) && len(heard) > 0
	}
	return true
}

// seeds gives the peers to look for: managers we do not hear, and when we hear
// nobody, those of last time.
func (s *session) seeds(futile map[netip.Addr]bool) []netip.Addr {
	alone := s.alone()
	if alone {
		clear(futile)
	}
	var found []netip.Addr
	seen := s.others()
	add := func(addrs []netip.Addr) {
		for _, a := range addrs {
			a = a.Unmap()
			if a.IsValid() && a != s.g.cfg.AdvertiseAddr && !futile[a] && !slices.Contains(seen, a) && len(found) < maxSeeds {
				seen = append(seen, a)
				found = append(found, a)
			}
		}
	}
	add(s.g.cfg.Seeds())
	// A node whose only manager is itself is complete when alone.
	s.wanted.Store(len(found) > 0 || !alone)
	if alone {
		s.g.stateMu.Lock()
		last := slices.Clone(s.g.state.Peers)
		s.g.stateMu.Unlock()
		add(last)
	}
	s.likely.Store(len(found) > 0 || !alone)
	return found
}

// join meets those of the seeds that answer.
func (s *session) join(ctx context.Context, seeds []netip.Addr) bool {
	up := s.answering(ctx, seeds)
	if len(up) == 0 {
		if ctx.Err() == nil {
			s.g.cfg.Log.WarnContext(ctx, "no gossip peer answers; 7946/tcp and 7946/udp must be open between the nodes", "port", s.g.cfg.Port, "peer_addrs", seeds)
		}
		return false
	}
	if err := s.db.Join(up); err != nil {
		// Its last part, telling everybody, may fail without harm.
		if s.alone() {
			s.g.cfg.Log.WarnContext(ctx, "gossip peers not joined", "peer_addrs", up, "err", err)
			return false
		}
	}
	s.g.cfg.Log.InfoContext(ctx, "gossip joined", "gossip_id", s.id, "peer_addrs", up, "members", len(s.db.ClusterPeers()))
	return true
}

// answering gives the seeds that accept a connection. Joining one that does
// not would take ten seconds, one after the other.
func (s *session) answering(ctx context.Context, seeds []netip.Addr) []string {
	ctx, cancel := context.WithTimeout(ctx, s.g.cfg.times.dial)
	defer cancel()
	up := make([]string, len(seeds))
	var wg sync.WaitGroup
	for i, a := range seeds {
		wg.Go(func() {
			addr := netip.AddrPortFrom(a, uint16(s.g.cfg.Port)).String() //nolint:gosec // check has seen its range
			var d net.Dialer
			if conn, err := d.DialContext(ctx, "tcp", addr); err == nil {
				up[i] = addr
				conn.Close() //nolint:errcheck,gosec // nothing was written
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(up, func(a string) bool { return a == "" })
}

// listed reports whether networkdb still takes this node for present.
func (s *session) listed() bool {
	return slices.ContainsFunc(s.db.ClusterPeers(), func(p networkdb.PeerInfo) bool { return p.Name == s.id })
}

// complete reports whether the session hears the peers it is likely to have, or
// is likely to have none.
func (s *session) complete() bool { return !s.likely.Load() || !s.alone() }

func (s *session) alone() bool { return len(s.others()) == 0 }

// others gives the addresses of the other members.
func (s *session) others() []netip.Addr {
	var addrs []netip.Addr
	for _, m := range s.members(s.db.ClusterPeers()) {
		if !m.Self && m.Addr.IsValid() {
			addrs = append(addrs, m.Addr)
		}
	}
	return addrs
}

// members translates networkdb's list, in the order of the addresses.
func (s *session) members(infos []networkdb.PeerInfo) []Member {
	members := make([]Member, 0, len(infos))
	for _, p := range infos {
		addr, err := netip.ParseAddr(p.IP)
		if err != nil {
			addr = netip.Addr{} // networkdb says "unknown"
		}
		members = append(members, Member{ID: p.Name, Addr: addr.Unmap(), Self: p.Name == s.id})
	}
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.ID, b.ID))
	})
	return members
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
