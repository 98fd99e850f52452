package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/nft"
)

// layout is what stands for a service's tasks in a table: the types of the maps
// by number, and each task's places in them, without a Value where it has none.
type layout struct {
	v4, v6 nft.Type
	places func(Backend) (v4, v6 nft.Element)
}

// difference leads from one set of services to another, by elements alone: its
// size is that of what changes, however many services there are.
type difference struct {
	layout
	known                    map[string]bool // chains that are there
	chains                   []nft.Chain     // to be made
	services, slots4, slots6 nft.Change
}

func newDifference(l layout, known map[string]bool) *difference {
	return &difference{
		layout: l, known: known, services: nft.Change{Set: servicesSet()},
		slots4: nft.Change{Set: slotsSet(l.v4)}, slots6: nft.Change{Set: slotsSet(l.v6)},
	}
}

func (d *difference) changes() []nft.Change {
	return []nft.Change{d.services, d.slots4, d.slots6}
}

func (d *difference) empty() bool {
	return !slices.ContainsFunc(d.changes(), func(c nft.Change) bool { return len(c.Add)+len(c.Remove) > 0 })
}

// replace puts one service in the place of another of the same port. One
// without backends is none.
func (d *difference) replace(old, now Service) {
	oldV4, oldV6 := d.elements(old)
	nowV4, nowV6 := d.elements(now)
	slots(&d.slots4, old.Port, oldV4, nowV4)
	slots(&d.slots6, old.Port, oldV6, nowV6)
	was, is := d.chainOf(old), d.chainOf(now)
	if was.name == is.name {
		return
	}
	if len(old.Backends) > 0 {
		d.services.Remove = append(d.services.Remove, nft.Element{Key: old.key(), Chain: was.name})
	}
	if len(now.Backends) > 0 {
		d.services.Add = append(d.services.Add, nft.Element{Key: now.key(), Chain: is.name})
		if !d.known[is.name] {
			d.known[is.name] = true
			d.chains = append(d.chains, is.kernel())
		}
	}
}

// elements gives those of a service's tasks, without keys.
func (l layout) elements(s Service) (v4, v6 []nft.Element) {
	for _, b := range s.Backends {
		e4, e6 := l.places(b)
		if e4.Value.IsValid() {
			v4 = append(v4, e4)
		}
		if e6.Value.IsValid() {
			v6 = append(v6, e6)
		}
	}
	return v4, v6
}

// slots changes the numbered places of a port.
func slots(c *nft.Change, p Port, old, now []nft.Element) {
	for i := range max(len(old), len(now)) {
		key := nft.Key(p.Proto, p.Published, uint32(i))
		if i < len(old) && i < len(now) && old[i] == now[i] {
			continue
		}
		if i < len(old) {
			e := old[i]
			e.Key = key
			c.Remove = append(c.Remove, e)
		}
		if i < len(now) {
			e := now[i]
			e.Key = key
			c.Add = append(c.Add, e)
		}
	}
}

// chain sends flows to one of so many addresses. Services that have the same
// numbers share it: it finds the address by port and number.
type chain struct {
	layout
	name       string
	algorithm  Algorithm
	masquerade bool
	idle       time.Duration
	n4, n6     int
}

// masqueradeSuffix is in the names of chains that hide clients.
const masqueradeSuffix = "-masquerade"

func (l layout) chainOf(s Service) chain {
	c := chain{layout: l, algorithm: s.Algorithm, masquerade: s.Masquerade, idle: s.Idle}
	switch c.algorithm {
	case RoundRobin, Random, SourceHash:
	default: // or one of a later version's
		c.algorithm = RoundRobin
	}
	v4, v6 := l.elements(s)
	if c.n4, c.n6 = len(v4), len(v6); c.n4+c.n6 > 0 {
		c.name = fmt.Sprintf("%s-%d-%d", c.algorithm, c.n4, c.n6)
		if c.masquerade {
			c.name += masqueradeSuffix
		}
		if c.idle > 0 {
			c.name += "-" + c.idle.String()
		}
	}
	return c
}

func (c chain) kernel() nft.Chain {
	out := nft.Chain{Name: c.name}
	if c.masquerade {
		out.Rules = append(out.Rules, nft.SetFlowMark(masqueraded))
	}
	if c.idle > 0 {
		for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			out.Rules = append(out.Rules, nft.When(nft.Protocol(proto), nft.ForgetAfter(proto, c.idle)))
		}
	}
	for _, f := range []struct {
		family, value nft.Type
		like          netip.Addr
		n             int
	}{{nft.AddrV4, c.v4, netip.IPv4Unspecified(), c.n4}, {nft.AddrV6, c.v6, netip.IPv6Unspecified(), c.n6}} {
		if f.n == 0 {
			continue
		}
		// A packet that is here while the elements change can have come by those
		// of before and find one missing: the first is there as long as any.
		for _, pick := range []nft.Part{c.pick(f.family, f.n), nft.Turn(1)} {
			out.Rules = append(out.Rules, nft.When(
				nft.Family(f.like), nft.SendBy(slotsSet(f.value), nft.PacketProto(), nft.PacketPort(), pick)))
		}
	}
	return out
}

func (c chain) pick(family nft.Type, n int) nft.Part {
	switch c.algorithm {
	case Random:
		return nft.Chance(n)
	case SourceHash:
		return nft.BySource(family, n)
	case RoundRobin:
	}
	return nft.Turn(n)
}
