package overlay_test

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"weft/engine/model"
	"weft/engine/netnstest"
)

func TestTrafficAcrossHosts(t *testing.T) {
	ns := nodes(t, 3)
	nw := green()
	all := map[*node][]*container{}
	for i, n := range ns {
		n.ensure(t, nw)
		last := string(rune('1' + i))
		// One in each subnet on each host.
		all[n] = []*container{n.run(t, nw, "10.2.1.1"+last), n.run(t, nw, "10.2.2.1"+last)}
	}
	introduce(t, nw, all)
	for _, from := range ns {
		for _, a := range all[from] {
			for _, to := range ns {
				for _, b := range all[to] {
					if a != b {
						reach(t, a, b)
					}
				}
			}
		}
	}
}

func TestFullSizedPacketsWithoutFragments(t *testing.T) {
	for _, tt := range []struct {
		name     string
		underlay int
		v6       bool // underlay
		want     int
	}{
		{"IPv4 underlay", 1500, false, 1450},
		{"IPv6 underlay", 1500, true, 1430},
		{"jumbo frames", 9000, false, 8950},
		{"small underlay", 1400, false, 1350},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ns []*node
			for _, h := range netnstest.Hosts(t, 2, tt.underlay) {
				vtep := h.Addr
				if tt.v6 {
					vtep = h.AddrV6
				}
				ns = append(ns, start(t, h, vtep))
			}
			nw := green()
			all := map[*node][]*container{}
			for i, addr := range []string{"10.2.1.11", "10.2.1.12"} {
				if got := ns[i].driver.MTU(nw); got != tt.want {
					t.Fatalf("MTU is %d, want %d", got, tt.want)
				}
				ns[i].ensure(t, nw)
				all[ns[i]] = []*container{ns[i].run(t, nw, addr)}
			}
			introduce(t, nw, all)
			a, b := all[ns[0]][0], all[ns[1]][0]
			const udp, ipv4, ipv6 = 8, 20, 40
			must(t, datagram(t, a, b, b.Addr.Addr(), tt.want-ipv4-udp))
			must(t, datagram(t, a, b, b.AddrV6.Addr(), tt.want-ipv6-udp))
			if err := datagram(t, a, b, b.Addr.Addr(), tt.want-ipv4-udp+1); !errors.Is(err, syscall.EMSGSIZE) {
				t.Errorf("a byte more: %v, want EMSGSIZE", err)
			}
		})
	}
}

func TestTwoNetworksInOneSandbox(t *testing.T) {
	ns := nodes(t, 2)
	first, second := blue(), green()
	for _, n := range ns {
		n.ensure(t, first)
		n.ensure(t, second)
	}
	both := ns[0].run(t, first, "10.1.0.5")
	onFirst := *both
	ns[0].join(t, both, second, "10.2.1.5")
	if onFirst.IfName != "eth0" || both.IfName != "eth1" {
		t.Errorf("interfaces are %s and %s, want eth0 and eth1", onFirst.IfName, both.IfName)
	}
	a, b := ns[1].run(t, first, "10.1.0.6"), ns[1].run(t, second, "10.2.2.6")
	introduce(t, first, map[*node][]*container{ns[0]: {&onFirst}, ns[1]: {a}})
	introduce(t, second, map[*node][]*container{ns[0]: {both}, ns[1]: {b}})
	reach(t, a, &onFirst)
	reach(t, b, both)
	if _, err := dial(a.ns, listen(t, b.ns, b.Addr.Addr()), patience); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("from one network to the other: %v, want ENETUNREACH", err)
	}
	if routes := netnstest.Exec(t, both.ns, "ip", "route"); strings.Contains(routes, "default") {
		t.Errorf("overlay endpoints must not give a default route:\n%s", routes)
	}
}

func TestJoinFillsInTheEndpoint(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := green()
	n.ensure(t, nw)
	c := n.run(t, nw, "10.2.2.7")
	want := model.Endpoint{
		ID: c.ID, NetworkID: nw.ID, Name: c.Name, Sandbox: c.Sandbox, IfName: "eth0",
		Addr: netip.MustParsePrefix("10.2.2.7/24"), AddrV6: netip.MustParsePrefix("fd02:2::a02:207/64"),
		Gateway: netip.MustParseAddr("10.2.2.1"), GatewayV6: netip.MustParseAddr("fd02:2::1"),
		MAC: model.MAC{0x02, 0x42, 10, 2, 2, 7},
	}
	if got := n.driver.Endpoints(nw.ID); len(got) != 1 || !equalEndpoints(got[0], want) || !equalEndpoints(c.Endpoint, want) {
		t.Errorf("endpoint is\n%+v\n%+v, want\n%+v", c.Endpoint, got, want)
	}
	if lo := netnstest.Exec(t, c.ns, "ip", "-o", "link", "show", "lo"); !strings.Contains(lo, "UP") {
		t.Errorf("lo is down: %s", lo)
	}
	if addrs := netnstest.Exec(t, c.ns, "ip", "addr"); strings.Contains(addrs, "tentative") {
		t.Errorf("an address is tentative:\n%s", addrs)
	}
}

func equalEndpoints(a, b model.Endpoint) bool {
	a.Aliases, a.TaskAliases, b.Aliases, b.TaskAliases = nil, nil, nil, nil
	return a.ID == b.ID && a.NetworkID == b.NetworkID && a.Name == b.Name && a.Sandbox == b.Sandbox && a.IfName == b.IfName &&
		a.Addr == b.Addr && a.AddrV6 == b.AddrV6 && a.Gateway == b.Gateway && a.GatewayV6 == b.GatewayV6 && a.MAC == b.MAC
}

func TestNothingIsLeft(t *testing.T) {
	h := netnstest.Hosts(t, 1, 0)[0]
	n := start(t, h, h.Addr)
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
	before := netnstest.Take(t, n.Dir, n.NS, ns)
	nw := green()
	for round := range 3 { // Remove, then Ensure at once
		n.ensure(t, nw)
		c := &container{ns: ns}
		n.join(t, c, nw, "10.2.1.9")
		must(t, n.driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{{Peer: remote("a", "10.2.1.20", "10.98.0.9")}}))
		if err := n.driver.Remove(t.Context(), nw.ID); err == nil || err.Error() != "network green has active endpoints (c-10.2.1.9)" {
			t.Fatalf("Remove with an endpoint: %v", err)
		}
		must(t, n.driver.Leave(t.Context(), nw.ID, c.ID))
		must(t, n.driver.Leave(t.Context(), nw.ID, c.ID))
		must(t, n.driver.Remove(t.Context(), nw.ID))
		must(t, n.driver.Remove(t.Context(), nw.ID))
		if diff := before.Diff(netnstest.Take(t, n.Dir, n.NS, ns)); diff != "" {
			t.Fatalf("round %d left:\n%s", round, diff)
		}
	}
	if left := n.driver.Networks(); len(left) != 0 {
		t.Errorf("networks present: %v", left)
	}
}

func remote(idPart, addr, vtep string) model.Peer {
	a := netip.MustParseAddr(addr)
	return model.Peer{
		EndpointID: id(idPart), Addr: netip.PrefixFrom(a, 24), MAC: model.MACFromAddr(a), VTEP: netip.MustParseAddr(vtep),
	}
}

func TestSandboxDiesBeforeLeave(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := blue()
	n.ensure(t, nw)
	c := n.run(t, nw, "10.1.0.9")
	c.end()
	must(t, n.driver.Leave(t.Context(), nw.ID, c.ID))
	if _, err := n.driver.Join(t.Context(), c.Endpoint); err == nil || !strings.Contains(err.Error(), "sandbox of endpoint c-10.1.0.9") {
		t.Errorf("Join to a sandbox that is gone: %v", err)
	}
	must(t, n.driver.Remove(t.Context(), nw.ID))
}

func TestNamespaceFileIsPutBack(t *testing.T) {
	ns := nodes(t, 2)
	nw := blue()
	a, b := ns[0], ns[1]
	a.ensure(t, nw)
	b.ensure(t, nw)
	ca, cb := a.run(t, nw, "10.1.0.2"), b.run(t, nw, "10.1.0.3")
	introduce(t, nw, map[*node][]*container{a: {ca}, b: {cb}})
	file := a.Dir + "/ov-" + nw.ID[:12]
	netnstest.Exec(t, a.NS, "umount", "-l", file)
	netnstest.Exec(t, a.NS, "rm", file)
	a.ensure(t, nw)
	reach(t, ca, cb)
	netnstest.Exec(t, a.NS, "umount", "-l", file) // it is a mount again
	a.ensure(t, nw)
	reach(t, cb, ca)
}
