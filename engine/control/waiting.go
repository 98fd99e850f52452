package control

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/moby/swarmkit/v2/api"
)

// explainWaiting gives tasks that SwarmKit's allocator can't serve the reason,
// which it tells only its log: a network without a free address, or one that
// never got its subnet. It is worked out from the store, so that every manager
// gives it, whoever leads.
func explainWaiting(ctx context.Context, c api.ControlClient, tasks []*api.Task) error {
	var waiting []*api.Task
	for _, t := range tasks {
		if t.Status.State == api.TaskStateNew && t.DesiredState <= api.TaskStateRunning && len(t.Spec.Networks) > 0 {
			waiting = append(waiting, t)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	u, err := usageNow(ctx, c)
	if err != nil {
		return err
	}
	for _, t := range waiting {
		for _, na := range t.Spec.Networks {
			if reason := u.blocked(na.Target); reason != "" {
				t.Status.Err = reason
				break
			}
		}
	}
	return nil
}

// usage is which addresses of the swarm's networks are taken.
type usage struct {
	networks map[string]*api.Network
	taken    map[string]map[netip.Addr]bool // by network ID
}

func usageNow(ctx context.Context, c api.ControlClient) (usage, error) {
	u := usage{networks: map[string]*api.Network{}, taken: map[string]map[netip.Addr]bool{}}
	networks, err := listNetworks(ctx, c, nil)
	if err != nil {
		return u, err
	}
	for _, n := range networks {
		u.networks[n.ID] = n
	}
	tasks, err := listTasks(ctx, c, nil)
	if err != nil {
		return u, err
	}
	for _, t := range tasks {
		if t.Status.State <= api.TaskStateRunning {
			u.take(t.Networks)
		}
	}
	nodes, err := listNodes(ctx, c, nil)
	if err != nil {
		return u, err
	}
	for _, m := range nodes {
		u.take(m.Attachments)
	}
	services, err := listServices(ctx, c, nil)
	if err != nil {
		return u, err
	}
	for _, s := range services {
		if s.Endpoint == nil {
			continue
		}
		for _, v := range s.Endpoint.VirtualIPs {
			u.add(v.NetworkID, v.Addr)
		}
	}
	return u, nil
}

func (u usage) take(attachments []*api.NetworkAttachment) {
	for _, na := range attachments {
		if na == nil || na.Network == nil {
			continue
		}
		for _, a := range na.Addresses {
			u.add(na.Network.ID, a)
		}
	}
}

func (u usage) add(network, cidr string) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return
	}
	if u.taken[network] == nil {
		u.taken[network] = map[netip.Addr]bool{}
	}
	u.taken[network][p.Addr()] = true
}

// blocked says why a network can serve no more tasks, or "".
func (u usage) blocked(id string) string {
	n := u.networks[id]
	if n == nil || isPredefined(n) {
		return ""
	}
	if n.DriverState == nil {
		return u.unallocated(n)
	}
	var subnets []string
	for _, s := range subnetModels(n) {
		if s.Prefix.Addr().Is6() {
			continue
		}
		if free(s.Prefix, s.IPRange, u.withReserved(n.ID, s.Gateway, s.Aux)) > 0 {
			return ""
		}
		subnets = append(subnets, s.Prefix.String())
	}
	if len(subnets) == 0 {
		return ""
	}
	return fmt.Sprintf("no address left in network %s: subnet %s is exhausted: scale down, remove containers, or use a network with a larger subnet", n.Spec.Annotations.Name, strings.Join(subnets, " "))
}

func (u usage) withReserved(id string, gateway netip.Addr, aux map[string]netip.Addr) map[netip.Addr]bool {
	all := map[netip.Addr]bool{gateway: true}
	for a := range u.taken[id] {
		all[a] = true
	}
	for _, a := range aux {
		all[a] = true
	}
	return all
}

// free counts the addresses of an IPv4 subnet that can still be handed out.
func free(subnet, from netip.Prefix, taken map[netip.Addr]bool) int {
	if !from.IsValid() {
		from = subnet
	}
	left := 1 << (32 - from.Bits())
	for _, edge := range []netip.Addr{subnet.Masked().Addr(), lastAddr(subnet)} {
		if from.Contains(edge) && !taken[edge] {
			left--
		}
	}
	for a := range taken {
		if from.Contains(a) {
			left--
		}
	}
	return left
}

// unallocated explains a network without a subnet, if another network has
// what it asks for.
func (u usage) unallocated(n *api.Network) string {
	for _, mine := range subnetsOf([]*api.Network{n}) {
		for _, other := range u.networks {
			if other.DriverState == nil {
				continue
			}
			for _, theirs := range subnetsOf([]*api.Network{other}) {
				if mine.prefix.Overlaps(theirs.prefix) {
					return fmt.Sprintf("network %s has no addresses: its subnet %s overlaps with %s of network %s: remove one of the networks", mine.network, mine.prefix, theirs.prefix, theirs.network)
				}
			}
		}
	}
	return ""
}
