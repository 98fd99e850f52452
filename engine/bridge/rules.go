package bridge

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/nft"
)

// forwarding makes the host a router.
func forwarding(nw model.Network) []kernel.Sysctl {
	list := []kernel.Sysctl{{Key: "net/ipv4/ip_forward", Value: "1"}}
	if nw.IPv6 {
		list = append(list,
			kernel.Sysctl{Key: "net/ipv6/conf/default/forwarding", Value: "1"},
			kernel.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"})
	}
	return list
}

// bridgeSysctls let a client on the host reach a published port at 127.0.0.1,
// and keep routers' advertisements of containers away.
func bridgeSysctls(bridge string, nw model.Network) []kernel.Sysctl {
	v6 := "net/ipv6/conf/" + bridge + "/"
	disabled := "1"
	if nw.IPv6 {
		disabled = "0"
	}
	return []kernel.Sysctl{
		{Key: "net/ipv4/conf/" + bridge + "/route_localnet", Value: "1"},
		{Key: v6 + "disable_ipv6", Value: disabled, Optional: !nw.IPv6},
		{Key: v6 + "accept_ra", Value: "0", Optional: true},
		{Key: v6 + "accept_dad", Value: "0", Optional: true},
	}
}

// gateways gives the bridge's own addresses.
func gateways(nw model.Network) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range nw.Subnets {
		if s.Gateway.IsValid() {
			out = append(out, netip.PrefixFrom(s.Gateway, s.Prefix.Bits()))
		}
	}
	return out
}

// rulesSeeFrames reports whether frames from port to port of a bridge meet the
// table, which they do where br_netfilter is loaded and on. A redirected frame
// is then bridged to where it is redirected to, and not routed, so that ports
// must not be isolated from each other.
func (d *Driver) rulesSeeFrames() bool {
	on, err := kernel.GetSysctl(d.host, "net/bridge/bridge-nf-call-iptables")
	return err == nil && on == "1"
}

// ruleSet is what the table says of one network.
type ruleSet struct {
	bridge    string
	spec      model.Network
	settings  settings
	published []redirection
}

// redirection is one published port of an endpoint with an address of the
// host's family.
type redirection struct {
	model.PublishedPort
	to    netip.AddrPort
	owner string // the endpoint's name
}

// writeRules writes the table from what the networks are now. changed is
// locked by the caller; the others are as they were written last.
func (d *Driver) writeRules(changed *network) error {
	d.rules.Lock()
	defer d.rules.Unlock()
	changed.rules = changed.describe()
	var sets []ruleSet
	d.mu.Lock()
	for _, n := range d.networks {
		if n.rules != nil {
			sets = append(sets, *n.rules)
		}
	}
	d.mu.Unlock()
	if len(sets) == 0 {
		d.written = false
		return d.table.Delete(tableName)
	}
	slices.SortFunc(sets, func(a, b ruleSet) int { return strings.Compare(a.bridge, b.bridge) })
	write := d.table.Replace
	if d.written {
		write = d.table.Refill
	}
	err := write(table(sets))
	d.written = err == nil
	return err
}

func (d *Driver) deleteTable() error {
	d.rules.Lock()
	defer d.rules.Unlock()
	d.written = false
	return d.table.Delete(tableName)
}

// describe gives what the table is to say of n; nil when it is not there.
func (n *network) describe() *ruleSet {
	if n.bridge == 0 {
		return nil
	}
	set := &ruleSet{bridge: n.settings.bridge, spec: n.spec, settings: n.settings}
	for _, ep := range n.endpoints {
		for _, p := range ep.Ports {
			set.published = append(set.published, redirections(ep.Endpoint, p)...)
		}
	}
	slices.SortFunc(set.published, func(a, b redirection) int {
		// An address of its own goes before all addresses.
		if a.HostIP.IsUnspecified() != b.HostIP.IsUnspecified() {
			if b.HostIP.IsUnspecified() {
				return -1
			}
			return 1
		}
		return strings.Compare(a.to.String()+a.Proto, b.to.String()+b.Proto)
	})
	return set
}

// redirections gives where the kernel can lead a port to: between addresses of
// one family. The relay does the rest.
func redirections(ep model.Endpoint, p model.PublishedPort) []redirection {
	routed := !p.HostIP.IsValid()
	var out []redirection
	for _, a := range addrs(ep) {
		if routed || a.Addr().Is4() == p.HostIP.Is4() {
			out = append(out, redirection{p, netip.AddrPortFrom(a.Addr(), p.Port.Port), ep.Name})
		}
	}
	return out
}

// table gives the whole table. A packet to a published port is redirected and
// so may be forwarded; of the others those pass that begin at a container or
// answer one.
func table(sets []ruleSet) nft.Table {
	publish := nft.Chain{Name: "publish"}
	guard := nft.Chain{Name: "guard", Kind: nft.Filter, Hook: nft.Prerouting, Priority: nft.PriorityRaw}
	source := nft.Chain{Name: "source", Kind: nft.NAT, Hook: nft.Postrouting, Priority: nft.PrioritySrcNAT}
	isolate := nft.Chain{Name: "isolate"}
	forward := nft.Chain{Name: "forward", Kind: nft.Filter, Hook: nft.Forward, Priority: nft.PriorityFilter}
	forward.Rules = append(forward.Rules, nft.When(nft.Answers(), nft.Accept()), nft.When(nft.Redirected(), nft.Accept()))
	for _, s := range sets {
		// The host's loopback addresses are open to its bridges (see
		// bridgeSysctls), but not to who is behind them.
		guard.Rules = append(guard.Rules, nft.When(nft.InFrom(s.bridge), nft.To(netip.MustParsePrefix("127.0.0.0/8")), nft.Drop()))
		publish.Rules = append(publish.Rules, s.redirects()...)
		source.Rules = append(source.Rules, s.masquerades()...)
		forward.Rules = append(forward.Rules, s.forwards()...)
		isolate.Rules = append(isolate.Rules, nft.When(nft.OutBy(s.bridge), nft.Drop()))
	}
	// Nothing leads from ::1 out of a host; the relay answers there.
	publish.Rules = append([]nft.Rule{nft.When(nft.ToAddr(netip.IPv6Loopback()), nft.Return())}, publish.Rules...)
	toHost := []nft.Rule{nft.When(nft.ToThisHost(), nft.Jump(publish.Name))}
	return nft.Table{Name: tableName, Chains: []nft.Chain{
		guard, publish, isolate,
		{Name: "arriving", Kind: nft.NAT, Hook: nft.Prerouting, Priority: nft.PriorityDstNAT, Rules: toHost},
		{Name: "local", Kind: nft.NAT, Hook: nft.Output, Priority: nft.PriorityDstNAT, Rules: toHost},
		forward, source,
	}}
}

func (s ruleSet) redirects() []nft.Rule {
	var out []nft.Rule
	for _, r := range s.published {
		proto := protocols()[r.Proto]
		switch {
		case !r.HostIP.IsValid(): // routed, not redirected
		case r.HostIP.IsUnspecified():
			out = append(out, nft.When(nft.Family(r.HostIP), nft.Transport(proto, r.HostPort), nft.Redirect(r.to)))
		default:
			out = append(out, nft.When(nft.ToAddr(r.HostIP), nft.Transport(proto, r.HostPort), nft.Redirect(r.to)))
		}
	}
	return out
}

// masquerades hides containers behind the host outside their network, and
// gives a redirected flow whose both ends are on it a source that leads the
// answers back through the host.
func (s ruleSet) masquerades() []nft.Rule {
	var out []nft.Rule
	for _, sub := range s.spec.Subnets {
		routed := s.settings.routed4
		if sub.Prefix.Addr().Is6() {
			routed = s.settings.routed6
		}
		if s.settings.masquerade && !routed && !s.spec.Internal {
			out = append(out, nft.When(nft.From(sub.Prefix), nft.OutNotBy(s.bridge), nft.Masquerade()))
		}
		out = append(out, nft.When(nft.From(sub.Prefix), nft.OutBy(s.bridge), nft.Redirected(), nft.Masquerade()))
	}
	return append(out, nft.When(nft.From(netip.MustParsePrefix("127.0.0.0/8")), nft.OutBy(s.bridge), nft.Masquerade()))
}

func (s ruleSet) forwards() []nft.Rule {
	var out []nft.Rule
	for _, r := range s.published {
		if !r.HostIP.IsValid() {
			out = append(out, nft.When(nft.OutBy(s.bridge), nft.ToAddr(r.to.Addr()), nft.Transport(protocols()[r.Proto], r.to.Port()), nft.Accept()))
		}
	}
	among := nft.Accept()
	if !s.settings.icc {
		among = nft.Drop()
	}
	out = append(out, nft.When(nft.InFrom(s.bridge), nft.OutBy(s.bridge), among))
	if s.spec.Internal {
		out = append(out, nft.When(nft.InFrom(s.bridge), nft.Drop()))
	} else {
		out = append(out, nft.When(nft.InFrom(s.bridge), nft.Jump("isolate")))
	}
	if s.settings.routed4 || s.settings.routed6 {
		for _, sub := range s.spec.Subnets {
			if echo, ok := echoRequest(sub.Prefix.Addr(), s.settings); ok {
				out = append(out, nft.When(nft.OutBy(s.bridge), nft.Family(sub.Prefix.Addr()), nft.Protocol(echo), nft.Accept()))
			}
		}
	}
	return append(out, nft.When(nft.OutBy(s.bridge), nft.Drop()))
}

// echoRequest gives the ICMP of a routed family: who is reachable by its own
// address answers pings, as in Docker.
func echoRequest(a netip.Addr, s settings) (byte, bool) {
	if a.Is4() {
		return unix.IPPROTO_ICMP, s.routed4
	}
	return unix.IPPROTO_ICMPV6, s.routed6
}
