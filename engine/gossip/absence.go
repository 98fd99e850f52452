package gossip

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/docker/docker/libnetwork/networkdb"
	events "github.com/docker/go-events"
)

// settle is how long the events of nodes are awaited after the last one.
const settle = 50 * time.Millisecond

// stall is how much later than due we may look at the clock before the peers
// will have taken us for dead: memberlist does after four probes missed.
const stall = 4 * time.Second

// meeting is a request to synchronize with peers.
type meeting struct {
	peers    []netip.Addr
	announce bool // and to announce our networks and rows again
}

// absences notices when peers have been away for us, or we for them.
//
// Whoever takes a node for dead forgets its networks and rows. When it was not
// dead, memberlist lets it object, and networkdb lists it again, but the rest
// stays forgotten until the half-minutely synchronizations have come round:
// unlike after a long absence, nothing is asked of the node. So we ask.
//
// A node under another ID is a new one, which asks by itself.
type absences struct {
	last  time.Time             // we looked at the clock
	known map[netip.Addr]string // IDs, those of the gone included
	gone  map[netip.Addr]bool
	back  map[netip.Addr]bool
	self  bool // we were away
}

func newAbsences(now time.Time) *absences {
	return &absences{last: now, known: map[netip.Addr]string{}, gone: map[netip.Addr]bool{}, back: map[netip.Addr]bool{}}
}

// note takes an event of networkdb's node table.
func (a *absences) note(ev events.Event) {
	switch e := ev.(type) {
	case networkdb.DeleteEvent:
		if addr, ok := nodeAddr(e.Value); ok {
			a.gone[addr] = true
		}
	case networkdb.CreateEvent:
		if addr, ok := nodeAddr(e.Value); ok && a.gone[addr] {
			delete(a.gone, addr)
			a.back[addr] = true
		}
	}
}

func nodeAddr(value []byte) (netip.Addr, bool) {
	var n networkdb.NodeAddr
	if json.Unmarshal(value, &n) != nil {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(n.Addr)
	return addr.Unmap(), ok
}

// tick is told the time, which should be period after the last. The wall clock
// counts: the other one stands still while a machine sleeps.
func (a *absences) tick(now time.Time, period time.Duration) {
	if now.Round(0).Sub(a.last.Round(0)) > period+stall {
		a.self = true
	}
	a.last = now
}

// report asks for the meeting that is due, if any. When most peers came back
// it was us who was cut off, and it is for us to announce ourselves; else for
// the one who came back.
func (a *absences) report(meet chan<- meeting, members []Member) {
	var m meeting
	others := 0
	for _, p := range members {
		if p.Self || !p.Addr.IsValid() {
			continue
		}
		others++
		if a.known[p.Addr] != p.ID {
			a.known[p.Addr] = p.ID
			delete(a.back, p.Addr)
		}
		if (a.self || a.back[p.Addr]) && len(m.peers) < maxSeeds {
			m.peers = append(m.peers, p.Addr)
		}
	}
	if len(m.peers) == 0 {
		return
	}
	m.announce = a.self || 2*len(a.back) >= others
	select {
	case meet <- m:
		clear(a.back)
		a.self = false
	default: // the last one is not over yet
	}
}
