package engine

import (
	"context"

	"weft/engine/fault"
	"weft/engine/model"
)

// gatewayEndpoint is how Docker begins the names of endpoints on
// docker_gwbridge.
const gatewayEndpoint = "gateway_"

// setEgress gives a container an endpoint on docker_gwbridge, or takes it.
func (a allocator) setEgress(ctx context.Context, c *model.Container, wanted bool) error {
	switch {
	case wanted == (c.Egress != nil):
		return nil
	case !wanted:
		return a.dropEgress(ctx, c)
	}
	nw, err := a.e.local.EnsureGateway(ctx)
	if err == nil {
		err = a.apart(nw, c.Endpoints)
	}
	if err != nil {
		return err
	}
	ep, err := a.gatewayEndpoint(ctx, nw, model.Endpoint{
		ContainerID: c.ID, Name: gatewayEndpoint + c.ID[:12], IfName: c.FreeIfName(), Sandbox: c.Sandbox,
	})
	if err == nil {
		c.Egress = &ep
	}
	return err
}

// apart refuses a docker_gwbridge with addresses a container's networks have
// too: one half of what it sends would go astray.
func (a allocator) apart(gateway model.Network, endpoints []model.Endpoint) error {
	for _, ep := range endpoints {
		nw, ok := a.e.networks.known(ep.NetworkID)
		if !ok {
			nw, _ = a.e.local.Network(ep.NetworkID)
		}
		for _, other := range nw.Subnets {
			for _, s := range gateway.Subnets {
				if s.Prefix.Overlaps(other.Prefix) {
					return fault.Conflict("subnet %s of %s on this node overlaps with %s of network %s: "+
						"remove %s on this node and create it again with another --subnet", s.Prefix, gateway.Name, other.Prefix, nw.Name, gateway.Name)
				}
			}
		}
	}
	return nil
}

// gatewayEndpoint plugs a sandbox into docker_gwbridge.
func (a allocator) gatewayEndpoint(ctx context.Context, nw model.Network, ep model.Endpoint) (model.Endpoint, error) {
	att, err := a.e.local.Allocate(nw, model.NetworkRequest{Network: nw.Name})
	if err != nil {
		return ep, err
	}
	ep.ID, ep.NetworkID, ep.NetworkName, ep.Driver = model.NewID(), nw.ID, nw.Name, nw.Driver
	for _, addr := range att.Addrs {
		if addr.Addr().Is4() {
			ep.Addr, ep.MAC = addr, model.MACFromAddr(addr.Addr())
		} else {
			ep.AddrV6 = addr
		}
	}
	full, err := a.e.local.Join(ctx, ep)
	if err != nil {
		a.e.local.Release(ep)
	}
	return full, err
}

func (a allocator) dropEgress(ctx context.Context, c *model.Container) error {
	if c.Egress == nil {
		return nil
	}
	err := a.e.local.Leave(ctx, *c.Egress)
	if err == nil {
		a.e.local.Release(*c.Egress)
		c.Egress = nil
	}
	return err
}

// needsEgress reports whether a container is on an overlay that leads out, and
// on nothing else that does.
func (a allocator) needsEgress(c model.Container, way int) bool {
	if way >= 0 || a.e.bridges == nil {
		return false
	}
	for _, ep := range c.Endpoints {
		if nw, known := a.e.networks.known(ep.NetworkID); known && a.e.swarms(ep.NetworkID) && !nw.Internal {
			return true
		}
	}
	return false
}

// openGateway makes docker_gwbridge, so that it can be seen and is there when
// the first container needs it.
func (e *Engine) openGateway(ctx context.Context) {
	if e.bridges == nil {
		return
	}
	if _, err := e.local.EnsureGateway(ctx); err != nil {
		e.cfg.Log.ErrorContext(ctx, "containers on overlay networks will have no way out", "err", err)
	}
}
