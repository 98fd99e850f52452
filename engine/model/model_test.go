package model_test

import (
	"net/netip"
	"testing"

	"weft/engine/model"
)

func subnet(s string) model.Subnet { return model.Subnet{Prefix: netip.MustParsePrefix(s)} }

func TestSegments(t *testing.T) {
	n := model.Network{Subnets: []model.Subnet{
		subnet("10.20.0.0/16"), subnet("10.21.0.0/16"), subnet("fd00:20::/64"),
	}}
	segs := n.Segments()
	if len(segs) != 2 || !segs[0].HasV6() || segs[1].HasV6() {
		t.Fatalf("segments = %+v", segs)
	}
	cases := []struct{ v4, v6 string }{
		{"10.20.0.5", "fd00:20::a14:5/64"},
		{"10.20.255.254", "fd00:20::a14:fffe/64"},
		{"10.21.0.5", "invalid Prefix"},
	}
	for _, tc := range cases {
		a := netip.MustParseAddr(tc.v4)
		seg, ok := n.Segment(a)
		if !ok || seg.AddrV6(a).String() != tc.v6 {
			t.Errorf("IPv6 address of %s = %s, want %s", tc.v4, seg.AddrV6(a), tc.v6)
		}
	}
	if _, ok := n.Segment(netip.MustParseAddr("10.22.0.1")); ok {
		t.Error("an address outside every subnet has a segment")
	}
}

func TestMAC(t *testing.T) {
	m := model.MACFromAddr(netip.MustParseAddr("10.20.0.5"))
	if m.String() != "02:42:0a:14:00:05" {
		t.Errorf("MAC of 10.20.0.5 = %s", m)
	}
	if p, err := model.ParseMAC(m.String()); err != nil || p != m {
		t.Errorf("ParseMAC(%s) = %v, %v", m, p, err)
	}
	for _, bad := range []string{"", "02:42", "02:42:0a:14:00:05:06:07", "zz:42:0a:14:00:05"} {
		if _, err := model.ParseMAC(bad); err == nil {
			t.Errorf("ParseMAC(%q) gave no error", bad)
		}
	}
}
