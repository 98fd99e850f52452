package peer

import (
	"maps"
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
	segment model.Segment
	byID    map[string]model.Peer
	claims  map[netip.Addr][]string               // endpoint IDs by address, sorted: the first one has it
	users   map[model.MAC]map[netip.Addr]struct{} // addresses whose endpoint has that MAC
	local   map[netip.Addr]bool                   // addresses of this node's own endpoints
	want    State
}

// NewTable makes the empty table of a segment.
func NewTable(segment model.Segment) *Table {
	return &Table{
		segment: segment,
		byID:    map[string]model.Peer{},
		claims:  map[netip.Addr][]string{},
		users:   map[model.MAC]map[netip.Addr]struct{}{},
		local:   map[netip.Addr]bool{},
		want:    newState(),
	}
}

// Want gives the entries the device should have. It belongs to the table.
func (t *Table) Want() State { return t.want }

// Len gives the number of endpoints in the table, rivals for one address
// counted each.
func (t *Table) Len() int { return len(t.byID) }

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
	touched := map[netip.Addr]bool{}
	for _, e := range events {
		id := e.Peer.EndpointID
		if old, ok := t.byID[id]; ok {
			if !e.Delete && old == e.Peer {
				continue
			}
			t.unclaim(old)
			touched[old.Addr.Addr()] = true
		}
		if !e.Delete {
			t.claim(e.Peer)
			touched[e.Peer.Addr.Addr()] = true
		}
	}
	return t.update(touched)
}

// Set makes peers the whole content of the table and gives the changes.
func (t *Table) Set(peers []model.Peer) Changes {
	touched := map[netip.Addr]bool{}
	for _, p := range t.byID {
		touched[p.Addr.Addr()] = true
	}
	clear(t.byID)
	clear(t.claims)
	for _, p := range peers {
		if old, ok := t.byID[p.EndpointID]; ok {
			t.unclaim(old)
		}
		t.claim(p)
		touched[p.Addr.Addr()] = true
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
	return t.update(map[netip.Addr]bool{addr: true})
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
func (t *Table) update(touched map[netip.Addr]bool) Changes {
	var c Changes
	macs := map[model.MAC]bool{}
	for _, a := range slices.SortedFunc(maps.Keys(touched), netip.Addr.Compare) {
		had, hadOne := t.want.Neigh[a]
		p, hasOne := t.holder(a)
		if hadOne {
			delete(t.users[had], a)
			macs[had] = true
		}
		if hasOne {
			if t.users[p.MAC] == nil {
				t.users[p.MAC] = map[netip.Addr]struct{}{}
			}
			t.users[p.MAC][a] = struct{}{}
			macs[p.MAC] = true
		}
		if hadOne != hasOne || had != p.MAC {
			t.setNeigh(&c, a, p.MAC, hasOne)
		}
	}
	for _, m := range slices.SortedFunc(maps.Keys(macs), compareMAC) {
		t.updateMAC(&c, m)
	}
	return c
}

// setNeigh records the neighbour entries of endpoint address a.
func (t *Table) setNeigh(c *Changes, a netip.Addr, mac model.MAC, present bool) {
	addrs := []netip.Addr{a}
	if v6 := t.segment.AddrV6(a); v6.IsValid() {
		addrs = append(addrs, v6.Addr())
	}
	for _, a := range addrs {
		if present {
			t.want.Neigh[a] = mac
			c.SetNeigh = append(c.SetNeigh, Neigh{a, mac})
		} else {
			delete(t.want.Neigh, a)
			c.DelNeigh = append(c.DelNeigh, a)
		}
	}
}

// updateMAC records the forwarding entries of a MAC. Should endpoints on
// different nodes share one, the one with the smallest address has it.
func (t *Table) updateMAC(c *Changes, m model.MAC) {
	had, hadOne := t.want.FDB[m]
	if len(t.users[m]) == 0 {
		delete(t.users, m)
		if hadOne {
			delete(t.want.FDB, m)
			delete(t.want.Ports, m)
			c.DelFDB = append(c.DelFDB, m)
			c.DelPorts = append(c.DelPorts, m)
		}
		return
	}
	first := slices.MinFunc(slices.Collect(maps.Keys(t.users[m])), netip.Addr.Compare)
	p, _ := t.holder(first)
	if !hadOne || had != p.VTEP {
		t.want.FDB[m] = p.VTEP
		c.SetFDB = append(c.SetFDB, FDB{m, p.VTEP})
	}
	if !t.want.Ports[m] {
		t.want.Ports[m] = true
		c.SetPorts = append(c.SetPorts, m)
	}
}

func compareMAC(a, b model.MAC) int { return slices.Compare(a[:], b[:]) }
