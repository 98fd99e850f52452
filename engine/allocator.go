package engine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/docker/docker/api/types/network"

	"weft/engine/fault"
	"weft/engine/localnet"
	"weft/engine/model"
)

// allocator answers workload.Networks: addresses and legs from the node's own
// networks or from the swarm's.
type allocator struct{ e *Engine }

// subnet answers network.NetworkSubnet for Docker's own check of addresses.
type subnet struct{ model.Subnet }

func (s subnet) Contains(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	return ok && s.Prefix.Contains(a.Unmap())
}

func (s subnet) IsStatic() bool { return !s.Chosen }

// Check refuses addresses and aliases a network of this node can't give.
func (a allocator) Check(_ context.Context, req model.NetworkRequest) error {
	nw, local := a.e.local.Find(req.Network)
	if !local {
		return nil
	}
	var reasons []string
	if localnet.Predefined(nw.Name) {
		if req.Addr.IsValid() || req.AddrV6.IsValid() {
			reasons = append(reasons, "user specified IP address is supported on user defined networks only")
		}
		if len(req.Aliases) > 0 {
			reasons = append(reasons, "network-scoped alias is supported only for containers in user defined networks")
		}
	}
	var v4, v6 []network.NetworkSubnet
	for _, s := range nw.Subnets {
		if s.Prefix.Addr().Is4() {
			v4 = append(v4, subnet{s})
		} else {
			v6 = append(v6, subnet{s})
		}
	}
	config := network.EndpointIPAMConfig{IPv4Address: text(req.Addr), IPv6Address: text(req.AddrV6)}
	err := config.IsInRange(v4, v6)
	var several interface{ Unwrap() []error }
	switch {
	case errors.As(err, &several):
		for _, e := range several.Unwrap() {
			reasons = append(reasons, e.Error())
		}
	case err != nil:
		reasons = append(reasons, err.Error())
	}
	if len(reasons) == 0 {
		return nil
	}
	return fault.Invalid("invalid endpoint settings:\n* %s", strings.Join(reasons, "\n* "))
}

// text writes an address, the zero one as nothing.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (a allocator) Allocate(ctx context.Context, containerID string, req model.NetworkRequest) (model.Attachment, error) {
	if nw, local := a.e.local.Find(req.Network); local {
		return a.e.local.Allocate(nw, req)
	}
	var addrs []netip.Addr
	if req.Addr.IsValid() {
		addrs = append(addrs, req.Addr)
	}
	if a.e.control.NodeID() == "" {
		return model.Attachment{}, fault.NotFound("network %s not found", req.Network)
	}
	att, err := a.e.control.Attach(ctx, containerID, req.Network, addrs)
	if err != nil || !req.AddrV6.IsValid() {
		return att, err
	}
	if seg, ok := att.Network.Segment(att.Addrs[0].Addr()); !ok || seg.AddrV6(att.Addrs[0].Addr()).Addr() != req.AddrV6 {
		err = fault.Invalid("IPv6 address %s: an overlay endpoint's IPv6 address follows from its IPv4 address; leave --ip6 out, or give the one that belongs to %s",
			req.AddrV6, att.Addrs[0].Addr())
		if rel := a.e.control.Detach(context.WithoutCancel(ctx), containerID, att.Network.ID); rel != nil {
			a.e.cfg.Log.WarnContext(ctx, "address not released", "container_id", containerID, "network_id", att.Network.ID, "err", rel)
		}
	}
	return att, err
}

func (a allocator) Release(ctx context.Context, ep model.Endpoint) error {
	if a.e.swarms(ep.NetworkID) {
		return ignoreNotFound(a.e.control.Detach(ctx, ep.ContainerID, ep.NetworkID))
	}
	a.e.local.Release(ep)
	return nil
}

func (a allocator) Join(ctx context.Context, nw model.Network, ep model.Endpoint) (model.Endpoint, error) {
	if a.e.swarms(nw.ID) {
		return a.e.networks.join(ctx, nw, ep)
	}
	return a.e.local.Join(ctx, ep)
}

func (a allocator) Leave(ctx context.Context, ep model.Endpoint) error {
	if a.e.swarms(ep.NetworkID) {
		return a.e.networks.leave(ctx, ep)
	}
	return a.e.local.Leave(ctx, ep)
}

// SetReadiness tells the other nodes, and waits for them if an endpoint is to
// get nothing new.
func (a allocator) SetReadiness(ctx context.Context, endpoints []model.Endpoint) error {
	var errs []error
	var draining []model.Endpoint
	for _, ep := range endpoints {
		if !a.e.swarms(ep.NetworkID) {
			continue
		}
		if ep.Readiness == "" && len(ep.Ingress) > 0 {
			a.e.background.Go(func() { a.e.announceListening(ep) })
			continue
		}
		errs = append(errs, a.e.networks.setReadiness(ctx, ep))
		if ep.Readiness == model.Draining {
			draining = append(draining, ep)
		}
	}
	a.e.networks.drain(ctx, draining)
	return errors.Join(errs...)
}
