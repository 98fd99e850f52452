package overlay_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// ingress is an ingress network with IPv6.
func ingress() model.Network {
	return model.Network{ID: id("19e55"), Name: "ingress", Ingress: true, IPv6: true, Subnets: []model.Subnet{
		subnet("10.3.0.0/24", 4100), subnet("fd03::/64", 0),
	}}
}

// bridge is the name of a network's first bridge.
func bridge(nw model.Network) string { return "wbr" + nw.ID[:8] + "-0" }

// task joins a sandbox as a task of a published service, which answers at its
// aliases.
func (n *node) task(tb testing.TB, nw model.Network, addr string) *container {
	tb.Helper()
	ns, end := netnstest.Sandbox(tb)
	a := netip.MustParseAddr(addr)
	ep, err := n.driver.Join(tb.Context(), model.Endpoint{
		ID: id(a.String()[len("10.3.0."):]), NetworkID: nw.ID, Name: "t-" + addr, Addr: netip.PrefixFrom(a, a.BitLen()),
		Sandbox: ns.Path(), Ingress: []model.IngressPort{{Proto: "tcp", Target: 80, Published: 8080}},
	})
	must(tb, err)
	netnstest.Exec(tb, ns, "sh", "-ec", `
		ip route add local 240.0.0.0/4 dev lo
		ip route add local fd77:6566:74:1::/64 dev lo
		ip neigh add 169.254.184.253 lladdr 02:43:00:00:00:00 dev eth0
		ip neigh add fe80::77:6566:75 lladdr 02:43:00:00:00:00 dev eth0
		ip route add default via 169.254.184.253 dev eth0 onlink
		ip -6 route add default via fe80::77:6566:75 dev eth0`)
	return &container{ns: ns, end: end, Endpoint: ep}
}

// plug gives the host a leg in the network, and leads to tasks by it.
func (n *node) plug(tb testing.TB, nw model.Network, at netip.Prefix) {
	tb.Helper()
	network, err := kernel.Open(filepath.Join(n.Dir, "ov-"+nw.ID[:12]))
	must(tb, err)
	defer func() { must(tb, network.Close()) }()
	netnstest.Exec(tb, n.NS, "sh", "-ec", `
		ip link add weft-mesh address `+model.MACFromAddr(at.Addr()).Leg().String()+` type veth peer weftleg0 netns `+network.Path()+`
		ip addr add 198.51.100.1/32 dev weft-mesh
		ip addr add 2001:db8::1/128 dev weft-mesh nodad
		ip link set weft-mesh up
		ip neigh add 169.254.184.253 lladdr 02:42:00:00:00:00 dev weft-mesh
		ip neigh add fe80::77:6566:75 lladdr 02:42:00:00:00:00 dev weft-mesh
		ip route add 240.0.0.0/4 via 169.254.184.253 dev weft-mesh onlink src 198.51.100.1
		ip -6 route add fd77:6566:74:1::/64 via fe80::77:6566:75 dev weft-mesh src 2001:db8::1`)
	in(tb, n, nw, "ip", "link", "set", "weftleg0", "up", "master", bridge(nw))
	must(tb, n.driver.Lead(nw.ID, "weftleg0", at))
}

// meet tells a node of another one's place on the network.
func (n *node) meet(tb testing.TB, nw model.Network, other *node, at netip.Prefix) {
	tb.Helper()
	p := model.Peer{EndpointID: id(fmt.Sprintf("1e9%x", at.Addr().As4())), Addr: at, MAC: model.MACFromAddr(at.Addr()), VTEP: other.vtep}
	must(tb, n.driver.ApplyPeers(tb.Context(), nw.ID, []model.PeerChange{{Peer: p}}))
}

// A host's leg reaches tasks of its own and of other nodes by their aliases, and
// they the leg, without the bridge.
func TestLead(t *testing.T) {
	ns := nodes(t, 2)
	nw := ingress()
	all := map[*node][]*container{}
	for i, n := range ns {
		n.ensure(t, nw)
		all[n] = []*container{n.task(t, nw, []string{"10.3.0.5", "10.3.0.6"}[i])}
	}
	introduce(t, nw, all)
	places := []netip.Prefix{netip.MustParsePrefix("10.3.0.2/24"), netip.MustParsePrefix("10.3.0.3/24")}
	for i, n := range ns {
		n.plug(t, nw, places[i])
		ns[1-i].meet(t, nw, n, places[i])
	}
	asks := func(i int, to *container) error {
		aliases := model.AliasesOf(places[i])
		for _, a := range []netip.Addr{aliases.V4(places[i].Addr(), to.Addr.Addr()), aliases.V6(places[i].Addr(), to.Addr.Addr())} {
			server := listen(t, to.ns, netip.IPv6Unspecified())
			c, err := dial(ns[i].NS, netip.AddrPortFrom(a, server.Port()), patience)
			if err != nil {
				return err
			}
			if err := echo(c, "hello"); err != nil {
				return err
			}
			must(t, c.Close())
		}
		return nil
	}
	for _, bridges := range []string{"down", "up"} {
		for _, n := range ns {
			in(t, n, nw, "ip", "link", "set", bridge(nw), bridges)
		}
		for i := range ns {
			for _, n := range ns {
				if err := asks(i, all[n][0]); err != nil {
					t.Errorf("bridges %s: host %d to the task %s: %v", bridges, i, all[n][0].Addr, err)
				}
			}
		}
	}
	// A task that is gone is asked no more, and another at its place is: also
	// when the host's leg is gone, or another driver has begun without one.
	for _, c := range []struct {
		name  string
		leave func()
		from  []int
	}{
		{"leaving", func() { must(t, ns[0].driver.Leave(t.Context(), nw.ID, all[ns[0]][0].ID)) }, []int{0, 1}},
		{"without a leg", func() {
			netnstest.Exec(t, ns[0].NS, "ip", "link", "delete", "weft-mesh")
			must(t, ns[0].driver.Leave(t.Context(), nw.ID, all[ns[0]][0].ID))
		}, []int{1}},
		{"after a crash", func() {
			ns[0].plug(t, nw, places[0])
			ns[0].crash(t)
			must(t, ns[0].driver.Sweep(t.Context(), map[string]bool{nw.ID: true}, nil))
			ns[0].ensure(t, nw)
			introduce(t, nw, all)
			ns[0].meet(t, nw, ns[1], places[1])
		}, []int{1}},
	} {
		c.leave()
		all[ns[0]][0] = ns[0].task(t, nw, "10.3.0.5")
		for _, i := range c.from {
			if err := asks(i, all[ns[0]][0]); err != nil {
				t.Errorf("%s: host %d to the task that came after: %v", c.name, i, err)
			}
		}
	}
}
