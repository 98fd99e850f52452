package mesh

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/nft"
)

// The host's leg in the ingress network, and the port of the network's bridge
// at its other end. It has no address and answers no neighbor: what leaves by it
// goes to an alias, whose frame is given its destination at the port.
const (
	legName = "weft-mesh"
	legPort = "weftleg0"
	// aliasMetric is of the routes to the aliases: those of others come first.
	aliasMetric = 7768
)

// connectLeg plugs the host into the ingress network, beside its sandbox there,
// and leads the aliases to it. What is there stays so.
func (h *Host) connectLeg(sandbox *kernel.Namespace) error {
	if h.Overlay == nil {
		return errNoNetwork
	}
	node := h.Network.Addr.Addr()
	if a := model.AliasesOf(h.Network.Addr); !a.V4(node, node).IsValid() {
		return fmt.Errorf("the subnet %s is too large for this node, %s, to have aliases for tasks", h.Network.Addr.Masked(), node)
	}
	if err := h.othersRoute(); err != nil {
		return err
	}
	bridge, mtu, err := h.bridge(sandbox)
	if err != nil {
		return err
	}
	_, _, err = link.EnsureVeth(h.Overlay, h.Namespace, link.Veth{
		Name: legPort, Bridge: bridge, IfName: legName, MTU: mtu, MAC: model.MACFromAddr(node).Leg(), IPv6: h.IPv6, Told: true,
	})
	if err != nil {
		return err
	}
	if err := kernel.SetSysctls(h.Namespace, legSysctls()...); err != nil {
		return err
	}
	if err := h.routeAliases(); err != nil {
		return err
	}
	return h.Lead(legPort)
}

// legSysctls are for clients at 127.0.0.1.
func legSysctls() []kernel.Sysctl {
	return []kernel.Sysctl{{Key: "net/ipv4/conf/" + legName + "/route_localnet", Value: "1"}}
}

// bridge gives that of the ingress network which the sandbox is plugged into,
// and the network's MTU.
func (h *Host) bridge(sandbox *kernel.Namespace) (index, mtu int, err error) {
	_, end, err := linkIn(sandbox, h.Network.Interface)
	if err != nil {
		return 0, 0, err
	}
	network, err := h.Overlay.Netlink()
	if err != nil {
		return 0, 0, err
	}
	port, err := network.LinkByIndex(end.Attrs().ParentIndex)
	if err != nil {
		return 0, 0, fmt.Errorf("look up the ingress sandbox's port: %w", err)
	}
	if port.Attrs().MasterIndex == 0 {
		return 0, 0, fmt.Errorf("the ingress sandbox's port %s is on no bridge", port.Attrs().Name)
	}
	return port.Attrs().MasterIndex, port.Attrs().MTU, nil
}

func (h *Host) routeAliases() error {
	nl, l, err := linkIn(h.Namespace, legName)
	if err != nil {
		return err
	}
	h.leg = l.Attrs().Index
	if err := nl.LinkSetARPOff(l); err != nil {
		return fmt.Errorf("turn ARP off on %s: %w", legName, err)
	}
	for _, family := range families(h.IPv6) {
		hop, aliases := aliasHop(family)
		if err := setNeighbor(nl, l, hop, model.MACFromAddr(netip.IPv4Unspecified()).HardwareAddr()); err != nil {
			return err
		}
		err = nl.RouteReplace(&netlink.Route{
			LinkIndex: l.Attrs().Index, Dst: ipNet(aliases), Gw: hop.AsSlice(), Flags: int(netlink.FLAG_ONLINK), Priority: aliasMetric,
		})
		if err != nil {
			return fmt.Errorf("set route to %s: %w", aliases, err)
		}
	}
	return nil
}

// othersRoute finds a use of the aliases' addresses that is not this mesh's:
// they are nobody's by the book, but some have them. Routes are looked at one by
// one, for a router may have a million.
func (h *Host) othersRoute() error {
	nl, err := h.Namespace.Netlink()
	if err != nil {
		return err
	}
	for _, family := range families(h.IPv6) {
		_, aliases := aliasHop(family)
		var found error
		err := nl.RouteListFilteredIter(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			if usesAliases(r, aliases) {
				found = fmt.Errorf("%s, whose addresses the mesh has for tasks, are in use on this host: route to %s", aliases, r.Dst)
			}
			return found == nil
		})
		switch {
		case found != nil:
			return found
		case err != nil && !errors.Is(err, netlink.ErrDumpInterrupted):
			return fmt.Errorf("list routes: %w", err)
		}
	}
	return nil
}

// usesAliases reports whether a route, not to everywhere, is to any of the
// aliases, and not the leg's.
func usesAliases(r netlink.Route, aliases netip.Prefix) bool {
	if r.Dst == nil || (r.Priority == aliasMetric && r.Table == unix.RT_TABLE_MAIN) {
		return false
	}
	addr, _ := netip.AddrFromSlice(r.Dst.IP)
	ones, _ := r.Dst.Mask.Size()
	return ones > 0 && addr.IsValid() && netip.PrefixFrom(addr, ones).Overlaps(aliases)
}

// legDrift compares the kernel with what connectLeg has made.
func (h *Host) legDrift() ([]Drift, error) {
	if !h.plugged() {
		return nil, nil
	}
	if why := h.othersRoute(); why != nil {
		return []Drift{{What: why.Error()}}, nil //nolint:nilerr // it is what was looked for
	}
	there, err := up(h.Namespace, legName)
	if err != nil {
		return nil, err
	}
	if !there {
		return []Drift{{What: "the link " + legName + " to the ingress network is missing or down"}}, nil
	}
	out, err := sysctlDrift(h.Namespace, legSysctls())
	if err != nil {
		return nil, err
	}
	routed, err := h.aliasesRouted()
	if err != nil {
		return nil, err
	}
	if !routed {
		out = append(out, Drift{What: "a route to the tasks' aliases by " + legName + " is missing"})
	}
	led, err := h.led()
	if err == nil && !led {
		out = append(out, Drift{What: "nftables table " + legPort + " of the ingress network, which leads to tasks, is missing"})
	}
	return out, err
}

// led reports whether what comes by the leg is led to tasks.
func (h *Host) led() (bool, error) {
	rules, err := nft.Open(h.Overlay)
	if err != nil {
		return false, err
	}
	have, err := rules.List(nft.Table{Name: legPort, Device: legPort})
	return len(have.Rules) > 0, errors.Join(err, rules.Close())
}

func (h *Host) aliasesRouted() (bool, error) {
	nl, err := h.Namespace.Netlink()
	if err != nil {
		return false, err
	}
	for _, family := range families(h.IPv6) {
		_, aliases := aliasHop(family)
		list, err := nl.RouteListFiltered(family, &netlink.Route{Dst: ipNet(aliases)}, netlink.RT_FILTER_DST)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return false, fmt.Errorf("list routes: %w", err)
		}
		if len(list) == 0 {
			return false, nil
		}
	}
	return true, nil
}
