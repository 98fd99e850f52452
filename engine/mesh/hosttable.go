package mesh

import (
	"maps"
	"net/netip"
	"slices"

	"weft/engine/nft"
)

// Sets of the host's table.
func portsSet() nft.Set {
	return nft.Set{Name: "ports", Key: []nft.Type{nft.Proto, nft.PortNumber}}
}

func boundSet(family nft.Type) nft.Set {
	name := "bound4"
	if family == nft.AddrV6 {
		name = "bound6"
	}
	return nft.Set{Name: name, Key: []nft.Type{nft.Proto, nft.PortNumber, family}}
}

// changes leads from the ports of before to those of now.
func (h *Host) changes(before, now map[Port]*listening) []nft.Change {
	changes := map[string]*nft.Change{}
	for _, s := range []nft.Set{portsSet(), boundSet(nft.AddrV4), boundSet(nft.AddrV6)} {
		changes[s.Name] = &nft.Change{Set: s}
	}
	for p, l := range before {
		each(p, l, func(set, key string) { changes[set].Remove = append(changes[set].Remove, nft.Element{Key: key}) })
	}
	for p, l := range now {
		each(p, l, func(set, key string) { changes[set].Add = append(changes[set].Add, nft.Element{Key: key}) })
	}
	var list []nft.Change
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		list = append(list, *changes[name])
	}
	return list
}

// each gives the elements of a port, if there is one, and the sets they are in.
func each(p Port, l *listening, add func(set, key string)) {
	if l == nil {
		return
	}
	if len(l.Addrs) == 0 {
		add(portsSet().Name, p.key())
	}
	for _, a := range l.Addrs {
		family := nft.AddrV4
		if a.Is6() {
			family = nft.AddrV6
		}
		add(boundSet(family).Name, nft.Key(p.Proto, p.Published, a))
	}
}

// table gives the whole table and notes its chains. Nothing leads from ::1 out
// of a host, so the reserved sockets serve there.
func (h *Host) table(chains map[string]bool) nft.Table {
	t := nft.Table{Name: tableName}
	d := newDifference(h.hostLayout(), chains)
	for p, s := range h.services {
		d.replace(Service{Port: p}, s)
	}
	for _, c := range append(h.changes(nil, h.ports), d.changes()...) {
		c.Set.Elements = c.Add
		t.Sets = append(t.Sets, c.Set)
	}
	t.Chains = append(t.Chains, d.chains...)
	var toHost []nft.Rule
	for _, ch := range h.ways() {
		t.Chains = append(t.Chains, ch)
		toHost = append(toHost, nft.When(nft.ToThisHost(), nft.Jump(ch.Name)))
	}
	t.Chains = append(t.Chains, h.guards()...)
	t.Chains = append(t.Chains,
		// Before other tables': a port is published once.
		nft.Chain{Name: "arriving", Kind: nft.NAT, Hook: nft.Prerouting, Priority: nft.PriorityDstNAT - 1, Rules: toHost},
		nft.Chain{Name: "local", Kind: nft.NAT, Hook: nft.Output, Priority: nft.PriorityDstNAT - 1, Rules: toHost},
		h.source(),
	)
	return t
}

// ways gives the chains that lead flows from the host, the straight one first:
// what that has nothing for goes by the ingress sandbox.
func (h *Host) ways() []nft.Chain {
	loopback := nft.When(nft.ToAddr(netip.IPv6Loopback()), nft.Return())
	straight := nft.Chain{Name: "straight", Rules: []nft.Rule{loopback}}
	publish := nft.Chain{Name: "publish", Rules: []nft.Rule{loopback}}
	_, inside := h.uplink()
	for _, p := range inside {
		a, family := p.Addr(), nft.AddrV4
		if a.Is6() {
			family = nft.AddrV6
		}
		for _, at := range []nft.Rule{
			nft.In(portsSet(), nft.PacketProto(), nft.PacketPort()),
			nft.In(boundSet(family), nft.PacketProto(), nft.PacketPort(), nft.PacketTo(family)),
		} {
			straight.Rules = append(straight.Rules, nft.When(nft.Family(a), at, nft.GoBy(servicesSet(), nft.PacketProto(), nft.PacketPort())))
			publish.Rules = append(publish.Rules, nft.When(nft.Family(a), at, nft.RedirectAddr(a)))
		}
	}
	if !h.plugged() {
		return []nft.Chain{publish}
	}
	return []nft.Chain{straight, publish}
}

// guards gives the chains that keep to themselves the links between the host
// and the ingress sandbox, and the host and the ingress network: what comes by
// the latter are answers, and nobody's packets leave by it but those this table
// has sent there. Of the host's own only the first of a flow are looked at, with
// their source. A flow's packets pass the guard before they are redirected.
func (h *Host) guards() []nft.Chain {
	outside, _ := h.uplink()
	guard := nft.Chain{Name: "guard", Kind: nft.Filter, Hook: nft.Prerouting, Priority: nft.PriorityMangle}
	var chains []nft.Chain
	if h.plugged() {
		from := nft.InFromIndex(h.leg)
		guard.Rules = append(guard.Rules, nft.When(from, nft.Answers(), nft.Accept()), nft.When(from, nft.Drop()))
		chains = append(chains, nft.Chain{Name: "leaving", Kind: nft.Filter, Hook: nft.Forward, Priority: nft.PriorityFilter, Rules: []nft.Rule{
			nft.When(nft.OutByIndex(h.leg), nft.Redirected(), nft.Accept()),
			nft.When(nft.OutByIndex(h.leg), nft.Drop()), // what is of no flow, too
		}})
	}
	guard.Rules = append(guard.Rules,
		// The sandbox answers to clients at the loopback address by another one.
		nft.When(nft.InFrom(uplinkOutside), nft.To(netip.MustParsePrefix("127.0.0.0/8")), nft.Drop()),
		nft.When(nft.InFrom(uplinkOutside), nft.Accept()),
		nft.When(nft.InFrom("lo"), nft.Accept()),
	)
	for _, p := range outside { // the link's addresses are nobody else's
		guard.Rules = append(guard.Rules, nft.When(nft.To(p), nft.Drop()), nft.When(nft.From(p), nft.Drop()))
	}
	return append(chains, guard)
}

// source gives flows the source they leave with. The host's loopback address
// and, of what the reserved sockets carry over, the uplink's mean nothing
// elsewhere. Containers are not hidden behind the host: their answers find the
// way.
func (h *Host) source() nft.Chain {
	outside, inside := h.uplink()
	c := nft.Chain{Name: "source", Kind: nft.NAT, Hook: nft.Postrouting, Priority: nft.PrioritySrcNAT - 1}
	c.Rules = append(c.Rules, nft.When(nft.OutBy(legName), nft.NotRedirected(), nft.Drop()))
	for _, device := range []string{uplinkOutside, legName} {
		out := nft.OutBy(device)
		for _, p := range []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), outside[0].Masked()} {
			if h.Source.Is4() {
				c.Rules = append(c.Rules, nft.When(out, nft.From(p), nft.Source(h.Source)))
			} else {
				c.Rules = append(c.Rules, nft.When(out, nft.From(p), nft.Masquerade()))
			}
		}
		for _, p := range inside {
			c.Rules = append(c.Rules, nft.When(out, nft.KeepSource(p.Addr())))
		}
	}
	return c
}
