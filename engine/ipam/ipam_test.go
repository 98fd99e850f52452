package ipam_test

import (
	"net/netip"
	"testing"

	"github.com/containerd/errdefs"

	"weft/engine/ipam"
	"weft/engine/model"
)

func pools(t *testing.T) *ipam.Pools {
	t.Helper()
	p, err := ipam.New("engine")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func claim(t *testing.T, p *ipam.Pools, s model.Subnet, avoid ...netip.Prefix) model.Subnet {
	t.Helper()
	got, err := p.Claim(s, false, avoid)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestClaimChoosesSubnets(t *testing.T) {
	p := pools(t)
	first := claim(t, p, model.Subnet{})
	if first.Prefix.String() != "172.17.0.0/16" || first.Gateway.String() != "172.17.0.1" {
		t.Errorf("first subnet %v", first)
	}
	second := claim(t, p, model.Subnet{}, netip.MustParsePrefix("172.19.4.0/24"), netip.MustParsePrefix("172.18.0.0/24"))
	if second.Prefix.String() != "172.20.0.0/16" {
		t.Errorf("beside routes to 172.18 and 172.19: %v", second.Prefix)
	}
	p.Release(first)
	if again := claim(t, p, model.Subnet{}); again.Prefix.Addr().Is6() || again.Prefix == second.Prefix {
		t.Errorf("after a release: %v", again.Prefix)
	}
}

func TestClaimChoosesIPv6(t *testing.T) {
	p := pools(t)
	first, err := p.Claim(model.Subnet{}, true, nil)
	if err != nil || first.Prefix.Bits() != 64 || !netip.MustParsePrefix("fd00::/8").Contains(first.Prefix.Addr()) {
		t.Fatalf("%v, %v", first, err)
	}
	second, err := p.Claim(model.Subnet{}, true, nil)
	if err != nil || second.Prefix.Overlaps(first.Prefix) {
		t.Errorf("%v beside %v, %v", second, first, err)
	}
}

func TestClaimKeepsWhatIsAsked(t *testing.T) {
	p := pools(t)
	want := model.Subnet{
		Prefix: netip.MustParsePrefix("10.9.0.0/24"), IPRange: netip.MustParsePrefix("10.9.0.128/25"),
		Gateway: netip.MustParseAddr("10.9.0.7"), Aux: map[string]netip.Addr{"router": netip.MustParseAddr("10.9.0.129")},
	}
	got := claim(t, p, want)
	if got.Gateway != want.Gateway {
		t.Errorf("gateway %v", got.Gateway)
	}
	for _, addr := range []string{"10.9.0.128", "10.9.0.130", "10.9.0.131"} { // not the reserved .129
		a, err := p.Take(got, netip.Addr{})
		if err != nil || a.String() != addr {
			t.Errorf("Take = %v, %v, want %s", a, err, addr)
		}
	}
	if _, err := p.Take(got, want.Gateway); !errdefs.IsPermissionDenied(err) || err.Error() != "Address already in use" {
		t.Errorf("the gateway's address: %v", err)
	}
	p.Give(got, netip.MustParseAddr("10.9.0.128"))
	if a, err := p.Take(got, netip.Addr{}); err != nil || a.String() != "10.9.0.128" {
		t.Errorf("after Give: %v, %v", a, err)
	}
	if _, err := p.Claim(model.Subnet{Prefix: netip.MustParsePrefix("10.9.0.0/16")}, false, nil); !errdefs.IsPermissionDenied(err) {
		t.Errorf("an overlapping subnet: %v", err)
	}
	p.Release(got)
	claim(t, p, model.Subnet{Prefix: netip.MustParsePrefix("10.9.0.0/16")})
}

func TestClaimFailsWhole(t *testing.T) {
	p := pools(t)
	bad := model.Subnet{
		Prefix: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.5"),
		Aux: map[string]netip.Addr{"a": netip.MustParseAddr("10.9.0.5")},
	}
	if _, err := p.Claim(bad, false, nil); err == nil {
		t.Fatal("an address was reserved twice")
	}
	claim(t, p, model.Subnet{Prefix: bad.Prefix})
}

func TestTakeEndsWithTheSubnet(t *testing.T) {
	p := pools(t)
	s := claim(t, p, model.Subnet{Prefix: netip.MustParsePrefix("10.9.0.0/29")})
	for range 5 {
		if _, err := p.Take(s, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := p.Take(s, netip.Addr{}); err == nil {
		t.Errorf("a sixth address: %v", a)
	}
}
