package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft/engine/model"
)

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

func v4(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestZone(t *testing.T) {
	over := model.Network{Name: "Core", Scope: model.ScopeSwarm, Subnets: []model.Subnet{
		{Prefix: netip.MustParsePrefix("10.1.0.0/24")},
		{Prefix: netip.MustParsePrefix("10.2.0.0/24")},
		{Prefix: netip.MustParsePrefix("fd00:1::/64")},
	}}
	task := func(n int, vip string, more func(*model.Record)) model.Record {
		r := model.Record{Name: fmt.Sprintf("web.%d.id", n), ServiceName: "web", Addr: v4(fmt.Sprintf("10.1.0.%d", n)), Aliases: []string{"WWW"}}
		if vip != "" {
			r.VIP = v4(vip)
		}
		if more != nil {
			more(&r)
		}
		return r
	}
	disabled := func(r *model.Record) { r.Disabled = true }
	for _, tt := range []struct {
		name string
		nw   model.Network
		rows []model.Record
		want map[string]string // name: addresses; "-" where it is unknown
	}{
		{
			"virtual IP", over,
			[]model.Record{task(1, "10.1.0.100", nil), task(2, "10.1.0.100", nil)},
			map[string]string{
				"web": "10.1.0.100 fd00:1::a01:64", "www": "10.1.0.100 fd00:1::a01:64", "tasks.www": "10.1.0.1 10.1.0.2 fd00:1::a01:1 fd00:1::a01:2",
				"tasks.web": "10.1.0.1 10.1.0.2 fd00:1::a01:1 fd00:1::a01:2", "web.1.id": "10.1.0.1 fd00:1::a01:1", "tasks": "-", "tasks.web.1.id": "-",
			},
		},
		{
			"dnsrr", over,
			[]model.Record{task(1, "", nil), task(2, "", nil), task(3, "", disabled)},
			map[string]string{"web": "10.1.0.1 10.1.0.2 fd00:1::a01:1 fd00:1::a01:2", "tasks.web": "10.1.0.1 10.1.0.2 fd00:1::a01:1 fd00:1::a01:2", "web.3.id": "-"},
		},
		{
			"the last task goes", over,
			[]model.Record{task(1, "10.1.0.100", disabled)},
			map[string]string{"web": "10.1.0.100 fd00:1::a01:64", "www": "10.1.0.100 fd00:1::a01:64", "tasks.web": "-", "web.1.id": "-"},
		},
		{
			"the last task of a dnsrr service goes", over,
			[]model.Record{task(1, "", disabled)},
			map[string]string{"web": "-", "tasks.web": "-"},
		},
		{
			"two rows with one address", over,
			[]model.Record{task(1, "", nil), task(2, "", nil), task(1, "", nil)},
			map[string]string{"web": "10.1.0.1 10.1.0.2 fd00:1::a01:1 fd00:1::a01:2"},
		},
		{
			"a segment without IPv6", over,
			[]model.Record{{Name: "box", Addr: v4("10.2.0.9")}, {Name: "far", Addr: v4("192.0.2.9")}},
			map[string]string{"box": "10.2.0.9", "far": "192.0.2.9"},
		},
		{
			"containers that share an alias",
			model.Network{Name: "lan", Scope: model.ScopeLocal},
			[]model.Record{
				{Name: "a", Addr: v4("172.18.0.2"), AddrV6: v4("fd01::2"), TaskAliases: []string{"db"}},
				{Name: "b", Addr: v4("172.18.0.3"), TaskAliases: []string{"db", ""}},
				{Name: "six", AddrV6: v4("fd01::4")},
			},
			map[string]string{"a": "172.18.0.2 fd01::2", "db": "172.18.0.2 172.18.0.3 fd01::2", "six": "fd01::4", "tasks.db": "-", "": "-"},
		},
		{
			"ingress",
			model.Network{Name: "ingress", Scope: model.ScopeSwarm, Ingress: true},
			[]model.Record{task(1, "10.1.0.100", nil)},
			map[string]string{"web": "-", "web.1.id": "-", "tasks.web": "-"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z := NewZone(tt.nw, tt.rows)
			for name, want := range tt.want {
				for _, asked := range []string{name, name + "." + strings.ToLower(tt.nw.Name)} {
					got := "-"
					if a := find([]*Zone{z}, asked); a != nil {
						got = strings.Trim(fmt.Sprint(slices.Concat(a.v4, a.v6)), "[]")
					}
					if got != want {
						t.Errorf("%q: %s, want %s", asked, got, want)
					}
				}
			}
		})
	}
}

func TestAddressesHaveNames(t *testing.T) {
	z := NewZone(model.Network{Name: "Lan"}, []model.Record{
		{Name: "Box", Addr: v4("172.18.0.2"), AddrV6: v4("fd01::2"), TaskAliases: []string{"alias"}},
		{Name: "web.1.id", ServiceName: "web", VIP: v4("172.18.0.100"), Addr: v4("172.18.0.3")},
		{Name: "gone", Addr: v4("172.18.0.4"), Disabled: true},
	})
	want := map[netip.Addr]string{v4("172.18.0.2"): "Box.Lan.", v4("fd01::2"): "Box.Lan.", v4("172.18.0.3"): "web.1.id.Lan."}
	if fmt.Sprint(z.names) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", z.names, want)
	}
}

// TestFindOrder is Docker's: whole names on all networks first, then those
// that end in a network's name, the shortest one first.
func TestFindOrder(t *testing.T) {
	zone := func(network string, names map[string]string) *Zone {
		var list []model.Record
		for name, a := range names {
			list = append(list, model.Record{Name: name, Addr: v4(a)})
		}
		return NewZone(model.Network{Name: network}, list)
	}
	zones := []*Zone{
		zone("one", map[string]string{"x": "10.0.1.1", "y": "10.0.1.2"}),
		zone("two", map[string]string{"x": "10.0.2.1", "y.one": "10.0.2.2", "z": "10.0.2.3"}),
		zone("c.two", map[string]string{"a": "10.0.3.1", "b": "10.0.3.2"}),
		zone("two", map[string]string{"a.c": "10.0.4.1", "z": "10.0.4.2"}),
	}
	for name, want := range map[string]string{
		"x": "10.0.1.1", "x.one": "10.0.1.1", "x.two": "10.0.2.1", "y.one": "10.0.2.2", "z.two": "10.0.2.3",
		"a.c.two": "10.0.4.1", "b.c.two": "10.0.3.2",
		"z.one": "-", "one": "-", ".one": "-", "x.": "-", "": "-", "x.one.one": "-", "x.three": "-",
	} {
		got := "-"
		if a := find(zones, name); a != nil {
			got = a.v4[0].String()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestSample(t *testing.T) {
	list := addrs("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
	first := map[netip.Addr]int{}
	for range 400 {
		got := sample(list, 3)
		if len(got) != 3 || len(distinct(slices.Clone(got))) != 3 {
			t.Fatalf("%v of %v", got, list)
		}
		first[got[0]]++
	}
	for _, a := range list {
		if first[a] < 50 { // 100 of 400 are to be expected, 9 make a standard deviation
			t.Errorf("%s came first %d times of 400", a, first[a])
		}
	}
	if !slices.Equal(list, addrs("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")) || len(sample(list, 9)) != 4 || len(sample(nil, 3)) != 0 {
		t.Errorf("%v has changed, or was not given whole", list)
	}
}

func TestReversed(t *testing.T) {
	for name, want := range map[string]string{
		"4.3.2.1.in-addr.arpa.": "1.2.3.4", "4.3.2.1.IN-ADDR.ARPA": "1.2.3.4",
		"3.2.1.in-addr.arpa.": "", "256.3.2.1.in-addr.arpa.": "", "a.3.2.1.in-addr.arpa.": "", "5.4.3.2.1.in-addr.arpa.": "", "in-addr.arpa.": "",
		"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa.":  "fd01::2",
		"20.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa.": "",
		"x.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa.":  "",
		"1.0.d.f.ip6.arpa.": "", "ip6.arpa.": "", "example.com.": "", ".": "", "": "",
	} {
		got, ok := reversed(name)
		if ok != (want != "") || (ok && got.String() != want) {
			t.Errorf("%q: %v, %t; want %q", name, got, ok, want)
		}
	}
}
