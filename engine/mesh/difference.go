package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/nft"
)

// difference leads from one set of services to another, by elements alone: its
// size is that of what changes, however many services there are.
type difference struct {
	known                             map[string]bool // chains that are there
	chains                            []nft.Chain     // to be made
	services, slots4, slots6, foreign nft.Change
	users                             map[netip.Addr]int // how many ports each foreign task is behind
}

func newDifference(known map[string]bool, users map[netip.Addr]int) *difference {
	return &difference{
		known: known, users: users,
		services: nft.Change{Set: servicesSet()}, foreign: nft.Change{Set: foreignSet()},
		slots4: nft.Change{Set: slotsSet(nft.AddrV4)}, slots6: nft.Change{Set: slotsSet(nft.AddrV6)},
	}
}

func (d *difference) changes() []nft.Change {
	return []nft.Change{d.services, d.slots4, d.slots6, d.foreign}
}

func (d *difference) empty() bool {
	return !slices.ContainsFunc(d.changes(), func(c nft.Change) bool { return len(c.Add)+len(c.Remove) > 0 })
}

// replace puts one service in the place of another of the same port. One
// without backends is none.
func (d *difference) replace(old, now Service) {
	oldV4, oldV6 := addresses(old)
	nowV4, nowV6 := addresses(now)
	slots(&d.slots4, old.Port, oldV4, nowV4)
	slots(&d.slots6, old.Port, oldV6, nowV6)
	was, is := chainOf(old), chainOf(now)
	if was.name != is.name {
		if len(old.Backends) > 0 {
			d.services.Remove = append(d.services.Remove, nft.Element{Key: old.key(), Chain: was.name})
		}
		if len(now.Backends) > 0 {
			d.services.Add = append(d.services.Add, nft.Element{Key: now.key(), Chain: is.name})
			d.need(is)
		}
	}
	for _, b := range now.Backends {
		if b.Foreign {
			if d.users[b.Addr]++; d.users[b.Addr] == 1 {
				d.foreign.Add = append(d.foreign.Add, nft.Element{Key: nft.Key(b.Addr)})
			}
		}
	}
	for _, b := range old.Backends {
		if b.Foreign {
			if d.users[b.Addr]--; d.users[b.Addr] == 0 {
				delete(d.users, b.Addr)
				d.foreign.Remove = append(d.foreign.Remove, nft.Element{Key: nft.Key(b.Addr)})
			}
		}
	}
}

func (d *difference) need(c chain) {
	if !d.known[c.name] {
		d.known[c.name] = true
		d.chains = append(d.chains, c.kernel())
	}
}

func addresses(s Service) (v4, v6 []netip.Addr) {
	for _, b := range s.Backends {
		v4 = append(v4, b.Addr)
		if b.AddrV6.IsValid() {
			v6 = append(v6, b.AddrV6)
		}
	}
	return v4, v6
}

// slots changes the numbered addresses of a port.
func slots(c *nft.Change, p Port, old, now []netip.Addr) {
	for i := range max(len(old), len(now)) {
		key := nft.Key(p.Proto, p.Published, uint32(i))
		if i < len(old) && i < len(now) && old[i] == now[i] {
			continue
		}
		if i < len(old) {
			c.Remove = append(c.Remove, nft.Element{Key: key, Value: old[i]})
		}
		if i < len(now) {
			c.Add = append(c.Add, nft.Element{Key: key, Value: now[i]})
		}
	}
}

// chain sends flows to one of so many addresses. Services that have the same
// numbers share it: it finds the address by port and number.
type chain struct {
	name       string
	algorithm  Algorithm
	masquerade bool
	idle       time.Duration
	v4, v6     int
}

// masqueradeSuffix is in the names of chains that hide clients.
const masqueradeSuffix = "-masquerade"

func chainOf(s Service) chain {
	c := chain{algorithm: s.Algorithm, masquerade: s.Masquerade, idle: s.Idle}
	switch c.algorithm {
	case RoundRobin, Random, SourceHash:
	default: // or one of a later version's
		c.algorithm = RoundRobin
	}
	v4, v6 := addresses(s)
	if c.v4, c.v6 = len(v4), len(v6); c.v4+c.v6 > 0 {
		c.name = fmt.Sprintf("%s-%d-%d", c.algorithm, c.v4, c.v6)
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
		family nft.Type
		like   netip.Addr
		n      int
	}{{nft.AddrV4, netip.IPv4Unspecified(), c.v4}, {nft.AddrV6, netip.IPv6Unspecified(), c.v6}} {
		if f.n == 0 {
			continue
		}
		// A packet that is here while the elements change can have come by those
		// of before and find one missing: the first is there as long as any.
		for _, pick := range []nft.Part{c.pick(f.family, f.n), nft.Turn(1)} {
			out.Rules = append(out.Rules, nft.When(
				nft.Family(f.like), nft.SendBy(slotsSet(f.family), nft.PacketProto(), nft.PacketPort(), pick)))
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
