package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/nft"
)

// What answers to clients take in a task's namespace: routing tables whose only
// gateway is a neighbor nobody has, for the frame's destination is written
// later.
const (
	answerTable    = 7766
	sourceTable    = 7767
	aliasTable     = 7768
	arrivalRule    = 8   // preference of the rule for what comes to an alias
	aliasRule      = 9   // of the one for what goes from an alias
	answerRule     = 10  // of the one for marked packets
	elsewhereRule  = 11  // of the one for what goes to others at aliases' addresses
	sourceRule     = 20  // of those for datagrams from published ports
	localRule      = 100 // of the rule for the namespace's own addresses
	firstRule      = 0   // which is the kernel's own place for it
	egressPriority = 0
)

// nextHop is the neighbor of both families.
func nextHop() (v4, v6 netip.Addr, mac net.HardwareAddr) {
	return netip.AddrFrom4([4]byte{169, 254, 184, 254}), netip.MustParseAddr("fe80::77:6566:74"), net.HardwareAddr{2, 0x42, 0, 0, 0, 0}
}

// Target is a published port and the one the task has for it.
type Target struct {
	Port
	To uint16
}

// Task is a container with published ports.
type Task struct {
	Place
	Ports  []Target
	Egress Egress
}

// Egress is a task's way out.
type Egress struct {
	Interface string // empty: none
	Addr      netip.Prefix
	Gateway   netip.Addr
	GatewayV6 netip.Addr // zero: none
}

// SetTask makes a sandbox answer at its published ports. It may be repeated,
// and has to be when the sandbox's networks have changed.
func SetTask(sandbox *kernel.Namespace, rules *nft.Conn, t Task) error {
	err := kernel.SetSysctls(sandbox, taskSysctls(t)...)
	if err == nil {
		err = setAnswers(sandbox, t)
	}
	if err == nil {
		err = setAliases(sandbox, t)
	}
	if err == nil {
		err = setSource(sandbox, t)
	}
	if err == nil {
		err = setTaskTables(sandbox, rules, t)
	}
	if err != nil {
		return fmt.Errorf("published ports of %s: %w", sandbox.Path(), err)
	}
	return nil
}

// taskSysctls lets packets in whose source leads elsewhere, or is an address of
// the sandbox's own: those of docker_gwbridge are the same on every host.
// Sockets take the mark of the flow they were opened by.
func taskSysctls(t Task) []kernel.Sysctl {
	conf := "net/ipv4/conf/" + t.Interface + "/"
	return []kernel.Sysctl{
		{Key: "net/ipv4/conf/all/rp_filter", Value: "0"},
		{Key: conf + "rp_filter", Value: "0"},
		{Key: conf + "accept_local", Value: "1"},
		{Key: "net/ipv4/tcp_fwmark_accept", Value: "1"},
		{Key: "net/ipv4/fwmark_reflect", Value: "1"},
		{Key: "net/ipv6/fwmark_reflect", Value: "1", Optional: true},
	}
}

// marks gives the value and mask of marks that are addresses within p.
func marks(p netip.Prefix) (value, mask uint32) {
	a := p.Masked().Addr().As4()
	return binary.NativeEndian.Uint32(a[:]), binary.NativeEndian.Uint32(net.CIDRMask(p.Bits(), 32))
}

// setAnswers leads marked packets out by the ingress network.
func setAnswers(sandbox *kernel.Namespace, t Task) error {
	h, l, err := linkIn(sandbox, t.Interface)
	if err != nil {
		return err
	}
	v4, v6, mac := nextHop()
	hops := map[int]netip.Addr{unix.AF_INET: v4, unix.AF_INET6: v6}
	for _, family := range families(t.AddrV6.IsValid()) {
		hop := hops[family]
		if err := setNeighbor(h, l, hop, mac); err != nil {
			return err
		}
		err = h.RouteReplace(&netlink.Route{
			LinkIndex: l.Attrs().Index, Family: family, Table: answerTable, Gw: hop.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
		})
		if err != nil {
			return fmt.Errorf("set route by %s: %w", hop, err)
		}
		if err := setRule(h, family, t.Addr); err != nil {
			return err
		}
	}
	return yieldLocal(h)
}

// setRule sends what begins here and is marked by that route.
func setRule(h *netlink.Handle, family int, ingress netip.Prefix) error {
	r := netlink.NewRule()
	value, mask := marks(ingress)
	r.Family, r.Priority, r.Table, r.IifName, r.Mark, r.Mask = family, answerRule, answerTable, "lo", value, &mask
	return addRule(h, r)
}

func addRule(h *netlink.Handle, r *netlink.Rule) error {
	if err := h.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("set routing rule: %w", err)
	}
	return nil
}

// yieldLocal puts the sandbox's own IPv4 addresses behind marked packets: an
// answer to a client that has one of them is not for here.
func yieldLocal(h *netlink.Handle) error {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table = unix.AF_INET, localRule, unix.RT_TABLE_LOCAL
	if err := addRule(h, r); err != nil {
		return err
	}
	r.Priority = firstRule
	if err := h.RuleDel(r); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("move routing rule: %w", err)
	}
	return nil
}

// setSource makes the task's address on the ingress network the source of
// datagrams from published ports that name none: a server that listens at all
// addresses leaves the choice to the route, and one that goes by another
// address is an answer nobody recognizes. Only what is on link elsewhere takes
// the ordinary routes, as do answers to clients of the task's other networks.
func setSource(sandbox *kernel.Namespace, t Task) error {
	h, err := sandbox.Netlink()
	if err != nil {
		return err
	}
	v4, v6, _ := nextHop()
	for _, f := range []struct {
		number    int
		addr      netip.Prefix
		out, hop  netip.Addr
		multicast string
	}{
		{number: unix.AF_INET, addr: t.Addr, out: t.Egress.Gateway, hop: v4, multicast: "224.0.0.0/4"},
		{number: unix.AF_INET6, addr: t.AddrV6, out: t.Egress.GatewayV6, hop: v6, multicast: "ff00::/8"},
	} {
		if !f.addr.IsValid() {
			continue
		}
		iface, hop := t.Interface, f.hop
		if f.out.IsValid() {
			iface, hop = t.Egress.Interface, f.out
		}
		own, err := onLink(h, f.number, t)
		if err != nil {
			return err
		}
		own = append(own, netip.MustParsePrefix(f.multicast))
		if err := setSourceRoutes(h, iface, f.addr.Addr(), hop, own); err != nil {
			return err
		}
		for _, p := range t.Ports {
			if p.Proto == unix.IPPROTO_UDP {
				if err := addRule(h, sourceRuleOf(f.number, p.To)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func sourceRuleOf(family int, port uint16) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.IifName = family, sourceRule, sourceTable, "lo"
	r.IPProto, r.Sport = unix.IPPROTO_UDP, netlink.NewRulePortRange(port, port)
	return r
}

// onLink gives the destinations the sandbox reaches directly, but not those of
// the way out: a client may have an address of that network.
func onLink(h *netlink.Handle, family int, t Task) ([]netip.Prefix, error) {
	routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	egress := -1
	if l, err := h.LinkByName(t.Egress.Interface); err == nil {
		egress = l.Attrs().Index
	}
	out := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if family == unix.AF_INET6 {
		out = []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fe80::/10")}
	}
	for _, r := range routes {
		if r.Dst == nil || r.LinkIndex == egress {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		if ones, _ := r.Dst.Mask.Size(); ok && ones > 0 {
			out = append(out, netip.PrefixFrom(addr.Unmap(), ones))
		}
	}
	return out, nil
}

// setSourceRoutes leads everything by hop, but for what own has, which goes on
// to the tables that follow.
func setSourceRoutes(h *netlink.Handle, iface string, source, hop netip.Addr, own []netip.Prefix) error {
	l, err := h.LinkByName(iface)
	if err != nil {
		return fmt.Errorf("look up %s: %w", iface, err)
	}
	all := &netlink.Route{LinkIndex: l.Attrs().Index, Gw: hop.AsSlice(), Src: source.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
	return setRoutes(h, sourceTable, all, own)
}

// setRoutes gives a table its one way, and what goes on to the tables that
// follow.
func setRoutes(h *netlink.Handle, table int, all *netlink.Route, own []netip.Prefix) error {
	all.Table = table
	if err := h.RouteReplace(all); err != nil {
		return fmt.Errorf("set the way of routing table %d: %w", table, err)
	}
	for _, p := range own {
		if err := h.RouteReplace(&netlink.Route{Table: table, Type: unix.RTN_THROW, Dst: ipNet(p.Masked())}); err != nil {
			return fmt.Errorf("set route to %s: %w", p, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func setTaskTables(sandbox *kernel.Namespace, rules *nft.Conn, t Task) error {
	_, l, err := linkIn(sandbox, t.Interface)
	if err != nil {
		return err
	}
	ports := nft.Set{Name: "published", Key: []nft.Type{nft.Proto, nft.PortNumber}}
	for _, p := range t.Ports {
		ports.Elements = append(ports.Elements, nft.Element{Key: p.key()})
	}
	from := nft.InFromIndex(l.Attrs().Index)
	published := nft.When(from, nft.In(ports, nft.PacketProto(), nft.PacketPort()))
	target := nft.Chain{Name: "target", Kind: nft.NAT, Hook: nft.Prerouting, Priority: nft.PriorityDstNAT}
	for _, p := range t.Ports {
		for _, addr := range []netip.Prefix{t.Addr, t.AddrV6} {
			if addr.IsValid() && p.To != p.Published {
				target.Rules = append(target.Rules, nft.When(from, nft.ToAddr(addr.Addr()), nft.Transport(p.Proto, p.Published), nft.Redirect(netip.AddrPortFrom(addr.Addr(), p.To))))
			}
		}
	}
	source := nft.Chain{Name: "source", Kind: nft.NAT, Hook: nft.Postrouting, Priority: nft.PrioritySrcNAT}
	if e := t.Egress; e.Interface != "" {
		source.Rules = []nft.Rule{nft.When(nft.OutBy(e.Interface), nft.From(netip.PrefixFrom(t.Addr.Addr(), t.Addr.Addr().BitLen())), nft.Source(e.Addr.Addr()))}
	}
	arriving, untracked, targets := aliasChains(t)
	err = rules.Replace(nft.Table{Name: tableName, Sets: []nft.Set{ports, targets}, Chains: []nft.Chain{
		arriving, untracked,
		{Name: "raw", Kind: nft.Filter, Hook: nft.Prerouting, Priority: nft.PriorityRaw, Rules: []nft.Rule{
			nft.When(from, nft.Jump(arriving.Name)),
		}},
		{Name: "flows", Kind: nft.Filter, Hook: nft.Prerouting, Priority: nft.PriorityMangle, Rules: []nft.Rule{
			nft.When(nft.AnswersOrUntracked(), nft.Accept()), // as most are
			nft.When(published, nft.New(), nft.MarkFlowBySender(), nft.Accept()),
			// Nothing else of the task's is for others of the ingress network,
			// and it is no way to the task's other networks.
			nft.When(from, nft.New(), nft.Protocol(unix.IPPROTO_ICMP), nft.Accept()),
			nft.When(from, nft.New(), nft.Protocol(unix.IPPROTO_ICMPV6), nft.Accept()),
			nft.When(from, nft.New(), nft.Drop()),
		}},
		{Name: "forward", Kind: nft.Filter, Hook: nft.Forward, Priority: nft.PriorityFilter, Rules: []nft.Rule{
			nft.When(from, nft.Drop()),
			nft.When(nft.OutBy(t.Interface), nft.Drop()),
		}},
		target,
		// After routing, which is for answers to heed and not for these.
		{Name: "arrived", Kind: nft.Filter, Hook: nft.Input, Priority: nft.PriorityMangle, Rules: []nft.Rule{
			nft.When(nft.FlowMarked(), from, nft.MarkAsFlow()),
		}},
		{Name: "answers", Kind: nft.Route, Hook: nft.Output, Priority: nft.PriorityMangle, Rules: []nft.Rule{
			nft.When(nft.Replying(), nft.FlowMarked(), nft.MarkAsFlow()),
		}},
		source,
	}})
	if err != nil {
		return err
	}
	if err := rules.ZoneBySender(tableName, arriving.Name, ports); err != nil {
		return err
	}
	return rules.Replace(nft.Table{Name: tableName, Device: t.Interface, Chains: []nft.Chain{
		{Name: "back", Kind: nft.Filter, Hook: nft.Egress, Priority: egressPriority, Rules: []nft.Rule{
			nft.When(nft.Marked(), nft.SendToMark()),
		}},
	}})
}
