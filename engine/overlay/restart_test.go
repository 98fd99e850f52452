package overlay_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// in runs a command inside the overlay namespace of a network on a node.
func in(tb testing.TB, n *node, nw model.Network, args ...string) string {
	tb.Helper()
	ns, err := kernel.Open(filepath.Join(n.Dir, "ov-"+nw.ID[:12]))
	must(tb, err)
	defer func() { must(tb, ns.Close()) }()
	return netnstest.Exec(tb, ns, args...)
}

// devices lists index, name and flags of what is in an overlay namespace.
func devices(tb testing.TB, n *node, nw model.Network) string {
	tb.Helper()
	return in(tb, n, nw, "ip", "-o", "link") +
		in(tb, n, nw, "ip", "-o", "addr")
}

// entries lists the peer entries in an overlay namespace, sorted.
func entries(tb testing.TB, n *node, nw model.Network) string {
	tb.Helper()
	out := in(tb, n, nw, "bridge", "fdb") + in(tb, n, nw, "ip", "neigh", "show", "nud", "permanent")
	var lines []string
	for line := range strings.Lines(out) {
		own := strings.Contains(line, "master") && strings.Contains(line, "permanent")
		if strings.Contains(line, " dev wvx") && !own {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func TestCrashIsSurvived(t *testing.T) {
	ns := nodes(t, 2)
	nw := green()
	all := map[*node][]*container{}
	for i, n := range ns {
		n.ensure(t, nw)
		all[n] = []*container{n.run(t, nw, fmt.Sprintf("10.2.%d.40", i+1))}
	}
	introduce(t, nw, all)
	a, b := all[ns[0]][0], all[ns[1]][0]
	open, err := dial(a.ns, listen(t, b.ns, b.Addr.Addr()), patience)
	must(t, err)
	defer func() { _ = open.Close() }()
	must(t, echo(open, "before"))
	before, peers := devices(t, ns[0], nw), entries(t, ns[0], nw)

	ns[0].crash(t)
	must(t, ns[0].driver.Sweep(t.Context(), map[string]bool{nw.ID: true}, map[string]bool{a.ID: true}))
	must(t, echo(open, "after the crash"))
	for range 2 { // the second time nothing is new to the driver
		ns[0].ensure(t, nw)
		again, err := ns[0].driver.Join(t.Context(), a.Endpoint)
		must(t, err)
		if !equalEndpoints(again, a.Endpoint) {
			t.Errorf("adopted endpoint is %+v, was %+v", again, a.Endpoint)
		}
		if after := devices(t, ns[0], nw); after != before {
			t.Errorf("devices were\n%s\nand are\n%s", before, after)
		}
		if after := entries(t, ns[0], nw); after != peers {
			t.Errorf("entries were\n%s\nand are\n%s", peers, after)
		}
		must(t, echo(open, "adopted"))
	}

	// A row that arrives does not cost the ones that have not arrived yet.
	must(t, ns[0].driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{{Peer: remote("aa", "10.2.1.77", "10.98.0.2")}}))
	must(t, echo(open, "with one row"))
	must(t, ns[0].driver.SetPeers(t.Context(), nw.ID, []model.Peer{ns[1].peerOf(b)}))
	must(t, echo(open, "with all rows"))
	if after := entries(t, ns[0], nw); after != peers {
		t.Errorf("entries were\n%s\nand are\n%s", peers, after)
	}
}

func TestAdoptedPeerGoesWithItsRow(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := blue()
	n.ensure(t, nw)
	none := entries(t, n, nw)
	p := remote("aa", "10.1.0.77", "10.98.0.2")
	must(t, n.driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{{Peer: p}}))
	if entries(t, n, nw) == none {
		t.Fatal("nothing was programmed")
	}
	n.crash(t)
	n.ensure(t, nw)
	must(t, n.driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{{Peer: p, Delete: true}}))
	if got := entries(t, n, nw); got != none {
		t.Errorf("entries are\n%s, want\n%s", got, none)
	}
}

func TestSweepAfterCrash(t *testing.T) {
	h := netnstest.Hosts(t, 1, 0)[0]
	n := start(t, h, h.Addr)
	kept, gone := blue(), green()
	before := netnstest.Take(t, n.Dir, n.NS)
	n.ensure(t, kept)
	n.ensure(t, gone)
	stays, goes := n.run(t, kept, "10.1.0.2"), n.run(t, kept, "10.1.0.3")
	last := n.run(t, gone, "10.2.1.2")
	foreign := filepath.Join(n.Dir, "someone-elses")
	must(t, os.WriteFile(foreign, nil, 0o600))
	in(t, n, kept, "ip", "link", "add", "foreign0", "type", "bridge")
	n.crash(t)
	netnstest.Exec(t, n.NS, "ip", "link", "add", "wvxpffffff", "type", "vxlan", "id", "16777215", "dstport", "4789")

	must(t, n.driver.Sweep(t.Context(), map[string]bool{kept.ID: true}, map[string]bool{stays.ID: true}))
	left := in(t, n, kept, "ip", "-br", "link")
	if !strings.Contains(left, "wve"+stays.ID[:12]) || strings.Contains(left, "wve"+goes.ID[:12]) || !strings.Contains(left, "foreign0") {
		t.Errorf("devices left:\n%s", left)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a stranger's file: %v", err)
	}
	must(t, os.Remove(foreign))
	must(t, n.driver.Sweep(t.Context(), nil, nil))
	for _, c := range []*container{stays, goes, last} {
		c.end()
	}
	if diff := before.Diff(netnstest.Take(t, n.Dir, n.NS)); diff != "" {
		t.Errorf("left:\n%s", diff)
	}
}

func TestSweepOfWhatIsKnown(t *testing.T) {
	n := nodes(t, 1)[0]
	kept, gone := blue(), green()
	n.ensure(t, kept)
	n.ensure(t, gone)
	stays := n.run(t, kept, "10.1.0.2")
	n.run(t, kept, "10.1.0.3")
	n.run(t, gone, "10.2.1.2")
	must(t, n.driver.Sweep(t.Context(), map[string]bool{kept.ID: true}, map[string]bool{stays.ID: true}))
	if got := n.driver.Networks(); len(got) != 1 || got[0] != kept.ID {
		t.Errorf("networks: %v", got)
	}
	if got := n.driver.Endpoints(kept.ID); len(got) != 1 || got[0].ID != stays.ID {
		t.Errorf("endpoints: %v", got)
	}
}

func TestWhatDoesNotMatchIsMadeAnew(t *testing.T) {
	ns := nodes(t, 2)
	nw := blue()
	all := map[*node][]*container{}
	for i, n := range ns {
		n.ensure(t, nw)
		all[n] = []*container{n.run(t, nw, fmt.Sprintf("10.1.0.%d", i+5))}
	}
	introduce(t, nw, all)
	a, b := all[ns[0]][0], all[ns[1]][0]
	vxlan := "wvx" + nw.ID[:8] + "-0"
	for name, harm := range map[string][]string{
		"device deleted":       {"ip", "link", "del", vxlan},
		"device out of bridge": {"ip", "link", "set", vxlan, "nomaster"},
		"device down":          {"ip", "link", "set", vxlan, "down"},
		"MTU changed":          {"ip", "link", "set", vxlan, "mtu", "1000"},
		"another device":       {"sh", "-c", "ip link del " + vxlan + "; ip link add " + vxlan + " type bridge"},
		"endpoint unplugged":   {"ip", "link", "del", "wve" + a.ID[:12]},
		"bridge deleted":       {"ip", "link", "del", "wbr" + nw.ID[:8] + "-0"},
		"stray bridge":         {"ip", "link", "add", "wbr" + nw.ID[:8] + "-7", "type", "bridge"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, ns[0], nw, harm...)
			ns[0].ensure(t, nw)
			_, err := ns[0].driver.Join(t.Context(), a.Endpoint)
			must(t, err)
			reach(t, a, b)
			if list := devices(t, ns[0], nw); strings.Contains(list, "-7") {
				t.Errorf("the stray is still there:\n%s", list)
			}
		})
	}
}

func TestUnderlayMTUChanges(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := blue()
	n.ensure(t, nw)
	c := n.run(t, nw, "10.1.0.5")
	netnstest.Exec(t, n.NS, "ip", "link", "set", "eth0", "mtu", "1300")
	n.ensure(t, nw)
	_, err := n.driver.Join(t.Context(), c.Endpoint)
	must(t, err)
	if got := mtuOf(t, c.ns, "eth0"); got != 1250 {
		t.Errorf("MTU in the sandbox is %d, want 1250", got)
	}
}

func mtuOf(tb testing.TB, ns *kernel.Namespace, name string) (mtu int) {
	tb.Helper()
	must(tb, kernel.Do(ns, func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			mtu = i.MTU
		}
		return err
	}))
	return mtu
}

func TestPeersAreRepairedAndFollowed(t *testing.T) {
	ns := nodes(t, 3)
	nw := green()
	all := map[*node][]*container{}
	for i, n := range ns {
		n.ensure(t, nw)
		all[n] = []*container{n.run(t, nw, fmt.Sprintf("10.2.1.%d", i+2))}
	}
	introduce(t, nw, all)
	a, b := all[ns[0]][0], all[ns[1]][0]
	reach(t, a, b)
	want := entries(t, ns[0], nw)
	rows := []model.Peer{ns[0].peerOf(a), ns[1].peerOf(b), ns[2].peerOf(all[ns[2]][0])}
	vxlan := "wvx" + nw.ID[:8] + "-0"

	t.Run("entries deleted and added by hand", func(t *testing.T) {
		in(t, ns[0], nw, "bridge", "fdb", "del", b.MAC.String(), "dev", vxlan, "dst", ns[1].vtep.String(), "self")
		in(t, ns[0], nw, "bridge", "fdb", "del", b.MAC.String(), "dev", vxlan, "master")
		in(t, ns[0], nw, "ip", "neigh", "del", b.AddrV6.Addr().String(), "dev", vxlan)
		in(t, ns[0], nw, "ip", "neigh", "add", "10.2.1.99", "lladdr", "02:42:0a:02:01:63", "nud", "permanent", "dev", vxlan)
		must(t, ns[0].driver.SetPeers(t.Context(), nw.ID, rows))
		if got := entries(t, ns[0], nw); got != want {
			t.Errorf("entries are\n%s, want\n%s", got, want)
		}
		reach(t, a, b)
	})
	t.Run("flapping", func(t *testing.T) {
		var changes []model.PeerChange
		for i := range 100 {
			changes = append(changes, model.PeerChange{Peer: ns[1].peerOf(b), Delete: i%2 == 0})
		}
		must(t, ns[0].driver.ApplyPeers(t.Context(), nw.ID, changes)) // ends with it there
		for _, c := range changes {
			must(t, ns[0].driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{c}))
		}
		if got := entries(t, ns[0], nw); got != want {
			t.Errorf("entries are\n%s, want\n%s", got, want)
		}
		reach(t, a, b)
	})
	t.Run("endpoint moves to another host", func(t *testing.T) {
		must(t, ns[1].driver.Leave(t.Context(), nw.ID, b.ID))
		moved := ns[2].run(t, nw, b.Addr.Addr().String())
		row := model.PeerChange{Peer: ns[2].peerOf(moved)}
		must(t, ns[0].driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{row}))
		reach(t, a, moved)
		must(t, ns[0].driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{{Peer: row.Peer, Delete: true}}))
		if err := reachable(t, a, moved); err == nil {
			t.Error("reached an endpoint that was deleted")
		}
	})
}

func TestSeveralClaimsToOneAddress(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := blue()
	n.ensure(t, nw)
	none := entries(t, n, nw)
	first, second := remote("aa", "10.1.0.9", "10.98.0.7"), remote("bb", "10.1.0.9", "10.98.0.8")
	apply := func(p model.Peer, del bool) string {
		must(t, n.driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{{Peer: p, Delete: del}}))
		return entries(t, n, nw)
	}
	one := apply(first, false)
	for _, order := range [][2]model.Peer{{first, second}, {second, first}} {
		apply(first, true)
		apply(second, true)
		apply(order[0], false)
		if got := apply(order[1], false); got != one {
			t.Errorf("entries are\n%s, want those of the smaller ID\n%s", got, one)
		}
	}
	if !strings.Contains(n.log.String(), "address claimed by several endpoints") {
		t.Error("no warning")
	}
	if got := apply(first, true); !strings.Contains(got, "10.98.0.8") || strings.Contains(got, "10.98.0.7") {
		t.Errorf("the next one did not get the address:\n%s", got)
	}
	// An endpoint here has it before any other.
	c := n.run(t, nw, "10.1.0.9")
	if got := entries(t, n, nw); strings.Contains(got, "10.98.0.8") {
		t.Errorf("a local address is remote:\n%s", got)
	}
	must(t, n.driver.Leave(t.Context(), nw.ID, c.ID))
	if got := entries(t, n, nw); !strings.Contains(got, "10.98.0.8") {
		t.Errorf("the remote one did not come back:\n%s", got)
	}
	if got := apply(second, true); got != none {
		t.Errorf("left: %s, want %s", got, none)
	}
}

func TestRowsThatAreWrong(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := blue()
	n.ensure(t, nw)
	none := entries(t, n, nw)
	good := remote("aa", "10.1.0.9", "10.98.0.7")
	for name, change := range map[string]func(*model.Peer){
		"own VTEP":         func(p *model.Peer) { p.VTEP = n.vtep },
		"no VTEP":          func(p *model.Peer) { p.VTEP = netip.Addr{} },
		"VTEP of IPv6":     func(p *model.Peer) { p.VTEP = netip.MustParseAddr("fd98::7") },
		"foreign subnet":   func(p *model.Peer) { p.Addr = netip.MustParsePrefix("10.9.0.9/16") },
		"no address":       func(p *model.Peer) { p.Addr = netip.Prefix{} },
		"multicast MAC":    func(p *model.Peer) { p.MAC = model.MAC{1} },
		"unspecified VTEP": func(p *model.Peer) { p.VTEP = netip.IPv4Unspecified() },
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			change(&p)
			must(t, n.driver.SetPeers(t.Context(), nw.ID, []model.Peer{p}))
			must(t, n.driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{{Peer: good}, {Peer: p}}))
			if got := entries(t, n, nw); got != none {
				t.Errorf("entries are\n%s, want\n%s", got, none)
			}
		})
	}
	must(t, n.driver.ApplyPeers(t.Context(), nw.ID, []model.PeerChange{{Peer: model.Peer{
		EndpointID: id("aa"), Addr: good.Addr, VTEP: good.VTEP,
	}}}))
	if got := entries(t, n, nw); !strings.Contains(got, "02:42:0a:01:00:09") {
		t.Errorf("the MAC was not derived:\n%s", got)
	}
}
