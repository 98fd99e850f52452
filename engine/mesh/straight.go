package mesh

import (
	"errors"
	"fmt"
	"net"
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
// goes to an alias, whose frame is given its destination on the way out.
const (
	legName = "weft-mesh"
	legPort = "weftleg0"
	// aliasMetric is of the routes to the aliases: those of others come first.
	aliasMetric = 7768
)

// errNoNetwork says that a host was not told of the ingress network.
var errNoNetwork = errors.New("the ingress network is not known")

// hostLayout has tasks at their aliases and at their own ports: nothing is left
// to be translated there.
func (h *Host) hostLayout() layout {
	a, node := model.AliasesOf(h.Network.Addr), h.Network.Addr.Addr()
	return layout{v4: nft.AddrPortV4, v6: nft.AddrPortV6, places: func(_ Port, b Backend) (v4, v6 nft.Element) {
		v4 = nft.Element{Value: a.V4(node, b.Addr), Port: b.Target}
		if h.IPv6 && b.AddrV6.IsValid() {
			v6 = nft.Element{Value: a.V6(node, b.Addr), Port: b.Target}
		}
		return v4, v6
	}}
}

// straight gives the service whose flows go straight to its tasks, one without
// backends where they go by the ingress sandbox: those of other protocols,
// whose tasks are told of the client by marks, and those to tasks that are to
// see the node or know no aliases.
func (h *Host) straight(s Service) Service {
	none := Service{Port: s.Port}
	if h.indirect != nil || s.Proto != unix.IPPROTO_TCP || s.Masquerade {
		return none
	}
	place := h.hostLayout().places
	for _, b := range s.Backends {
		if v4, _ := place(s.Port, b); b.Foreign || b.Target == 0 || !v4.Value.IsValid() {
			return none
		}
	}
	return s
}

// Indirect tells why no flow goes straight to its task; nil: they do.
func (h *Host) Indirect() error { return h.indirect }

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
	return h.rules.Replace(h.legTable())
}

// legSysctls are for clients at 127.0.0.1.
func legSysctls() []kernel.Sysctl {
	return []kernel.Sysctl{{Key: "net/ipv4/conf/" + legName + "/route_localnet", Value: "1"}}
}

// bridge gives that of the ingress network which the sandbox is plugged into,
// and the network's MTU.
func (h *Host) bridge(sandbox *kernel.Namespace) (index, mtu int, err error) {
	inside, err := sandbox.Netlink()
	if err != nil {
		return 0, 0, err
	}
	network, err := h.Overlay.Netlink()
	if err != nil {
		return 0, 0, err
	}
	end, err := inside.LinkByName(h.Network.Interface)
	if err != nil {
		return 0, 0, fmt.Errorf("look up %s of the ingress sandbox: %w", h.Network.Interface, err)
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

// aliasHop is the neighbor that all aliases are behind, of both families. The
// last four bytes of its MAC address are written on the way out.
func aliasHop(family int) (hop netip.Addr, aliases netip.Prefix) {
	if family == unix.AF_INET6 {
		return netip.MustParseAddr("fe80::77:6566:75"), model.AliasesV6()
	}
	return netip.AddrFrom4([4]byte{169, 254, 184, 253}), model.AliasesV4()
}

func (h *Host) families() []int {
	if h.IPv6 {
		return []int{unix.AF_INET, unix.AF_INET6}
	}
	return []int{unix.AF_INET}
}

func (h *Host) routeAliases() error {
	nl, err := h.Namespace.Netlink()
	if err != nil {
		return err
	}
	l, err := nl.LinkByName(legName)
	if err != nil {
		return fmt.Errorf("look up %s: %w", legName, err)
	}
	h.leg = l.Attrs().Index
	if err := nl.LinkSetARPOff(l); err != nil {
		return fmt.Errorf("turn ARP off on %s: %w", legName, err)
	}
	for _, family := range h.families() {
		hop, aliases := aliasHop(family)
		if err := setNeighbor(nl, l, hop, net.HardwareAddr(model.MACFromAddr(netip.IPv4Unspecified()).HardwareAddr())); err != nil {
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

// othersRoute finds a use of the aliases' addresses that is not this mesh's:
// they are nobody's by the book, but some have them.
func (h *Host) othersRoute() error {
	nl, err := h.Namespace.Netlink()
	if err != nil {
		return err
	}
	for _, family := range h.families() {
		_, aliases := aliasHop(family)
		routes, err := nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst == nil || (r.Priority == aliasMetric && r.Table == unix.RT_TABLE_MAIN) {
				continue
			}
			addr, _ := netip.AddrFromSlice(r.Dst.IP)
			if ones, _ := r.Dst.Mask.Size(); ones > 0 && addr.IsValid() && netip.PrefixFrom(addr, ones).Overlaps(aliases) {
				return fmt.Errorf("%s, whose addresses the mesh has for tasks, are in use on this host: route to %s", aliases, r.Dst)
			}
		}
	}
	return nil
}

// legTable writes frames' destinations: the task is the end of its alias.
func (h *Host) legTable() nft.Table {
	a := model.AliasesOf(h.Network.Addr)
	there := nft.Chain{Name: "there", Kind: nft.Filter, Hook: nft.Egress, Priority: egressPriority, Rules: []nft.Rule{
		nft.When(nft.Carrying(unix.ETH_P_IP), nft.SendToAlias(nft.TargetV4, a.TaskMask(), a.Base()), nft.Accept()),
		nft.When(nft.Carrying(unix.ETH_P_IPV6), nft.SendToAlias(nft.TaskV6, ^uint32(0), 0)),
	}}
	return nft.Table{Name: tableName, Device: legName, Chains: []nft.Chain{there}}
}

// removeLeg takes away what connectLeg has made.
func (h *Host) removeLeg() error {
	return errors.Join(link.Remove(h.Namespace, legName), h.rules.DeleteOf(legName, tableName))
}

// legDrift compares the kernel with what connectLeg has made.
func (h *Host) legDrift() ([]Drift, error) {
	if h.indirect != nil {
		return nil, nil
	}
	if err := h.othersRoute(); err != nil {
		return []Drift{{What: err.Error()}}, nil
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
	rules, err := tableDrift(h.rules, h.legTable())
	return append(out, rules...), err
}

func (h *Host) aliasesRouted() (bool, error) {
	nl, err := h.Namespace.Netlink()
	if err != nil {
		return false, err
	}
	for _, family := range h.families() {
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

// Forget ends the flows that went straight to tasks that are gone, by their
// IPv4 addresses.
func (h *Host) Forget(tasks []netip.Addr) error {
	if h.indirect != nil {
		return nil
	}
	a, node := model.AliasesOf(h.Network.Addr), h.Network.Addr.Addr()
	var list []netip.Addr
	for _, t := range tasks {
		if v4 := a.V4(node, t); v4.IsValid() {
			list = append(list, v4, a.V6(node, t))
		}
	}
	return kernel.ForgetFlows(h.Namespace, list...)
}
