package cluster

import (
	"encoding/binary"
	"strings"
	"testing"
)

const (
	table4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"tun0\t00000B0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
	table6 = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003     eth0\n"
)

func TestParseRoutes(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the example is from a little-endian machine")
	}
	var got []string
	for _, r := range append(parseRoutes4(strings.NewReader(table4)), parseRoutes6(strings.NewReader(table6))...) {
		got = append(got, r.to.String()+" "+r.link)
	}
	want := "0.0.0.0/0 eth0, 192.0.2.0/24 eth0, 10.11.0.0/16 tun0, fd00::/64 eth0, ::/0 eth0"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s\nwant\n%s", s, want)
	}
}

func FuzzParseRoutes(f *testing.F) {
	f.Add(table4)
	f.Add(table6)
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range append(parseRoutes4(strings.NewReader(text)), parseRoutes6(strings.NewReader(text))...) {
			if !r.to.IsValid() || r.to != r.to.Masked() {
				t.Errorf("%v", r.to)
			}
		}
	})
}
