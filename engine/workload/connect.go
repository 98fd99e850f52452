package workload

import (
	"context"
	"errors"
	"slices"
	"strings"

	"weft/engine/fault"
	"weft/engine/model"
)

// Connect attaches a container to one more network: at once when it runs, at
// its next start otherwise. networkID is the full ID when it is known.
func (m *Manager) Connect(ctx context.Context, name string, req model.NetworkRequest, networkID string) error {
	c, err := m.find(name)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	rec := m.snapshot(c)
	if rec.Spec.Service != nil {
		return fault.Forbidden("container %s is a task of service %s: change its networks with `service update`", rec.Spec.Name, rec.Spec.Service.ServiceName)
	}
	if shares(rec) {
		return fault.Forbidden("container sharing network namespace with another container or host cannot be connected to any other network")
	}
	if m.connected(rec, req.Network, networkID) {
		return alreadyOn(rec, req.Network, networkID)
	}
	if err := m.Networks.Check(ctx, req); err != nil {
		return err
	}
	if rec.State == model.StateRunning {
		if err := m.plug(ctx, c, req); err != nil {
			return err
		}
		if err := m.arrange(ctx, c); err != nil {
			return errors.Join(err, m.disconnect(context.WithoutCancel(ctx), c, networkID))
		}
	}
	return m.update(c, func(r *model.Container) { r.Spec.Networks = append(r.Spec.Networks, req) })
}

// alreadyOn says so in Docker's words, which are others for the networks of one
// host than for the swarm's.
func alreadyOn(rec model.Container, name, networkID string) error {
	local := slices.ContainsFunc(rec.Endpoints, func(e model.Endpoint) bool { return e.NetworkID == networkID && e.Driver == "bridge" })
	if local {
		return fault.Forbidden("endpoint with name %s already exists in network %s", rec.Spec.Name, name)
	}
	return fault.Forbidden("%s is already attached to network %s", rec.Spec.Name, name)
}

// shares reports whether the sandbox of a container is also somebody else's.
func shares(rec model.Container) bool {
	return rec.Spec.NetworkMode == model.ModeHost || strings.HasPrefix(rec.Spec.NetworkMode, model.ModeContainer)
}

func (m *Manager) connected(rec model.Container, name, networkID string) bool {
	return slices.ContainsFunc(rec.Endpoints, func(e model.Endpoint) bool { return e.NetworkID == networkID }) ||
		slices.ContainsFunc(rec.Spec.Networks, func(r model.NetworkRequest) bool { return r.Network == name || r.Network == networkID })
}

// Disconnect takes a container off a network.
func (m *Manager) Disconnect(ctx context.Context, name, networkName, networkID string) error {
	c, err := m.find(name)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	rec := m.snapshot(c)
	if !m.connected(rec, networkName, networkID) {
		return fault.Forbidden("container %s is not connected to network %s", rec.ID, networkName)
	}
	if err := m.disconnect(ctx, c, networkID); err != nil {
		return err
	}
	if rec.State == model.StateRunning {
		if err := m.arrange(ctx, c); err != nil {
			return err
		}
	}
	return m.update(c, func(r *model.Container) {
		r.Spec.Networks = slices.DeleteFunc(r.Spec.Networks, func(q model.NetworkRequest) bool {
			return q.Network == networkName || q.Network == networkID
		})
	})
}

// disconnect unplugs a container from one network. c.op is held.
func (m *Manager) disconnect(ctx context.Context, c *container, networkID string) error {
	for _, ep := range m.snapshot(c).Endpoints {
		if ep.NetworkID == networkID {
			if err := m.unplug(ctx, c, ep); err != nil {
				return err
			}
		}
	}
	return nil
}

// DisconnectAll takes every container off the networks that gone is true for:
// there are none any more. Standalone containers stay and run on without.
func (m *Manager) DisconnectAll(ctx context.Context, gone func(networkID string) bool) error {
	m.mu.Lock()
	all := make([]*container, 0, len(m.containers))
	for _, c := range m.containers {
		all = append(all, c)
	}
	m.mu.Unlock()
	var errs []error
	for _, c := range all {
		errs = append(errs, m.isolate(ctx, c, gone))
	}
	return errors.Join(errs...)
}

func (m *Manager) isolate(ctx context.Context, c *container, gone func(networkID string) bool) error {
	c.op.Lock()
	defer c.op.Unlock()
	rec := m.snapshot(c)
	var errs []error
	for _, ep := range rec.Endpoints {
		if !gone(ep.NetworkID) {
			continue
		}
		if err := m.Networks.Leave(ctx, ep); err != nil {
			errs = append(errs, err)
			continue
		}
		m.publishNetwork(ep, "disconnect")
		errs = append(errs, m.dropEndpoint(c, ep.ID))
	}
	if rec.State == model.StateRunning && len(m.snapshot(c).Endpoints) < len(rec.Endpoints) {
		errs = append(errs, m.arrange(ctx, c))
	}
	return errors.Join(errs...)
}
