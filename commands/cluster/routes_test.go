package cluster

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

const table6 = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n" +
	"00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003     eth0\n"

// table4 is as a machine of this one's byte order has it.
func table4() string {
	hex := func(s string) string {
		a := netip.MustParseAddr(s).As4()
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(a[:]))
	}
	text := "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
	for _, r := range [][4]string{
		{"eth0", "0.0.0.0", "192.0.2.1", "0.0.0.0"}, {"eth0", "192.0.2.0", "0.0.0.0", "255.255.255.0"}, {"tun0", "10.11.0.0", "0.0.0.0", "255.255.0.0"},
	} {
		text += r[0] + "\t" + hex(r[1]) + "\t" + hex(r[2]) + "\t0001\t0\t0\t0\t" + hex(r[3]) + "\t0\t0\t0\n"
	}
	return text
}

func TestParseRoutes(t *testing.T) {
	var got []string
	for _, r := range append(parseRoutes4(strings.NewReader(table4())), parseRoutes6(strings.NewReader(table6))...) {
		got = append(got, r.to.String()+" "+r.link)
	}
	want := "0.0.0.0/0 eth0, 192.0.2.0/24 eth0, 10.11.0.0/16 tun0, fd00::/64 eth0, ::/0 eth0"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s\nwant\n%s", s, want)
	}
}

func FuzzParseRoutes(f *testing.F) {
	f.Add(table4())
	f.Add(table6)
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range append(parseRoutes4(strings.NewReader(text)), parseRoutes6(strings.NewReader(text))...) {
			if !r.to.IsValid() || r.to != r.to.Masked() {
				t.Errorf("%v", r.to)
			}
		}
	})
}
