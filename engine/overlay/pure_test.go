package overlay

import (
	"net/netip"
	"strings"
	"testing"

	"weft/engine/link"
	"weft/engine/model"
)

func TestTaskMTU(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tt := range []struct {
		underlay int
		vtep     netip.Addr
		asked    int
		want     int
		capped   bool
	}{
		{1500, v4, 0, 1450, false},
		{1500, v6, 0, 1430, false},
		{9000, v4, 0, 8950, false},
		{1500, v4, 1450, 1450, false},
		{1500, v4, 1451, 1450, true},
		{1500, v4, 1300, 1300, false},
		{1500, v4, -1, 1450, false},
		{65536, v4, 0, 65486, false},
		{70000, v4, 0, 65535, false},
	} {
		if got, capped := taskMTU(tt.underlay, tt.vtep, tt.asked); got != tt.want || capped != tt.capped {
			t.Errorf("taskMTU(%d, %s, %d) is %d, %t, want %d, %t", tt.underlay, tt.vtep, tt.asked, got, capped, tt.want, tt.capped)
		}
	}
}

func TestNames(t *testing.T) {
	const id = "kx3jlz0vqo2a8lq5b7q1x9c2d" // as SwarmKit makes them
	for _, tt := range []struct{ got, want string }{
		{namespaceName(id), "ov-kx3jlz0vqo2a"},
		{namespaceName("short"), "ov-short"},
		{bridgeName(id, 0), "wbrkx3jlz0v-0"},
		{vxlanName(id, maxSegments-1), "wvxkx3jlz0v-999"},
		{vethName(strings.Repeat("0123456789abcdef", 4)), "wve0123456789ab"},
	} {
		if tt.got != tt.want {
			t.Errorf("name is %s, want %s", tt.got, tt.want)
		}
		if !strings.HasPrefix(tt.got, namespacePrefix) && len(tt.got) > link.MaxName {
			t.Errorf("%s is too long for a device", tt.got)
		}
	}
}

func TestIDs(t *testing.T) {
	for id, ok := range map[string]bool{
		"kx3jlz0vqo2a8lq5b7q1x9c2d": true, "0123456789abcdef": true, "": false, "..": false, "a/b": false, "a b": false, "a\x00b": false, "a%d": false,
	} {
		if err := checkID("network", id); (err == nil) != ok {
			t.Errorf("checkID(%q): %v", id, err)
		}
	}
}

func TestBridgeMAC(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	seen := map[model.MAC]bool{}
	for _, vtep := range []netip.Addr{a, b, netip.MustParseAddr("2001:db8::1")} {
		for vni := range model.VNI(100) {
			m := bridgeMAC(vtep, vni)
			if m != bridgeMAC(vtep, vni) || seen[m] || m[0] != 0x02 || m[1] == 0x42 {
				t.Errorf("MAC of %s, VNI %d: %s", vtep, vni, m)
			}
			seen[m] = true
		}
	}
}

func TestAdoptedPeersYieldToRealOnes(t *testing.T) {
	for _, real := range []string{"0", "f", "z", "Z"} {
		if real >= synthetic {
			t.Errorf("ID %q does not sort before %q", real, synthetic)
		}
	}
}
