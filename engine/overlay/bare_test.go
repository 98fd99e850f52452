package overlay_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// TestMachineBehindTap has a virtual machine on a network: it reaches a
// container of another host and is reached, before and after a restart.
func TestMachineBehindTap(t *testing.T) {
	hosts := nodes(t, 2)
	one, two := hosts[0], hosts[1]
	nw := green()
	one.ensure(t, nw)
	two.ensure(t, nw)
	ep := model.Endpoint{
		ID: id("7a9"), NetworkID: nw.ID, Name: "vm", Addr: netip.MustParsePrefix("10.2.1.77/32"), Bare: true,
	}
	tap := link.Tap{Name: "vm0", Owner: 12345, MTU: 1450}
	plug := func() {
		t.Helper()
		full, err := one.driver.Join(t.Context(), ep)
		must(t, err)
		ep = full
		tap.Peer = ep.IfName
		must(t, link.EnsureTap(one.NS, tap))
	}
	plug()
	if out := one.Exec("ip", "-d", "link", "show", "vm0"); !strings.Contains(out, "user 12345") || !strings.Contains(out, "mtu 1450") ||
		!strings.Contains(out, "persist on") {
		t.Errorf("device: %s", out)
	}
	vm := &container{Endpoint: ep, ns: netnstest.Machine(t, one.NS, "vm0", ep.MAC.String(), 1450)}
	netnstest.Exec(t, vm.ns, "ip", "addr", "add", ep.Addr.String(), "dev", "eth0")
	netnstest.Exec(t, vm.ns, "ip", "addr", "add", ep.AddrV6.String(), "dev", "eth0", "nodad")
	netnstest.Exec(t, vm.ns, "ip", "route", "add", "default", "via", ep.Gateway.String())
	netnstest.Exec(t, vm.ns, "ip", "route", "add", "default", "via", ep.GatewayV6.String())
	near, far := one.run(t, nw, "10.2.1.5"), two.run(t, nw, "10.2.1.6")
	other := two.run(t, nw, "10.2.2.6") // in the other subnet
	all := map[*node][]*container{one: {vm, near}, two: {far, other}}
	introduce(t, nw, all)
	for _, c := range []*container{near, far, other} {
		reach(t, vm, c)
		reach(t, c, vm)
	}
	devices := func() string {
		list, err := link.List(one.NS)
		must(t, err)
		var names []string
		for _, l := range list {
			names = append(names, l.Name)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	before := devices()

	one.crash(t)
	must(t, one.driver.Sweep(t.Context(), map[string]bool{nw.ID: true}, map[string]bool{ep.ID: true, near.ID: true}))
	one.ensure(t, nw)
	plug()
	if after := devices(); after != before {
		t.Errorf("devices after a restart: %s, were %s", after, before)
	}
	reach(t, vm, far)
	reach(t, far, vm)

	must(t, one.driver.Leave(t.Context(), nw.ID, ep.ID))
	must(t, link.Remove(one.NS, "vm0"))
	if left := devices(); left != "eth0 lo" {
		t.Errorf("left: %s", left)
	}
}
