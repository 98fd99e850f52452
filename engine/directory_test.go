package engine

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"weft/engine/dns"
	"weft/engine/gossip"
	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// TestDirectoryAnswers puts a container into the directory, changes it and
// takes it out.
func TestDirectoryAnswers(t *testing.T) {
	netnstest.Require(t)
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
	d := newDirectory(slog.New(slog.DiscardHandler))
	ask := func(name string) *mdns.Msg {
		t.Helper()
		var resp *mdns.Msg
		err := kernel.Do(ns, func() error {
			conn, err := new(net.Dialer).DialContext(t.Context(), "udp", "127.0.0.11:53")
			if err != nil {
				return err
			}
			defer conn.Close()
			resp, _, err = new(mdns.Client).ExchangeWithConn(new(mdns.Msg).SetQuestion(name, mdns.TypeA), &mdns.Conn{Conn: conn})
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return resp
	}
	lan := model.Network{ID: "l", Name: "lan", Scope: model.ScopeLocal}
	p := place{
		containerID: "c", sandbox: ns.Path(), networks: []model.Network{lan}, ndots: true,
		records: map[string]model.Record{"l": {EndpointID: "e", Name: "box", Addr: netip.MustParseAddr("172.18.0.2")}},
		// Asked from inside, the first would be the resolver itself.
		upstreams: []upstream{{dns.Addr(), true}, {dns.Addr(), false}, {netip.MustParseAddr("127.0.0.1"), true}},
	}
	if err := d.enter(p); err != nil {
		t.Fatal(err)
	}
	for name, answers := range map[string]int{"box.": 1, "box.lan.": 1, "nobody.": 0} {
		if resp := ask(name); len(resp.Answer) != answers || resp.Rcode != mdns.RcodeSuccess {
			t.Errorf("%s: %s", name, resp)
		}
	}
	s := d.sandboxes["c"]
	if got := s.Upstreams(); len(got) != 2 || got[0].Addr.Addr() != dns.Addr() || got[1].Addr.Addr().String() != "127.0.0.1" {
		t.Errorf("asks %v", got)
	}
	p.ndots, p.upstreams = false, nil
	p.records["l"] = model.Record{EndpointID: "e", Name: "renamed", Addr: netip.MustParseAddr("172.18.0.2")}
	if err := d.enter(p); err != nil {
		t.Fatal(err)
	}
	for name, code := range map[string]int{"renamed.": mdns.RcodeSuccess, "box.": mdns.RcodeServerFailure} {
		if resp := ask(name); resp.Rcode != code {
			t.Errorf("%s after it was renamed: %s", name, resp)
		}
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if len(d.records)+len(d.served)+len(d.zones) != 0 {
		t.Errorf("known of networks nobody is on: %v", d.records)
	}
	if left := netnstest.Exec(t, ns, "nft", "list", "ruleset") + netnstest.Exec(t, ns, "ss", "-Hlntu"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestVirtualIPsWithoutPair has IPv6 in one subnet of two.
func TestVirtualIPsWithoutPair(t *testing.T) {
	nw := model.Network{ID: "n", Scope: model.ScopeSwarm, Subnets: []model.Subnet{
		{Prefix: netip.MustParsePrefix("10.20.0.0/16")}, {Prefix: netip.MustParsePrefix("10.21.0.0/16")}, {Prefix: netip.MustParsePrefix("fd00:20::/64")},
	}}
	vip := netip.MustParseAddr("10.20.0.2")
	got := virtualIPs(nw, map[string]model.Record{
		"a": {VIP: vip, Addr: netip.MustParseAddr("10.20.0.3")}, "b": {VIP: vip, Addr: netip.MustParseAddr("10.21.0.3")},
	})
	if len(got) != 2 || len(got[0].Tasks) != 2 || len(got[1].Tasks) != 1 || got[1].Tasks[0].String() != "fd00:20::a14:3" {
		t.Errorf("%v", got)
	}
}

// TestDirectoryServesMachines has virtual machines ask at an address of their
// network, where services mean their tasks, and takes a sandbox out of it all.
func TestDirectoryServesMachines(t *testing.T) {
	netnstest.Require(t)
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
	netnstest.Exec(t, ns, "ip", "addr", "add", "10.20.0.1/32", "dev", "lo")
	d := newDirectory(slog.New(slog.DiscardHandler))
	d.heard = func(string, []string) {}
	nw := model.Network{ID: "n", Name: "ov", Scope: model.ScopeSwarm, Subnets: []model.Subnet{{Prefix: netip.MustParsePrefix("10.20.0.0/24")}}}
	d.apply("n", []gossip.RecordChange{{Record: model.Record{
		EndpointID: "e", Name: "web.1", ServiceName: "web", VIP: netip.MustParseAddr("10.20.0.9"), Addr: netip.MustParseAddr("10.20.0.7"),
	}}}, true)
	if len(d.served["n"]) != 0 {
		t.Error("a name is served before its virtual IP can be")
	}
	d.update(t.Context())
	machines := place{containerID: "tap-n", sandbox: ns.Path(), networks: []model.Network{nw}, at: []netip.Addr{netip.MustParseAddr("10.20.0.1")}}
	sandbox := place{containerID: "box", sandbox: ns.Path(), networks: []model.Network{nw}}
	for server, p := range map[string]place{"10.20.0.1:53": machines, "127.0.0.11:53": sandbox} {
		if err := d.enter(p); err != nil {
			t.Fatal(err)
		}
		want := "10.20.0.7"
		if len(p.at) == 0 {
			want = "10.20.0.9"
		}
		err := kernel.Do(ns, func() error {
			resp, _, err := new(mdns.Client).Exchange(new(mdns.Msg).SetQuestion("web.", mdns.TypeA), server)
			if err == nil && (len(resp.Answer) != 1 || resp.Answer[0].(*mdns.A).A.String() != want) {
				t.Errorf("web at %s: %s, want %s", server, resp, want)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", server, err)
		}
	}
	if rules := netnstest.Exec(t, ns, "nft", "list", "ruleset"); !strings.Contains(rules, "10.20.0.9") {
		t.Errorf("the sandbox has no virtual IPs: %s", rules)
	}
	if err := errors.Join(d.close(), d.evict(sandbox), d.evict(machines)); err != nil { // as after a crash
		t.Fatal(err)
	}
	if left := netnstest.Exec(t, ns, "nft", "list", "ruleset") + netnstest.Exec(t, ns, "ss", "-Hlntu"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestDirectoryBehind has virtual IPs that can't be written: nobody is told the
// names of a network that is new to a sandbox then, and they are written later.
func TestDirectoryBehind(t *testing.T) {
	netnstest.Require(t)
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
	d := newDirectory(slog.New(slog.DiscardHandler))
	d.heard = func(string, []string) {}
	web := func(vip string) []gossip.RecordChange {
		return []gossip.RecordChange{{Record: model.Record{
			EndpointID: "e", Name: "web.1", ServiceName: "web", VIP: netip.MustParseAddr(vip), Addr: netip.MustParseAddr("10.20.0.7"),
		}}}
	}
	networks := []model.Network{{ID: "n", Name: "ov", Scope: model.ScopeSwarm}, {ID: "m", Name: "new", Scope: model.ScopeSwarm}}
	d.apply("n", web("10.20.0.9"), true)
	d.apply("m", web("10.30.0.9"), true)
	box := place{containerID: "box", sandbox: ns.Path(), networks: networks[:1]}
	if err := d.enter(box); err != nil {
		t.Fatal(err)
	}
	if !d.update(t.Context()) {
		t.Fatal("virtual IPs not written")
	}
	spoil := func() { // what is written again has a chain that can't be changed so
		netnstest.Exec(t, ns, "nft", `flush ruleset; table inet weft-vip { chain balance { type filter hook output priority 0; }; }`)
	}
	spoil()
	box.networks = networks
	if names := d.sandboxes["box"].Zones; d.enter(box) == nil || len(names()) != 1 {
		t.Errorf("virtual IPs of a network were not to be written, and names of %d are served", len(names()))
	}
	if err := d.enter(box); err != nil {
		t.Error(err)
	}
	spoil()
	d.apply("n", web("10.20.0.10"), false)
	if d.update(t.Context()) {
		t.Error("said to be written")
	}
	if !d.update(t.Context()) {
		t.Error("not written once more")
	}
	if rules := netnstest.Exec(t, ns, "nft", "list", "ruleset"); !strings.Contains(rules, "10.20.0.10") || !strings.Contains(rules, "10.30.0.9") {
		t.Errorf("virtual IPs: %s", rules)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
}

func TestSearchOrder(t *testing.T) {
	networks := []model.Network{
		{ID: "1", Name: "z-lan", Scope: model.ScopeLocal},
		{ID: "2", Name: "a-closed", Scope: model.ScopeLocal, Internal: true},
		{ID: "3", Name: "b-lan", Scope: model.ScopeLocal},
		{ID: "4", Name: "z-overlay", Scope: model.ScopeSwarm, Internal: true},
		{ID: "5", Name: "c-lan", Scope: model.ScopeLocal},
		{ID: "6", Name: "y-overlay", Scope: model.ScopeSwarm},
	}
	slices.SortStableFunc(networks, bySearch([]model.Endpoint{{NetworkID: "5", GwPriority: 3}, {NetworkID: "3", GwPriority: 0}}))
	var got []string
	for _, nw := range networks {
		got = append(got, nw.Name)
	}
	if want := []string{"y-overlay", "z-overlay", "c-lan", "b-lan", "z-lan", "a-closed"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestSettle waits for the gossip to speak of a swarm network.
func TestSettle(t *testing.T) {
	d := newDirectory(slog.New(slog.DiscardHandler))
	d.heard = func(string, []string) {}
	s := &resident{dir: d, networks: []model.Network{{ID: "l", Scope: model.ScopeLocal}, {ID: "o", Scope: model.ScopeSwarm}}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.Settle(ctx) {
		t.Error("settled though nobody was heard")
	}
	if s.unheard() == nil {
		t.Fatal("a network nobody spoke of is known")
	}
	settled := make(chan bool)
	go func() { settled <- s.Settle(t.Context()) }()
	d.apply("o", nil, true)
	d.update(t.Context())
	<-settled // waited or not: apply may have come first
	if s.Settle(t.Context()) || s.unheard() != nil {
		t.Error("waits for what was heard")
	}

	// The node leaves the network, with a change under way, and is on it again.
	d.apply("o", []gossip.RecordChange{{Record: model.Record{EndpointID: "e", Name: "old"}}}, false)
	_, _, records := d.due()
	d.drop("o")
	d.apply("o", nil, true)
	d.serve(records)
	if s.unheard() == nil || len(d.served) != 0 {
		t.Errorf("served of a network that was left: %v", d.served)
	}
}
