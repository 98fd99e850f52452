package localnet

import (
	"context"
	"errors"
	"net/netip"

	"weft/engine/fault"
	"weft/engine/model"
)

// Allocate takes addresses on a network for a container: those asked for, or
// the lowest that are free.
func (r *Registry) Allocate(nw model.Network, req model.NetworkRequest) (model.Attachment, error) {
	a := model.Attachment{Network: nw, Aliases: req.Aliases}
	for _, s := range nw.Subnets {
		want := req.Addr
		if !isV4(s) {
			want = req.AddrV6
		}
		addr, err := r.pools.Take(s, want)
		if err != nil {
			r.give(nw, a.Addrs)
			return a, err
		}
		a.Addrs = append(a.Addrs, netip.PrefixFrom(addr, s.Prefix.Bits()))
	}
	return a, nil
}

// Release gives the addresses of an endpoint back.
func (r *Registry) Release(ep model.Endpoint) {
	if nw, ok := r.Network(ep.NetworkID); ok {
		r.give(nw, []netip.Prefix{ep.Addr, ep.AddrV6})
	}
}

func (r *Registry) give(nw model.Network, addrs []netip.Prefix) {
	for _, a := range addrs {
		for _, s := range nw.Subnets {
			if a.IsValid() && s.Prefix.Contains(a.Addr()) {
				r.pools.Give(s, a.Addr())
			}
		}
	}
}

// Join plugs an endpoint into its network.
func (r *Registry) Join(ctx context.Context, ep model.Endpoint) (model.Endpoint, error) {
	r.mu.Lock()
	nw, ok := r.networks[ep.NetworkID]
	var err error
	if !ok {
		err = fault.NotFound("network %s not found", ep.NetworkName)
	} else {
		err = r.ensure(ctx, nw)
	}
	r.mu.Unlock()
	if err != nil {
		return ep, err
	}
	return r.Driver.Join(ctx, ep)
}

// Leave unplugs an endpoint.
func (r *Registry) Leave(ctx context.Context, ep model.Endpoint) error {
	return r.Driver.Leave(ctx, ep.NetworkID, ep.ID)
}

// Restore takes up the endpoints of containers that still run, and removes
// from the kernel what is nobody's.
func (r *Registry) Restore(ctx context.Context, endpoints []model.Endpoint) error {
	keep, used := map[string]bool{}, map[string]bool{}
	for _, ep := range endpoints {
		if nw, ok := r.Network(ep.NetworkID); ok {
			keep[ep.ID], used[nw.ID] = true, true
			r.takeUp(ctx, nw, ep)
		}
	}
	var networks []model.Network
	for _, nw := range r.Networks() {
		if used[nw.ID] || (nw.Driver == driverBridge && !Predefined(nw.Name)) {
			networks = append(networks, nw)
		}
	}
	errs := []error{r.Driver.Sweep(ctx, networks, keep)}
	for _, ep := range endpoints {
		if keep[ep.ID] {
			_, err := r.Join(ctx, ep)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// takeUp marks the addresses of an endpoint as taken.
func (r *Registry) takeUp(ctx context.Context, nw model.Network, ep model.Endpoint) {
	for _, s := range nw.Subnets {
		for _, a := range []netip.Prefix{ep.Addr, ep.AddrV6} {
			if !a.IsValid() || !s.Prefix.Contains(a.Addr()) {
				continue
			}
			if _, err := r.pools.Take(s, a.Addr()); err != nil {
				r.Log.WarnContext(ctx, "address of a running container not taken up", "addr", a, "network_id", nw.ID, "err", err)
			}
		}
	}
}

// Stop takes every bridge out of the kernel; the networks stay recorded.
func (r *Registry) Stop(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.present)
	return r.Driver.Sweep(ctx, nil, nil)
}
