package engine

import (
	"context"
	"slices"
	"strings"

	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
)

// Arrange gives a sandbox its way out and its published ports, both by one of
// its endpoints, and the container its names.
func (a allocator) Arrange(ctx context.Context, c model.Container) ([]model.Endpoint, error) {
	if c.Spec.NetworkMode != model.ModeHost && !strings.HasPrefix(c.Spec.NetworkMode, model.ModeContainer) {
		way := a.wayOut(c.Endpoints)
		if err := setWayOut(c, way); err != nil {
			return nil, err
		}
		for i := range c.Endpoints {
			if err := a.publish(ctx, c, i, i == way); err != nil {
				return nil, err
			}
		}
	}
	return c.Endpoints, a.e.setNames(c)
}

// Dismiss ends what Arrange began in the engine itself.
func (a allocator) Dismiss(_ context.Context, c model.Container) error {
	return a.e.directory.leave(c.ID)
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

func setWayOut(c model.Container, way int) error {
	sandbox, err := kernel.Open(c.Sandbox)
	if err != nil {
		return err
	}
	defer func() { _ = sandbox.Close() }()
	if way < 0 {
		return nil // what the container itself has set stays
	}
	ep := c.Endpoints[way]
	return link.SetGateways(sandbox, ep.IfName, ep.Gateway, ep.GatewayV6)
}

// publish makes the endpoint that is the way out, and no other, carry the
// published ports. Those it carries already stay untouched.
func (a allocator) publish(ctx context.Context, c model.Container, i int, out bool) error {
	ep := &c.Endpoints[i]
	wanted := bindings(c.Spec)
	if a.e.bridges == nil || a.e.swarms(ep.NetworkID) || out == (len(ep.Ports) > 0) || (out && len(wanted) == 0) {
		return nil
	}
	if !out {
		wanted = nil
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
func bindings(spec model.ContainerSpec) []model.PortBinding {
	out := slices.Clone(spec.Ports)
	if !spec.PublishAll {
		return out
	}
	for _, p := range spec.Expose {
		if !slices.ContainsFunc(spec.Ports, func(b model.PortBinding) bool { return b.Port == p }) {
			out = append(out, model.PortBinding{Port: p})
		}
	}
	return out
}
