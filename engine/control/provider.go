package control

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"strings"

	"github.com/docker/docker/libnetwork/cnmallocator"
	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/manager/allocator/networkallocator"
	"github.com/moby/swarmkit/v2/node/plugin"
)

// provider is Docker's network allocator with three things mended: it would
// hand an endpoint an IPv6 address in place of an IPv4 one, ignore reserved
// addresses, and say of a full network neither name nor subnet.
type provider struct{ *cnmallocator.Provider }

func newProvider() networkallocator.Provider {
	return provider{cnmallocator.NewProvider(nil)}
}

// SetDefaultVXLANUDPPort does nothing: libnetwork keeps the port in a global,
// and the executor has it from this node's own object.
func (provider) SetDefaultVXLANUDPPort(uint32) error { return nil }

// dockersPool is what Docker's allocator takes addresses from when it is given
// no pool (libnetwork/ipamutils). Left to itself it writes to a list that all
// managers of a process share.
const dockersPool = "10.0.0.0/8"

// NewAllocator implements networkallocator.Provider.
func (p provider) NewAllocator(c *networkallocator.Config) (networkallocator.NetworkAllocator, error) {
	conf := networkallocator.Config{DefaultAddrPool: []string{dockersPool}, SubnetSize: defaultSubnetSize}
	if c != nil && len(c.DefaultAddrPool) > 0 {
		conf = *c
	}
	inner, err := p.Provider.NewAllocator(&conf)
	if err != nil {
		return nil, err
	}
	return &allocator{NetworkAllocator: inner, refused: map[string]bool{}}, nil
}

// allocator runs in the leader's allocator loop, which is one goroutine.
type allocator struct {
	networkallocator.NetworkAllocator

	refused map[string]bool // rejected attachments, by task ID
}

// Allocate gives the network its IPv4 pools and VNIs from Docker's allocator,
// and beside them its IPv6 subnets as asked for.
func (a *allocator) Allocate(n *api.Network) error {
	v4 := n.Copy()
	v6 := splitV6(v4)
	if err := a.NetworkAllocator.Allocate(v4); err != nil {
		return fmt.Errorf("network %s: %w", n.Spec.Annotations.Name, err)
	}
	if err := a.reserve(v4); err != nil {
		return errors.Join(err, a.NetworkAllocator.Deallocate(v4))
	}
	n.DriverState = v4.DriverState.Copy()
	n.IPAM = v4.IPAM.Copy()
	n.IPAM.Configs = append(n.IPAM.Configs, v6...)
	return nil
}

// Deallocate implements networkallocator.NetworkAllocator.
func (a *allocator) Deallocate(n *api.Network) error {
	v4 := n.Copy()
	splitV6(v4)
	return errors.Join(a.release(v4), a.NetworkAllocator.Deallocate(v4))
}

// splitV6 takes the IPv6 subnets out of a network and gives them completed
// with a gateway, the first address where none is asked for.
func splitV6(n *api.Network) []*api.IPAMConfig {
	var v6 []*api.IPAMConfig
	if n.IPAM != nil {
		n.IPAM.Configs, v6 = byFamily(n.IPAM.Configs)
	}
	if n.Spec.IPAM != nil {
		var wanted []*api.IPAMConfig
		n.Spec.IPAM.Configs, wanted = byFamily(n.Spec.IPAM.Configs)
		if len(v6) == 0 {
			v6 = wanted
		}
	}
	if n.IPAM != nil && len(n.IPAM.Configs) == 0 {
		n.IPAM = nil // nothing allocated yet: the spec decides
	}
	out := make([]*api.IPAMConfig, len(v6))
	for i, ic := range v6 {
		out[i] = ic.Copy()
		if p, err := netip.ParsePrefix(ic.Subnet); err == nil && ic.Gateway == "" {
			out[i].Gateway = p.Masked().Addr().Next().String()
		}
	}
	return out
}

func byFamily(all []*api.IPAMConfig) (v4, v6 []*api.IPAMConfig) {
	for _, ic := range all {
		if isV6(ic.Subnet) {
			v6 = append(v6, ic)
		} else {
			v4 = append(v4, ic)
		}
	}
	return v4, v6
}

// holding is a reserved address as Docker's allocator can be made to hold it:
// the attachment of a node that does not exist.
type holding struct {
	node *api.Node
	na   *api.NetworkAttachment
}

func holdings(n *api.Network) []holding {
	var out []holding
	if n.IPAM == nil {
		return nil
	}
	for _, ic := range n.IPAM.Configs {
		p, err := netip.ParsePrefix(ic.Subnet)
		if err != nil {
			continue
		}
		names := make([]string, 0, len(ic.Reserved))
		for name := range ic.Reserved {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			addr := ic.Reserved[name]
			if r, err := netip.ParsePrefix(ic.Range); err == nil && !r.Contains(mustAddr(addr)) {
				continue // never handed out
			}
			out = append(out, holding{
				node: &api.Node{ID: "reserved " + addr},
				na:   &api.NetworkAttachment{Network: n, Addresses: []string{fmt.Sprintf("%s/%d", addr, p.Bits())}},
			})
		}
	}
	return out
}

// mustAddr is the zero address for what is none: validation has seen to it.
func mustAddr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

func (a *allocator) reserve(n *api.Network) error {
	for _, h := range holdings(n) {
		if err := a.NetworkAllocator.AllocateAttachment(h.node, h.na); err != nil {
			return fmt.Errorf("network %s: reserve %s: %w", n.Spec.Annotations.Name, h.na.Addresses[0], err)
		}
	}
	return nil
}

func (a *allocator) release(n *api.Network) error {
	var errs []error
	for _, h := range holdings(n) {
		errs = append(errs, a.NetworkAllocator.DeallocateAttachment(h.node, h.na))
	}
	return errors.Join(errs...)
}

// AllocateService implements networkallocator.NetworkAllocator.
func (a *allocator) AllocateService(s *api.Service) error {
	if err := a.NetworkAllocator.AllocateService(s); err != nil {
		return fmt.Errorf("service %s: %w", s.Spec.Annotations.Name, err)
	}
	return nil
}

// AllocateTask gives a task its addresses. A task of a service that gets none
// waits for one, as in Docker. A standalone container's attachment can't wait:
// it is rejected with the reason, and its node hears of it at once.
func (a *allocator) AllocateTask(t *api.Task) error {
	err := a.NetworkAllocator.AllocateTask(t)
	if err == nil {
		return nil
	}
	var names []string
	for _, na := range t.Networks {
		names = append(names, describe(na.Network))
	}
	err = fmt.Errorf("%s: %w", strings.Join(names, ", "), err)
	if t.Spec.GetAttachment() == nil {
		return err
	}
	t.Status.State = api.TaskStateRejected
	t.Status.Message = "rejected by the network allocator"
	t.Status.Err = err.Error()
	a.refused[t.ID] = true
	return nil
}

// IsTaskAllocated says so of a rejected attachment too: only then is the
// rejection committed.
func (a *allocator) IsTaskAllocated(t *api.Task) bool {
	return a.refused[t.ID] || a.NetworkAllocator.IsTaskAllocated(t)
}

// DeallocateTask implements networkallocator.NetworkAllocator.
func (a *allocator) DeallocateTask(t *api.Task) error {
	delete(a.refused, t.ID)
	return a.NetworkAllocator.DeallocateTask(t)
}

// AllocateAttachment gives a node its own address in a network.
func (a *allocator) AllocateAttachment(node *api.Node, na *api.NetworkAttachment) error {
	if err := a.NetworkAllocator.AllocateAttachment(node, na); err != nil {
		return fmt.Errorf("%s: %w", describe(na.Network), err)
	}
	return nil
}

// describe names a network and its subnets.
func describe(n *api.Network) string {
	s := "network " + n.Spec.Annotations.Name
	if n.IPAM == nil {
		return s
	}
	var subnets []string
	for _, ic := range n.IPAM.Configs {
		subnets = append(subnets, ic.Subnet)
	}
	return s + " (" + strings.Join(subnets, ", ") + ")"
}

// noPlugins is a plugin store with nothing in it.
type noPlugins struct{}

// Get implements plugin.Getter.
func (noPlugins) Get(name, _ string) (plugin.Plugin, error) {
	return nil, fmt.Errorf("plugin %q not found", name)
}

// GetAllManagedPluginsByCap implements plugin.Getter.
func (noPlugins) GetAllManagedPluginsByCap(string) []plugin.Plugin { return nil }
