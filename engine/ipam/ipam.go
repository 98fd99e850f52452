// Package ipam keeps the addresses of networks that belong to this node alone:
// which subnets they have and who has which address in them. Addresses of
// swarm networks are the swarm's business.
//
// The bookkeeping is Docker's own allocator, so subnets are chosen in Docker's
// order and refusals have Docker's words. It is in memory only: at a start the
// owner claims again what its records say.
package ipam

import (
	"crypto/sha256"
	"net/netip"
	"slices"

	"github.com/docker/docker/libnetwork/ipams/defaultipam"
	"github.com/docker/docker/libnetwork/ipamutils"

	"github.com/docker/docker/libnetwork/ipamapi"

	"weft/engine/fault"
	"weft/engine/model"
)

// Pools are the subnets and addresses given out. It is safe for concurrent use.
type Pools struct {
	alloc *defaultipam.Allocator
	space string // the allocator's name of the local address space
}

// New gives pools without claims. Subnets nobody asks for in particular come
// from Docker's local default pools (172.17.0.0/16 and so on), and for IPv6
// from unique local addresses (RFC 4193) that are this engine's own.
func New(engineID string) (*Pools, error) {
	pools := append(ipamutils.GetLocalScopeDefaultNetworks(), &ipamutils.NetworkToSplit{Base: uniqueLocal(engineID), Size: 64})
	alloc, err := defaultipam.NewAllocator(pools, nil)
	if err != nil {
		return nil, fault.Internal("make the address allocator: %w", err)
	}
	space, _, err := alloc.GetDefaultAddressSpaces()
	if err != nil {
		return nil, fault.Internal("make the address allocator: %w", err)
	}
	return &Pools{alloc: alloc, space: space}, nil
}

// uniqueLocal gives a /48 whose global ID derives from the engine's.
func uniqueLocal(engineID string) netip.Prefix {
	sum := sha256.Sum256([]byte(engineID))
	addr := [16]byte{0xfd}
	copy(addr[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(addr), 48)
}

// Claim takes a subnet with its gateway and reserved addresses, and gives it
// completed. Without a prefix one is chosen that overlaps none of avoid; v6
// says of which family. Without a gateway it is the lowest address that is
// free. Nothing is taken when it fails.
func (p *Pools) Claim(want model.Subnet, v6 bool, avoid []netip.Prefix) (model.Subnet, error) {
	req := ipamapi.PoolRequest{AddressSpace: p.space, V6: v6}
	if want.Prefix.IsValid() {
		req.Pool, req.V6 = want.Prefix.String(), want.Prefix.Addr().Is6()
		if want.IPRange.IsValid() {
			req.SubPool = want.IPRange.String()
		}
	} else {
		req.Exclude = slices.Clone(avoid)
		slices.SortFunc(req.Exclude, func(a, b netip.Prefix) int {
			if c := a.Addr().Compare(b.Addr()); c != 0 {
				return c
			}
			return a.Bits() - b.Bits()
		})
	}
	pool, err := p.alloc.RequestPool(req)
	if err != nil {
		return want, err
	}
	got := want
	got.Prefix = pool.Pool
	if err := p.reserve(&got); err != nil {
		p.Release(got)
		return want, err
	}
	return got, nil
}

// reserve takes the addresses of s no endpoint may have.
func (p *Pools) reserve(s *model.Subnet) error {
	for name, addr := range s.Aux {
		if _, err := p.Take(*s, addr); err != nil {
			return fault.Invalid("auxiliary address %s (%s): %w", name, addr, err)
		}
	}
	gateway, err := p.Take(*s, s.Gateway)
	if err != nil {
		return fault.Invalid("failed to allocate gateway (%s): %w", s.Gateway, err)
	}
	s.GatewayChosen = s.GatewayChosen || !s.Gateway.IsValid()
	s.Gateway = gateway
	return nil
}

// Release gives a claimed subnet back with every address in it.
func (p *Pools) Release(s model.Subnet) {
	_ = p.alloc.ReleasePool(p.id(s)) // fails for what was not claimed only
}

// Take gives an address of a claimed subnet: the one wanted or, for the zero
// address, the lowest that is free.
func (p *Pools) Take(s model.Subnet, want netip.Addr) (netip.Addr, error) {
	var prefer []byte
	if want.IsValid() {
		prefer = want.AsSlice()
	}
	got, _, err := p.alloc.RequestAddress(p.id(s), prefer, nil)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, _ := netip.AddrFromSlice(got.IP)
	return addr.Unmap(), nil
}

// Give takes an address back.
func (p *Pools) Give(s model.Subnet, addr netip.Addr) {
	_ = p.alloc.ReleaseAddress(p.id(s), addr.AsSlice()) // fails for what was not taken only
}

func (p *Pools) id(s model.Subnet) string {
	id := defaultipam.PoolID{AddressSpace: p.space}
	id.Subnet, id.ChildSubnet = s.Prefix.Masked(), s.IPRange
	if s.IPRange.IsValid() {
		id.ChildSubnet = s.IPRange.Masked()
	}
	return id.String()
}
