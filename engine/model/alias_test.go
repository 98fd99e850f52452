package model_test

import (
	"net/netip"
	"testing"

	"weft/engine/model"
)

func TestAliases(t *testing.T) {
	for _, c := range []struct{ subnet, node, task, v4 string }{
		{"10.0.0.0/24", "10.0.0.2", "10.0.0.5", "240.0.2.5"},
		{"10.0.0.0/24", "10.0.0.254", "10.0.0.253", "240.0.254.253"},
		{"192.168.7.128/25", "192.168.7.130", "192.168.7.255", "240.0.2.127"},
		{"172.20.8.0/22", "172.20.8.3", "172.20.11.9", "240.3.3.9"},
		{"10.11.0.0/16", "10.11.15.255", "10.11.255.1", "255.255.255.1"},
		{"10.11.0.0/16", "10.11.16.0", "10.11.0.9", ""}, // its place takes more than 12 bits
		{"10.0.0.0/8", "10.0.0.15", "10.1.2.3", "255.1.2.3"},
		{"10.0.0.0/8", "10.0.0.16", "10.1.2.3", ""},
		{"10.0.0.0/24", "10.0.0.2", "10.0.1.5", ""}, // of another of the network's subnets
		{"0.0.0.0/0", "0.0.0.0", "10.1.2.3", ""},
	} {
		t.Run(c.subnet+" "+c.node, func(t *testing.T) {
			node, task := netip.MustParseAddr(c.node), netip.MustParseAddr(c.task)
			a := model.AliasesOf(netip.PrefixFrom(node, netip.MustParsePrefix(c.subnet).Bits()))
			v4, v6 := a.V4(node, task), a.V6(node, task)
			got := ""
			if v4.IsValid() {
				got = v4.String()
				if back := a.Task(v4); back != task {
					t.Errorf("%v is of %v, not of %v", v4, task, back)
				}
			}
			if got != c.v4 {
				t.Errorf("V4 = %q, want %q", got, c.v4)
			}
			if back := a.Task(v6); back != task {
				t.Errorf("%v is of %v, not of %v", v6, task, back)
			}
			value, mask := a.Own(task)
			for i, alias := range []netip.Addr{v4, v6} {
				if alias.IsValid() && !within(alias, value[i], mask[i]) {
					t.Errorf("%v is none of %v's", alias, task)
				}
				if other := [](func(n, t netip.Addr) netip.Addr){a.V4, a.V6}[i](node, task.Prev()); other.IsValid() && within(other, value[i], mask[i]) {
					t.Errorf("%v is of another's, and taken for %v's", other, task)
				}
			}
		})
	}
	if a := model.AliasesOf(netip.MustParsePrefix("10.0.0.0/24")).Task(netip.MustParseAddr("10.0.0.5")); a.IsValid() {
		t.Errorf("what is no alias is %v's", a)
	}
}

func within(a, value, mask netip.Addr) bool {
	bits, want, m := a.AsSlice(), value.AsSlice(), mask.AsSlice()
	for i := range bits {
		if bits[i]&m[i] != want[i] {
			return false
		}
	}
	return true
}
