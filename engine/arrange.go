package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
)

// Arrange gives a sandbox its way out and its published ports, both by one of
// its endpoints or its egress, and the container its names.
func (a allocator) Arrange(ctx context.Context, c *model.Container) error {
	if c.Spec.NetworkMode != model.ModeHost && !strings.HasPrefix(c.Spec.NetworkMode, model.ModeContainer) {
		if err := a.arrangeOwn(ctx, c); err != nil {
			return err
		}
	}
	if err := a.e.setNames(*c); err != nil {
		return err
	}
	return a.e.directory.publish(*c)
}

// arrangeOwn arranges a sandbox that is the container's own.
func (a allocator) arrangeOwn(ctx context.Context, c *model.Container) error {
	way := a.wayOut(c.Endpoints)
	if err := a.setEgress(ctx, c, a.needsEgress(*c, way)); err != nil {
		return err
	}
	out := c.Egress
	if way >= 0 {
		out = &c.Endpoints[way]
	}
	if err := setWayOut(c.Sandbox, out); err != nil {
		return err
	}
	for i := range c.Endpoints {
		if err := a.e.networks.rename(ctx, c.Endpoints[i]); err != nil {
			return err
		}
		if err := a.publish(ctx, c.Spec, &c.Endpoints[i], i == way); err != nil {
			return err
		}
	}
	if c.Egress == nil {
		return nil
	}
	return a.publish(ctx, c.Spec, c.Egress, true)
}

// Dismiss ends what Arrange began in the engine itself, and the egress.
func (a allocator) Dismiss(ctx context.Context, c *model.Container) error {
	return errors.Join(a.e.directory.leave(c.ID), a.dropEgress(ctx, c))
}

// wayOut gives the rank of the endpoint that leads out of a sandbox: among
// those on networks that lead anywhere the one with the highest priority, and
// of those the first by its network's name, as in Docker. -1 is none.
func (a allocator) wayOut(endpoints []model.Endpoint) int {
	best := -1
	for i, ep := range endpoints {
		nw, local := a.e.local.Network(ep.NetworkID)
		if !local || nw.Internal || !ep.Gateway.IsValid() {
			continue
		}
		if best >= 0 {
			b := endpoints[best]
			if ep.GwPriority < b.GwPriority || (ep.GwPriority == b.GwPriority && ep.NetworkName >= b.NetworkName) {
				continue
			}
		}
		best = i
	}
	return best
}

// setWayOut leads a sandbox's default routes by an endpoint. Without one, what
// the container itself has set stays.
func setWayOut(path string, out *model.Endpoint) error {
	if out == nil {
		return nil
	}
	sandbox, err := kernel.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = sandbox.Close() }()
	return link.SetGateways(sandbox, out.IfName, out.Gateway, out.GatewayV6)
}

// publish makes the endpoint that is the way out, and no other, carry the
// published ports. Those it carries already stay untouched.
func (a allocator) publish(ctx context.Context, spec model.ContainerSpec, ep *model.Endpoint, out bool) error {
	if a.e.bridges == nil || a.e.swarms(ep.NetworkID) || out == (len(ep.Ports) > 0) {
		return nil
	}
	var wanted []model.PortBinding
	if out {
		var err error
		if wanted, err = a.bindings(spec); err != nil || len(wanted) == 0 {
			return err
		}
	}
	ports, err := a.e.bridges.Publish(ctx, ep.NetworkID, ep.ID, wanted)
	if err != nil {
		return err
	}
	ep.Ports = ports
	return nil
}

// bindings gives the ports to publish: those bound, and with PublishAll every
// exposed one besides, anywhere.
func (a allocator) bindings(spec model.ContainerSpec) ([]model.PortBinding, error) {
	var out []model.PortBinding
	for _, b := range spec.Ports {
		if len(b.Bind) == 0 {
			out = append(out, b)
			continue
		}
		addrs, err := ownAddresses(a.e.hostNS, b.Bind)
		if err != nil {
			return nil, err
		}
		if len(addrs) == 0 {
			return nil, fault.Invalid("published port %d/%s: this host has none of the addresses and interfaces it is bound to (%s): "+
				"place the service on hosts that have, with --constraint", b.HostPort, b.Proto, strings.Join(b.Bind, ", "))
		}
		for _, addr := range addrs {
			b.HostIP = addr
			out = append(out, b)
		}
	}
	if !spec.PublishAll {
		return out, nil
	}
	for _, p := range spec.Expose {
		if !slices.ContainsFunc(spec.Ports, func(b model.PortBinding) bool { return b.Port == p }) {
			out = append(out, model.PortBinding{Port: p})
		}
	}
	return out, nil
}
