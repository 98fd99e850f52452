package mesh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/nft"
)

// aliasHop is the neighbor that all aliases are behind, of both families. The
// last four bytes of its MAC address are written in the network's namespace.
func aliasHop(family int) (hop netip.Addr, aliases netip.Prefix) {
	if family == unix.AF_INET6 {
		return netip.MustParseAddr("fe80::77:6566:75"), model.AliasesV6()
	}
	return netip.AddrFrom4([4]byte{169, 254, 184, 253}), model.AliasesV4()
}

// linkIn gives a namespace's link, and the handle that goes with it.
func linkIn(ns *kernel.Namespace, name string) (*netlink.Handle, netlink.Link, error) {
	h, err := ns.Netlink()
	if err != nil {
		return nil, nil, err
	}
	l, err := h.LinkByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("look up %s in %s: %w", name, ns.Path(), err)
	}
	return h, l, nil
}

// families gives the address families of a network.
func families(v6 bool) []int {
	if v6 {
		return []int{unix.AF_INET, unix.AF_INET6}
	}
	return []int{unix.AF_INET}
}

// setNeighbor has a neighbor at a MAC address, whatever it says itself.
func setNeighbor(nl *netlink.Handle, l netlink.Link, hop netip.Addr, mac net.HardwareAddr) error {
	family := unix.AF_INET
	if hop.Is6() {
		family = unix.AF_INET6
	}
	err := nl.NeighSet(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, Family: family, State: netlink.NUD_PERMANENT, IP: hop.AsSlice(), HardwareAddr: mac,
	})
	if err != nil {
		return fmt.Errorf("set neighbor %s: %w", hop, err)
	}
	return nil
}

// setAliases makes the namespace take in what comes to the task's aliases, and
// answer from them, by the ingress network: the host that has sent it is in the
// alias. Other uses of their addresses go on.
func setAliases(sandbox *kernel.Namespace, t Task) error {
	h, l, err := linkIn(sandbox, t.Interface)
	if err != nil {
		return err
	}
	_, lo, err := linkIn(sandbox, "lo")
	if err != nil {
		return err
	}
	for _, family := range families(t.AddrV6.IsValid()) {
		hop, aliases := aliasHop(family)
		if err := setNeighbor(h, l, hop, model.MACFromAddr(netip.IPv4Unspecified()).Leg().HardwareAddr()); err != nil {
			return err
		}
		own, err := onLink(h, family, t)
		if err != nil {
			return err
		}
		own = slices.DeleteFunc(own, func(p netip.Prefix) bool { return !p.Overlaps(aliases) })
		back := &netlink.Route{LinkIndex: l.Attrs().Index, Gw: hop.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
		if err := setRoutes(h, aliasTable, back, own); err != nil {
			return err
		}
		// IPv4 lets nothing have a source that this table does not have.
		here := &netlink.Route{LinkIndex: lo.Attrs().Index, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Dst: ipNet(aliases)}
		if err := setRoutes(h, unix.RT_TABLE_LOCAL, here, nil); err != nil {
			return err
		}
		if err := setAliasRules(h, family, aliases, t.Interface); err != nil {
			return err
		}
	}
	return nil
}

func setAliasRules(h *netlink.Handle, family int, aliases netip.Prefix, iface string) error {
	rule := func(priority, table int) *netlink.Rule {
		r := netlink.NewRule()
		r.Family, r.Priority, r.Table = family, priority, table
		return r
	}
	arriving, leaving, elsewhere := rule(arrivalRule, unix.RT_TABLE_LOCAL), rule(aliasRule, aliasTable), rule(elsewhereRule, unix.RT_TABLE_MAIN)
	arriving.IifName, arriving.Dst = iface, ipNet(aliases)
	leaving.IifName, leaving.Src = "lo", ipNet(aliases)
	elsewhere.Dst = ipNet(aliases)
	return errors.Join(addRule(h, arriving), addRule(h, leaving), addRule(h, elsewhere))
}

// aliasChains take in what comes from the ingress network to the task's aliases
// and is for a published port, and send its answers, without tracking it as
// flows: the host does that. The set has the task's own ports.
func aliasChains(t Task) (arriving, leaving nft.Chain, targets nft.Set) {
	targets = nft.Set{Name: "targets", Key: []nft.Type{nft.Proto, nft.PortNumber}}
	for _, p := range t.Ports {
		e := nft.Element{Key: nft.Key(p.Proto, p.To)}
		if p.Proto == unix.IPPROTO_TCP && !slices.Contains(targets.Elements, e) {
			targets.Elements = append(targets.Elements, e)
		}
	}
	arriving = nft.Chain{Name: "arriving"}
	leaving = nft.Chain{Name: "leaving", Kind: nft.Filter, Hook: nft.Output, Priority: nft.PriorityRaw}
	value, mask := model.AliasesOf(t.Addr).Own(t.Addr.Addr())
	for i, aliases := range []netip.Prefix{model.AliasesV4(), model.AliasesV6()} {
		arriving.Rules = append(arriving.Rules,
			nft.When(nft.ToMasked(value[i], mask[i]), nft.In(targets, nft.PacketProto(), nft.PacketPort()), nft.NoTrack(), nft.Accept()))
		leaving.Rules = append(leaving.Rules, nft.When(nft.From(aliases), nft.NoTrack(), nft.Accept()))
	}
	for _, icmp := range []byte{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} { // errors on an answer's way among them
		arriving.Rules = append(arriving.Rules, nft.When(nft.Protocol(icmp), nft.Accept()))
	}
	for _, aliases := range []netip.Prefix{model.AliasesV4(), model.AliasesV6()} {
		arriving.Rules = append(arriving.Rules, nft.When(nft.To(aliases), nft.Drop()))
	}
	return arriving, leaving, targets
}
