package link_test

import (
	"net/netip"
	"strings"
	"testing"

	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/netnstest"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

var (
	bridge = link.Bridge{
		Name: "br", MTU: 1450, MAC: model.MAC{2, 0, 0, 0, 0, 1},
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64")},
	}
	veth = link.Veth{
		Name: "port", MTU: 1450, MAC: model.MAC{2, 0, 0, 0, 0, 2}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")},
		Routes: []link.Route{{To: netip.MustParsePrefix("10.0.1.0/24"), Via: netip.MustParseAddr("10.0.0.1")}},
	}
)

func TestEnsureAdoptsWhatMatches(t *testing.T) {
	host := netnstest.Hosts(t, 1, 0)[0]
	ns, _ := netnstest.Sandbox(t)
	sandbox, _ := netnstest.Sandbox(t)
	ensure := func() (br, vx link.Device, madeVeth bool) {
		t.Helper()
		br, err := link.EnsureBridge(ns, bridge)
		must(t, err)
		vx, err = link.EnsureVXLAN(host.NS, ns, link.VXLAN{Name: "vx", VNI: 5, Local: host.Addr, Port: 4789, MTU: 1450, Bridge: br.Index})
		must(t, err)
		spec := veth
		spec.Bridge = br.Index
		name, made, err := link.EnsureVeth(ns, sandbox, spec)
		must(t, err)
		if name != "eth0" {
			t.Errorf("interface is %s", name)
		}
		return br, vx, made
	}
	br, vx, made := ensure()
	if !br.Made || !vx.Made || !made {
		t.Errorf("nothing made: %+v %+v %t", br, vx, made)
	}
	netnstest.Exec(t, sandbox, "ip", "addr", "add", "192.0.2.7/24", "dev", "eth0")
	again, vxAgain, made := ensure()
	if again.Made || vxAgain.Made || made || again.Index != br.Index || vxAgain.Index != vx.Index {
		t.Errorf("made anew: %+v %+v %t", again, vxAgain, made)
	}
	if out := netnstest.Exec(t, sandbox, "ip", "addr", "show", "eth0"); !strings.Contains(out, "192.0.2.7") {
		t.Errorf("an address the container gave itself is gone:\n%s", out)
	}
	if out := netnstest.Exec(t, ns, "ip", "-d", "link", "show", "vx"); !strings.Contains(out, "learning off") ||
		!strings.Contains(out, "nolearning proxy l2miss l3miss") {
		t.Errorf("VXLAN device is\n%s", out)
	}
	host.Exec("sh", "-c", "! ip -o link show type vxlan | grep .") // nothing of it in the host
	netnstest.Exec(t, ns, "ip", "link", "add", "stranger", "type", "bridge")
	must(t, link.RemoveAll(ns))
	must(t, link.RemoveAll(ns))
	list, err := link.List(ns)
	must(t, err)
	if len(list) != 2 || list[0].Name != "lo" || list[1].Name != "stranger" {
		t.Errorf("left: %+v", list)
	}
}

func TestEnsureUndoesItself(t *testing.T) {
	host := netnstest.Hosts(t, 1, 0)[0]
	ns, _ := netnstest.Sandbox(t)
	sandbox, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, sandbox, "ip", "link", "set", "lo", "up")
	br, err := link.EnsureBridge(ns, bridge)
	must(t, err)
	// A bridge's IPv6 address is the host's own since its first carrier, and stays so.
	once := veth
	once.Bridge = br.Index
	_, _, err = link.EnsureVeth(ns, sandbox, once)
	must(t, err)
	must(t, link.Remove(ns, once.Name))
	netnstest.NoLeaks(t, "", ns, sandbox, host.NS)
	for name, change := range map[string]func(*link.Veth){
		"no such bridge":       func(v *link.Veth) { v.Bridge = 999 },
		"MTU too large":        func(v *link.Veth) { v.MTU = 1 << 20 },
		"unreachable gateway":  func(v *link.Veth) { v.Routes = []link.Route{{veth.Routes[0].To, netip.MustParseAddr("192.0.2.1")}} },
		"interface name is lo": func(v *link.Veth) { v.IfName = "lo" },
	} {
		t.Run(name, func(t *testing.T) {
			spec := veth
			spec.Bridge = br.Index
			change(&spec)
			if _, _, err := link.EnsureVeth(ns, sandbox, spec); err == nil {
				t.Error("no error")
			}
		})
	}
	vx := link.VXLAN{Name: "vx", VNI: 5, Local: host.Addr, Port: 4789, MTU: 1450, Bridge: 999}
	if _, err := link.EnsureVXLAN(host.NS, ns, vx); err == nil {
		t.Error("VXLAN device in no bridge")
	}
	vx.Bridge, vx.MTU = br.Index, 1<<20
	if _, err := link.EnsureVXLAN(host.NS, ns, vx); err == nil {
		t.Error("VXLAN device of an MTU of a megabyte")
	}
	bad := bridge
	bad.Name, bad.MTU = "br2", 10
	if _, err := link.EnsureBridge(ns, bad); err == nil {
		t.Error("bridge of an MTU of 10 with IPv6")
	}
}

func TestFindUnderlay(t *testing.T) {
	host := netnstest.Hosts(t, 1, 1400)[0]
	for _, addr := range []netip.Addr{host.Addr, host.AddrV6} {
		u, found, err := link.FindUnderlay(host.NS, addr)
		if err != nil || !found || u != (link.Underlay{Name: "eth0", MTU: 1400}) {
			t.Errorf("underlay of %s: %+v, %t, %v", addr, u, found, err)
		}
	}
	if _, found, err := link.FindUnderlay(host.NS, netip.MustParseAddr("192.0.2.1")); found || err != nil {
		t.Errorf("underlay of a stranger's address: %t, %v", found, err)
	}
}

func TestRemoveProbes(t *testing.T) {
	host := netnstest.Hosts(t, 1, 0)[0]
	add := func(name, vni string) {
		host.Exec("ip", "link", "add", name, "type", "vxlan", "id", vni, "dstport", "4789")
	}
	add("wvxpfffffe", "16777214")
	add("wvxpmine", "16777213") // neither our name
	add("wvxp000001", "1")      // nor our VNI
	must(t, link.RemoveProbes(host.NS))
	var names []string
	list, err := link.List(host.NS)
	must(t, err)
	for _, l := range list {
		if l.Kind == "vxlan" {
			names = append(names, l.Name)
		}
	}
	if got := strings.Join(names, " "); got != "wvxpmine wvxp000001" {
		t.Errorf("left: %s", got)
	}
	if err := link.Up(host.NS, "none"); err == nil {
		t.Error("a device that is not there is up")
	}
	must(t, link.Remove(host.NS, "none"))
	must(t, kernel.Do(host.NS, func() error { return link.CheckPort(host.NS, host.Addr, 4789) }))
}
