package control

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"

	"github.com/docker/docker/api/types/network"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
)

const overlayDriver = "overlay"

// maxV6Bits is the longest IPv6 prefix an endpoint's IPv4 address fits behind
// (model.Segment.AddrV6).
const maxV6Bits = 96

// namedPrefix is a subnet and the network that has it.
type namedPrefix struct {
	network string
	prefix  netip.Prefix
}

func subnetsOf(networks []*api.Network) []namedPrefix {
	var out []namedPrefix
	for _, nw := range networks {
		ipam := nw.IPAM
		if ipam == nil {
			ipam = nw.Spec.IPAM
		}
		if ipam == nil {
			continue
		}
		for _, ic := range ipam.Configs {
			if p, err := netip.ParsePrefix(ic.Subnet); err == nil {
				out = append(out, namedPrefix{nw.Spec.Annotations.Name, p.Masked()})
			}
		}
	}
	return out
}

// checkNetwork refuses what can't become an overlay network, all reasons at
// once, in the words of Docker's api/types/network.ValidateIPAM where it has
// some. taken are the subnets of the swarm's other networks.
func checkNetwork(req network.CreateRequest, taken []namedPrefix) error {
	if req.EnableIPv4 != nil && !*req.EnableIPv4 {
		return fault.Invalid("IPv4 cannot be disabled in a network of driver %s: its endpoints are found by their IPv4 addresses: create it without --ipv4=false", req.Driver)
	}
	if req.IPAM == nil {
		return checkFamilies(req, nil)
	}
	var errs []error
	var pools []pool
	for _, cfg := range req.IPAM.Config {
		p, poolErrs := parsePool(cfg)
		errs = append(errs, poolErrs...)
		if p.prefix.IsValid() {
			pools = append(pools, p)
		}
	}
	errs = append(errs, overlaps(pools)...)
	if len(errs) > 0 {
		return fault.Invalid("invalid network config:\n%w", errors.Join(errs...))
	}
	if err := checkFamilies(req, pools); err != nil {
		return err
	}
	for _, p := range pools {
		for _, t := range taken {
			if p.prefix.Overlaps(t.prefix) {
				return fault.Conflict("invalid pool request: Pool overlaps with other one on this address space: subnet %s overlaps with %s of network %s: choose another --subnet", p.prefix, t.prefix, t.network)
			}
		}
	}
	return nil
}

// pool is one IPAM config as parsed.
type pool struct {
	prefix  netip.Prefix
	gateway netip.Addr
}

func parsePool(cfg network.IPAMConfig) (pool, []error) {
	prefix, err := netip.ParsePrefix(cfg.Subnet)
	if cfg.Subnet == "" {
		return pool{}, []error{errors.New("every ip-range or gateway must have a corresponding subnet")}
	}
	if err != nil {
		return pool{}, []error{fmt.Errorf("invalid subnet %s: invalid CIDR block notation", cfg.Subnet)}
	}
	if prefix != prefix.Masked() {
		return pool{}, []error{fmt.Errorf("invalid subnet %s: it should be %s", prefix, prefix.Masked())}
	}
	errs := checkRange(cfg.IPRange, prefix)
	gateway, err := addrIn(cfg.Gateway, prefix)
	if err != nil {
		errs = append(errs, fmt.Errorf("invalid gateway %s: %w", cfg.Gateway, err))
	}
	names := make([]string, 0, len(cfg.AuxAddress))
	for name := range cfg.AuxAddress {
		names = append(names, name)
	}
	sort.Strings(names)
	seen := map[netip.Addr]string{}
	if gateway.IsValid() {
		seen[gateway] = "the gateway"
	}
	for _, name := range names {
		a, err := addrIn(cfg.AuxAddress[name], prefix)
		if err == nil && a.IsValid() && seen[a] != "" {
			err = fmt.Errorf("%s is %s", a, seen[a])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("invalid auxiliary address %s: %w", name, err))
			continue
		}
		seen[a] = "auxiliary address " + name
	}
	return pool{prefix, gateway}, errs
}

func family(a netip.Addr) string {
	if a.Is6() {
		return "IPv6"
	}
	return "IPv4"
}

func checkRange(s string, subnet netip.Prefix) []error {
	if s == "" {
		return nil
	}
	r, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return []error{fmt.Errorf("invalid ip-range %s: invalid CIDR block notation", s)}
	case family(r.Addr()) != family(subnet.Addr()):
		return []error{fmt.Errorf("invalid ip-range %s: parent subnet is an %s block", s, family(subnet.Addr()))}
	}
	var errs []error
	if r.Bits() < subnet.Bits() {
		errs = append(errs, fmt.Errorf("invalid ip-range %s: CIDR block is bigger than its parent subnet %s", s, subnet))
	}
	if r != r.Masked() {
		errs = append(errs, fmt.Errorf("invalid ip-range %s: it should be %s", s, r.Masked()))
	}
	if !subnet.Overlaps(r) {
		errs = append(errs, fmt.Errorf("invalid ip-range %s: parent subnet %s doesn't contain ip-range", s, subnet))
	}
	return errs
}

// addrIn parses an address that must belong to subnet; "" is none.
func addrIn(s string, subnet netip.Prefix) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, errors.New("invalid address")
	case family(a) != family(subnet.Addr()):
		return netip.Addr{}, fmt.Errorf("parent subnet is an %s block", family(subnet.Addr()))
	case !subnet.Contains(a):
		return netip.Addr{}, fmt.Errorf("parent subnet %s doesn't contain this address", subnet)
	case a.Is4() && subnet.Bits() < 31 && (a == subnet.Addr() || a == lastAddr(subnet)):
		return netip.Addr{}, fmt.Errorf("it is the network or broadcast address of %s", subnet)
	}
	return a, nil
}

// lastAddr gives the highest address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func overlaps(pools []pool) []error {
	var errs []error
	for i, a := range pools {
		for _, b := range pools[:i] {
			if a.prefix.Overlaps(b.prefix) {
				errs = append(errs, fmt.Errorf("invalid subnet %s: it overlaps with subnet %s of the same network", a.prefix, b.prefix))
			}
		}
	}
	return errs
}

// checkFamilies holds an overlay to what its segments can carry: each has an
// IPv4 subnet and at most one IPv6 subnet beside it.
func checkFamilies(req network.CreateRequest, pools []pool) error {
	v6on := req.EnableIPv6 != nil && *req.EnableIPv6
	var v4, v6 []pool
	for _, p := range pools {
		if p.prefix.Addr().Is6() {
			v6 = append(v6, p)
			continue
		}
		if p.prefix.Bits() > maxV4Bits {
			return fault.Invalid("subnet %s is too small for an overlay network: each node takes an address of its own beside gateway and endpoints: use /%d or larger", p.prefix, maxV4Bits)
		}
		v4 = append(v4, p)
	}
	switch {
	case len(v6) > 0 && !v6on:
		return fault.Invalid("subnet %s is IPv6, and IPv6 is not enabled for network %s: add --ipv6", v6[0].prefix, req.Name)
	case len(v6) > 0 && len(v4) == 0:
		return fault.Invalid("network %s has IPv6 subnets only, and an overlay network needs IPv4: add --subnet with an IPv4 subnet for each IPv6 one", req.Name)
	case len(v6) > len(v4):
		return fault.Invalid("network %s has %d IPv6 subnets and %d IPv4 ones: add --subnet with an IPv4 subnet for each IPv6 one", req.Name, len(v6), len(v4))
	case v6on && len(v6) == 0:
		return fault.Invalid("network %s has IPv6 enabled and no IPv6 subnet: add --subnet with one, /%d or larger, for example fd00:10:20::/64", req.Name, maxV6Bits)
	}
	for i, p := range v6 {
		if err := checkV6(p, v4[i]); err != nil {
			return err
		}
	}
	return nil
}

// maxV4Bits is the smallest subnet Docker accepts as a default pool's.
const maxV4Bits = maxSubnetSize

func checkV6(p, v4 pool) error {
	if p.prefix.Bits() > maxV6Bits {
		return fault.Invalid("subnet %s is too small: an endpoint's IPv6 address ends in its IPv4 address: use /%d or larger", p.prefix, maxV6Bits)
	}
	if !p.gateway.IsValid() {
		return nil
	}
	raw := p.gateway.As16()
	low := netip.AddrFrom4([4]byte(raw[12:]))
	if v4.prefix.Contains(low) && sameHigh(p.gateway, p.prefix) {
		return fault.Invalid("gateway %s is the IPv6 address of the endpoint with IPv4 address %s: choose another one, for example %s", p.gateway, low, p.prefix.Addr().Next())
	}
	return nil
}

// sameHigh reports whether a is the prefix's address in all but its low 32 bits.
func sameHigh(a netip.Addr, p netip.Prefix) bool {
	x, y := a.As16(), p.Masked().Addr().As16()
	return [12]byte(x[:12]) == [12]byte(y[:12])
}
