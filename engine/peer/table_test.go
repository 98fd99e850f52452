package peer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
)

var equal = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func prefix(s string) model.Subnet { return model.Subnet{Prefix: netip.MustParsePrefix(s)} }

func plain() model.Segment { return model.Segment{V4: prefix("10.0.0.0/16")} }
func dual() model.Segment {
	return model.Segment{V4: prefix("10.0.0.0/16"), V6: prefix("fd00::/64")}
}

// row is an endpoint's peer row; its MAC is that of its address.
func row(id, addr, vtep string) model.Peer {
	a := netip.MustParseAddr(addr)
	return model.Peer{EndpointID: id, Addr: netip.PrefixFrom(a, 16), MAC: model.MACFromAddr(a), VTEP: netip.MustParseAddr(vtep)}
}

func set(p model.Peer) model.PeerChange { return model.PeerChange{Peer: p} }
func del(p model.Peer) model.PeerChange { return model.PeerChange{Peer: p, Delete: true} }

// text renders changes a line each, sorted within their kind.
func text(c Changes) string {
	var out []string
	for i := range c.Len() {
		out = append(out, c.describe(i))
	}
	return strings.Join(out, "\n")
}

func lines(s ...string) string { return strings.Join(s, "\n") }

func TestTable(t *testing.T) {
	const mac2, mac3 = "02:42:0a:00:00:02", "02:42:0a:00:00:03"
	a2, b2, a3 := row("a", "10.0.0.2", "192.0.2.1"), row("b", "10.0.0.2", "192.0.2.2"), row("a", "10.0.0.3", "192.0.2.1")
	moved := row("a", "10.0.0.2", "192.0.2.9")
	twin := row("c", "10.0.0.3", "192.0.2.2")
	twin.MAC = a2.MAC
	for _, tt := range []struct {
		name    string
		segment model.Segment
		before  []model.PeerChange
		events  []model.PeerChange
		want    string
	}{
		{"added", plain(), nil, []model.PeerChange{set(a2)}, lines(
			"set FDB entry "+mac2+" behind 192.0.2.1", "set bridge entry "+mac2, "set neighbor entry 10.0.0.2 at "+mac2)},
		{"added with IPv6", dual(), nil, []model.PeerChange{set(a2)}, lines(
			"set FDB entry "+mac2+" behind 192.0.2.1", "set bridge entry "+mac2,
			"set neighbor entry 10.0.0.2 at "+mac2, "set neighbor entry fd00::a00:2 at "+mac2)},
		{"added again", plain(), []model.PeerChange{set(a2)}, []model.PeerChange{set(a2)}, ""},
		{"deleted with IPv6", dual(), []model.PeerChange{set(a2)}, []model.PeerChange{del(a2)}, lines(
			"delete neighbor entry 10.0.0.2", "delete neighbor entry fd00::a00:2", "delete bridge entry "+mac2, "delete FDB entry "+mac2)},
		{"deleted by ID alone", plain(), []model.PeerChange{set(a2)}, []model.PeerChange{del(model.Peer{EndpointID: "a"})}, lines(
			"delete neighbor entry 10.0.0.2", "delete bridge entry "+mac2, "delete FDB entry "+mac2)},
		{"deleted unknown", plain(), nil, []model.PeerChange{del(a2)}, ""},
		{"flapping, ends present", plain(), nil, []model.PeerChange{set(a2), del(a2), set(a2)}, lines(
			"set FDB entry "+mac2+" behind 192.0.2.1", "set bridge entry "+mac2, "set neighbor entry 10.0.0.2 at "+mac2)},
		{"flapping, ends absent", plain(), nil, []model.PeerChange{set(a2), del(a2)}, ""},
		{"flapping, ends as it was", plain(), []model.PeerChange{set(a2)}, []model.PeerChange{del(a2), set(a2)}, ""},
		{
			"another VTEP", plain(),
			[]model.PeerChange{set(a2)},
			[]model.PeerChange{set(moved)},
			"set FDB entry " + mac2 + " behind 192.0.2.9",
		},
		{"another address", plain(), []model.PeerChange{set(a2)}, []model.PeerChange{set(a3)}, lines(
			"set FDB entry "+mac3+" behind 192.0.2.1", "set bridge entry "+mac3, "set neighbor entry 10.0.0.3 at "+mac3,
			"delete neighbor entry 10.0.0.2", "delete bridge entry "+mac2, "delete FDB entry "+mac2)},
		{"rival with a larger ID", plain(), []model.PeerChange{set(a2)}, []model.PeerChange{set(b2)}, ""},
		{
			"rival with a smaller ID", plain(),
			[]model.PeerChange{set(b2)},
			[]model.PeerChange{set(a2)},
			"set FDB entry " + mac2 + " behind 192.0.2.1",
		},
		{
			"holder goes, rival stays", plain(),
			[]model.PeerChange{set(a2), set(b2)},
			[]model.PeerChange{del(a2)},
			"set FDB entry " + mac2 + " behind 192.0.2.2",
		},
		{"rival goes", plain(), []model.PeerChange{set(a2), set(b2)}, []model.PeerChange{del(b2)}, ""},
		{
			"one MAC, two addresses", plain(),
			[]model.PeerChange{set(a2)},
			[]model.PeerChange{set(twin)},
			"set neighbor entry 10.0.0.3 at " + mac2,
		},
		{"one of a MAC's addresses goes", plain(), []model.PeerChange{set(a2), set(twin)}, []model.PeerChange{del(a2)}, lines(
			"set FDB entry "+mac2+" behind 192.0.2.2", "delete neighbor entry 10.0.0.2")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := NewTable(tt.segment)
			table.Apply(tt.before)
			if got := text(table.Apply(tt.events)); got != tt.want {
				t.Errorf("changes are\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestLocalAddressIsNotRemote(t *testing.T) {
	table := NewTable(plain())
	a := row("a", "10.0.0.2", "192.0.2.1")
	table.SetLocal(a.Addr.Addr(), true)
	if c := table.Apply([]model.PeerChange{set(a)}); !c.Empty() {
		t.Errorf("changes: %s", text(c))
	}
	if c := table.SetLocal(a.Addr.Addr(), false); len(c.SetFDB) != 1 {
		t.Errorf("changes: %s", text(c))
	}
	if c := table.SetLocal(a.Addr.Addr(), true); len(c.DelFDB) != 1 {
		t.Errorf("changes: %s", text(c))
	}
}

// TestTableAgainstDiff feeds random events in random order and portions: the
// changes applied one after another must lead to the same entries as the set
// at the end does at once, on every node.
func TestTableAgainstDiff(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		table, have := NewTable(dual()), newState()
		present := map[string]model.Peer{}
		for range 30 {
			var events []model.PeerChange
			for range rnd.IntN(6) {
				p := row(fmt.Sprint(rnd.IntN(8)), fmt.Sprintf("10.0.0.%d", 2+rnd.IntN(5)), fmt.Sprintf("192.0.2.%d", 1+rnd.IntN(3)))
				p.MAC[5] = byte(rnd.IntN(4))
				e := model.PeerChange{Peer: p, Delete: rnd.IntN(3) == 0}
				if e.Delete {
					delete(present, p.EndpointID)
				} else {
					present[p.EndpointID] = p
				}
				events = append(events, e)
			}
			patch(have, table.Apply(events))
			if rnd.IntN(4) == 0 {
				patch(have, table.SetLocal(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + rnd.IntN(5))}), rnd.IntN(2) == 0))
			}
		}
		fresh := NewTable(dual())
		for a := range table.local {
			fresh.SetLocal(a, true)
		}
		var all []model.Peer
		for _, p := range present {
			all = append(all, p)
		}
		fresh.Set(all)
		for name, got := range map[string]State{"the table's changes": have, "the table": table.Want()} {
			if diff := cmp.Diff(fresh.Want(), got, equal); diff != "" {
				t.Fatalf("seed %d: %s (-want +got):\n%s", seed, name, diff)
			}
		}
		if c := Diff(have, fresh.Want()); !c.Empty() {
			t.Fatalf("seed %d: %s", seed, text(c))
		}
		patch(have, table.Set(nil))
		if len(have.FDB)+len(have.Ports)+len(have.Neigh) != 0 || len(table.byID) != 0 {
			t.Fatalf("seed %d: Set(nil) left %+v", seed, have)
		}
	}
}

// patch does to a state what Apply does to a device.
func patch(s State, c Changes) {
	for _, f := range c.SetFDB {
		s.FDB[f.MAC] = f.VTEP
	}
	for _, m := range c.SetPorts {
		s.Ports[m] = true
	}
	for _, n := range c.SetNeigh {
		s.Neigh[n.Addr] = n.MAC
	}
	for _, a := range c.DelNeigh {
		delete(s.Neigh, a)
	}
	for _, m := range c.DelPorts {
		delete(s.Ports, m)
	}
	for _, m := range c.DelFDB {
		delete(s.FDB, m)
	}
}

func TestDiff(t *testing.T) {
	table := func(peers ...model.Peer) State {
		tb := NewTable(dual())
		tb.Set(peers)
		return tb.Want()
	}
	a, b := row("a", "10.0.0.2", "192.0.2.1"), row("b", "10.0.0.3", "192.0.2.2")
	elsewhere := row("a", "10.0.0.2", "192.0.2.3")
	for _, tt := range []struct {
		name       string
		have, want State
		changes    int
	}{
		{"nothing", newState(), newState(), 0},
		{"same", table(a, b), table(b, a), 0},
		{"one more", table(a), table(a, b), 4},
		{"one less", table(a, b), table(b), 4},
		{"moved", table(a), table(elsewhere), 1},
		{"exchanged", table(a), table(b), 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Diff(tt.have, tt.want)
			if c.Len() != tt.changes || c.Empty() != (tt.changes == 0) {
				t.Errorf("%d changes, want %d:\n%s", c.Len(), tt.changes, text(c))
			}
			patch(tt.have, c)
			if diff := cmp.Diff(tt.want, tt.have, equal); diff != "" {
				t.Errorf("patched (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusedEntriesAreNamed(t *testing.T) {
	c := Changes{
		SetFDB: []FDB{{model.MAC{2}, netip.MustParseAddr("192.0.2.1")}}, SetPorts: []model.MAC{{2}}, SetNeigh: []Neigh{{netip.MustParseAddr("10.0.0.2"), model.MAC{2}}},
		DelNeigh: []netip.Addr{netip.MustParseAddr("10.0.0.3")}, DelPorts: []model.MAC{{4}}, DelFDB: []model.MAC{{4}},
	}
	var failures []kernel.Failure
	for i := range c.Len() {
		failures = append(failures, kernel.Failure{Index: i, Err: unix.ENOENT})
	}
	err := explain(failures, c)
	if !errors.Is(err, unix.ENOENT) || strings.Count(err.Error(), "\n") != 2 || strings.Contains(err.Error(), "delete") {
		t.Errorf("ENOENT for everything: %v", err)
	}
	for i := range failures {
		failures[i].Err = unix.EPERM
	}
	err = explain(failures, c)
	if got := strings.Split(err.Error(), "\n"); len(got) != maxReported+1 || got[maxReported] != "and 1 more peer entries" ||
		got[3] != "delete neighbor entry 10.0.0.3: operation not permitted" {
		t.Errorf("EPERM for everything: %q", got)
	}
	if explain(nil, c) != nil {
		t.Error("no failure is an error")
	}
}

func TestClaimants(t *testing.T) {
	table := NewTable(plain())
	table.Apply([]model.PeerChange{set(row("b", "10.0.0.2", "192.0.2.1")), set(row("a", "10.0.0.2", "192.0.2.2"))})
	if got := table.Claimants(netip.MustParseAddr("10.0.0.2")); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("claimants are %v", got)
	}
	if _, ok := table.Get("b"); !ok {
		t.Error("the rival is not in the table")
	}
}

// The legs of hosts have entries like the endpoints they are beside, and no
// neighbor entries: they have no addresses.
func TestLegs(t *testing.T) {
	table := NewTable(plain())
	table.Legs = true
	a := row("a", "10.0.0.2", "192.0.2.1")
	leg := model.MAC{0x02, 0x43, 10, 0, 0, 2}
	for _, step := range []struct {
		event model.PeerChange
		want  Changes
	}{
		{set(a), Changes{
			SetFDB: []FDB{{a.MAC, a.VTEP}, {leg, a.VTEP}}, SetPorts: []model.MAC{a.MAC, leg}, SetNeigh: []Neigh{{a.Addr.Addr(), a.MAC}},
		}},
		{set(row("a", "10.0.0.2", "192.0.2.9")), Changes{SetFDB: []FDB{
			{a.MAC, netip.MustParseAddr("192.0.2.9")}, {leg, netip.MustParseAddr("192.0.2.9")},
		}}},
		{del(a), Changes{DelFDB: []model.MAC{a.MAC, leg}, DelPorts: []model.MAC{a.MAC, leg}, DelNeigh: []netip.Addr{a.Addr.Addr()}}},
	} {
		got := table.Apply([]model.PeerChange{step.event})
		if diff := cmp.Diff(step.want, got, equal); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	}
}
