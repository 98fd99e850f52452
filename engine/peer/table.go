package peer

import (
	"bytes"
	"net/netip"
	"slices"

	"weft/engine/model"
)

// State is the set of entries on a VXLAN device.
type State struct {
	FDB   map[model.MAC]netip.Addr // VTEP by MAC, on the device
	Ports map[model.MAC]bool       // MACs the bridge has behind the device
	Neigh map[netip.Addr]model.MAC // MAC by endpoint address, both families
}

func newState() State {
	return State{FDB: map[model.MAC]netip.Addr{}, Ports: map[model.MAC]bool{}, Neigh: map[netip.Addr]model.MAC{}}
}

// Table is the set of remote endpoints of one segment. It is not safe for
// concurrent use.
type Table struct {
	// Legs says that beside every endpoint there may be a leg of its node's host
	// (model.MAC.Leg). It is to be set before the first endpoint is.
	Legs bool

	segment model.Segment
	byID    map[string]model.Peer
	claims  map[netip.Addr][]string    // endpoint IDs by address, sorted: the first one has it
	users   map[model.MAC][]netip.Addr // addresses whose endpoint has that MAC, sorted
	local   map[netip.Addr]bool        // addresses of this node's own endpoints
	want    State
}

// NewTable makes the empty table of a segment.
func NewTable(segment model.Segment) *Table {
	return &Table{
		segment: segment,
		byID:    map[string]model.Peer{},
		claims:  map[netip.Addr][]string{},
		users:   map[model.MAC][]netip.Addr{},
		local:   map[netip.Addr]bool{},
		want:    newState(),
	}
}

// Want gives the entries the device should have. It belongs to the table.
func (t *Table) Want() State { return t.want }

// Get gives the endpoint of that ID.
func (t *Table) Get(endpointID string) (model.Peer, bool) {
	p, ok := t.byID[endpointID]
	return p, ok
}

// Claimants gives the IDs of the endpoints that claim addr, the one that has
// it first.
func (t *Table) Claimants(addr netip.Addr) []string { return slices.Clone(t.claims[addr]) }

// Apply takes events in, the last one of an endpoint winning, and gives the
// changes to the entries.
//
// When several endpoints claim one address, the one with the smallest ID has
// it on every node, whatever the order the claims came in; the next one gets
// it when that one goes. An address that is local here is never remote.
func (t *Table) Apply(events []model.PeerChange) Changes {
	touched := make([]netip.Addr, 0, len(events))
	for _, e := range events {
		id := e.Peer.EndpointID
		if old, ok := t.byID[id]; ok {
			if !e.Delete && old == e.Peer {
				continue
			}
			t.unclaim(old)
			touched = append(touched, old.Addr.Addr())
		}
		if !e.Delete {
			t.claim(e.Peer)
			touched = append(touched, e.Peer.Addr.Addr())
		}
	}
	return t.update(touched)
}

// Set makes peers the whole content of the table and gives the changes.
func (t *Table) Set(peers []model.Peer) Changes {
	touched := make([]netip.Addr, 0, len(t.byID)+len(peers))
	for _, p := range t.byID {
		touched = append(touched, p.Addr.Addr())
	}
	clear(t.byID)
	clear(t.claims)
	for _, p := range peers {
		if old, ok := t.byID[p.EndpointID]; ok {
			t.unclaim(old)
		}
		t.claim(p)
		touched = append(touched, p.Addr.Addr())
	}
	return t.update(touched)
}

// SetLocal says whether this node has an endpoint with that address.
func (t *Table) SetLocal(addr netip.Addr, local bool) Changes {
	if local {
		t.local[addr] = true
	} else {
		delete(t.local, addr)
	}
	return t.update([]netip.Addr{addr})
}

func (t *Table) claim(p model.Peer) {
	a := p.Addr.Addr()
	t.byID[p.EndpointID] = p
	i, _ := slices.BinarySearch(t.claims[a], p.EndpointID)
	t.claims[a] = slices.Insert(t.claims[a], i, p.EndpointID)
}

func (t *Table) unclaim(p model.Peer) {
	a := p.Addr.Addr()
	delete(t.byID, p.EndpointID)
	if i, ok := slices.BinarySearch(t.claims[a], p.EndpointID); ok {
		t.claims[a] = slices.Delete(t.claims[a], i, i+1)
	}
	if len(t.claims[a]) == 0 {
		delete(t.claims, a)
	}
}

// holder gives the endpoint whose address a is, as seen from this node.
func (t *Table) holder(a netip.Addr) (model.Peer, bool) {
	if ids := t.claims[a]; len(ids) > 0 && !t.local[a] {
		return t.byID[ids[0]], true
	}
	return model.Peer{}, false
}

// update brings want up to date for the addresses and gives the difference.
func (t *Table) update(touched []netip.Addr) Changes {
	slices.SortFunc(touched, netip.Addr.Compare)
	touched = slices.Compact(touched)
	c := Changes{SetNeigh: make([]Neigh, 0, len(touched))}
	macs := make([]model.MAC, 0, len(touched))
	for _, a := range touched {
		had, hadOne := t.want.Neigh[a]
		p, hasOne := t.holder(a)
		if hadOne {
			t.unuse(had, a)
			macs = append(macs, had)
		}
		if hasOne {
			t.use(p.MAC, a)
			macs = append(macs, p.MAC)
		}
		if hadOne != hasOne || had != p.MAC {
			t.setNeigh(&c, a, p.MAC, hasOne)
		}
	}
	slices.SortFunc(macs, compareMAC)
	for _, m := range slices.Compact(macs) {
		t.updateMAC(&c, m)
	}
	return c
}

func (t *Table) use(m model.MAC, a netip.Addr) {
	i, found := slices.BinarySearchFunc(t.users[m], a, netip.Addr.Compare)
	if !found {
		t.users[m] = slices.Insert(t.users[m], i, a)
	}
}

func (t *Table) unuse(m model.MAC, a netip.Addr) {
	i, found := slices.BinarySearchFunc(t.users[m], a, netip.Addr.Compare)
	if found {
		t.users[m] = slices.Delete(t.users[m], i, i+1)
	}
}

// setNeigh records the neighbor entries of endpoint address a.
func (t *Table) setNeigh(c *Changes, a netip.Addr, mac model.MAC, present bool) {
	t.setOneNeigh(c, a, mac, present)
	if v6 := t.segment.AddrV6(a); v6.IsValid() {
		t.setOneNeigh(c, v6.Addr(), mac, present)
	}
}

func (t *Table) setOneNeigh(c *Changes, a netip.Addr, mac model.MAC, present bool) {
	if present {
		t.want.Neigh[a] = mac
		c.SetNeigh = append(c.SetNeigh, Neigh{a, mac})
		return
	}
	delete(t.want.Neigh, a)
	c.DelNeigh = append(c.DelNeigh, a)
}

// updateMAC records the forwarding entries of a MAC. Should endpoints on
// different nodes share one, the one with the smallest address has it.
func (t *Table) updateMAC(c *Changes, m model.MAC) {
	var vtep netip.Addr
	if len(t.users[m]) > 0 {
		p, _ := t.holder(t.users[m][0])
		vtep = p.VTEP
	} else {
		delete(t.users, m)
	}
	t.forward(c, m, vtep)
	if t.Legs {
		t.forward(c, m.Leg(), vtep)
	}
}

// forward records the entries that send frames for a MAC to a VTEP, or, for the
// zero one, that there are none.
func (t *Table) forward(c *Changes, m model.MAC, vtep netip.Addr) {
	had, hadOne := t.want.FDB[m]
	switch {
	case vtep.IsValid():
		if !hadOne || had != vtep {
			t.want.FDB[m] = vtep
			c.SetFDB = append(c.SetFDB, FDB{m, vtep})
		}
		if !t.want.Ports[m] {
			t.want.Ports[m] = true
			c.SetPorts = append(c.SetPorts, m)
		}
	case hadOne:
		delete(t.want.FDB, m)
		delete(t.want.Ports, m)
		c.DelFDB = append(c.DelFDB, m)
		c.DelPorts = append(c.DelPorts, m)
	}
}

func compareMAC(a, b model.MAC) int { return bytes.Compare(a[:], b[:]) }
