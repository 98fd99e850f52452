package workload

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"weft/engine/fault"
	"weft/engine/model"
)

// Start makes the sandbox, plugs it into its networks and starts the process.
// A container that runs is left alone. When a step fails everything before it
// is undone and the container is as it was, with the reason in its record.
func (m *Manager) Start(ctx context.Context, name string) error {
	c, err := m.find(name)
	if err != nil {
		return err
	}
	return m.start(ctx, c)
}

func (m *Manager) start(ctx context.Context, c *container) error {
	c.op.Lock()
	defer c.op.Unlock()
	rec := m.snapshot(c)
	switch {
	case m.gone(c):
		return fault.NotFound("No such container: %s", rec.ID)
	case rec.State == model.StateRunning:
		return nil
	}
	if err := m.run(ctx, c); err != nil {
		err = errors.Join(err, m.update(c, func(r *model.Container) {
			r.Error = err.Error()
		}))
		if rec.Spec.AutoRemove {
			return errors.Join(err, m.removeStopped(context.WithoutCancel(ctx), c))
		}
		return err
	}
	m.publish(m.snapshot(c), "start", nil)
	return nil
}

func (m *Manager) gone(c *container) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.removed
}

// run does the work of Start with c.op held.
func (m *Manager) run(ctx context.Context, c *container) (err error) {
	rec := m.snapshot(c)
	if err := m.Sandboxes.Create(ctx, rec.ID); err != nil {
		return err
	}
	started := false
	defer func() {
		if err != nil && !started {
			err = errors.Join(err, m.teardown(context.WithoutCancel(ctx), c))
		}
	}()
	if err := m.plugAll(ctx, c); err != nil {
		return fmt.Errorf("failed to set up container networking: %w", err)
	}
	pid, err := m.Runtime.Start(ctx, rec.ID)
	if err != nil {
		return err
	}
	started = true
	err = m.update(c, func(r *model.Container) {
		r.State, r.Pid, r.Started, r.Error, r.ExitCode = model.StateRunning, pid, m.Now(), "", 0
	})
	m.watch(c)
	if err != nil { // a container without a record would be an orphan; the watcher cleans up
		return errors.Join(err, m.Runtime.Signal(context.WithoutCancel(ctx), rec.ID, syscall.SIGKILL))
	}
	return nil
}

// plugAll attaches the sandbox to the task's networks, or else to the
// requested ones.
func (m *Manager) plugAll(ctx context.Context, c *container) error {
	rec := m.snapshot(c)
	if rec.Spec.Service != nil {
		m.mu.Lock()
		atts := c.attachments
		m.mu.Unlock()
		for i, a := range atts {
			if err := m.join(ctx, c, a, fmt.Sprintf("eth%d", i), nil); err != nil {
				return err
			}
		}
		return nil
	}
	for i, req := range rec.Spec.Networks {
		if err := m.plug(ctx, c, req, fmt.Sprintf("eth%d", i)); err != nil {
			return err
		}
	}
	return nil
}

// plug takes an address for a standalone container and joins with it.
func (m *Manager) plug(ctx context.Context, c *container, req model.NetworkRequest, ifName string) error {
	rec := m.snapshot(c)
	a, err := m.Networks.Allocate(ctx, rec.ID, req)
	if err != nil {
		return err
	}
	if err := m.join(ctx, c, a, ifName, req.Aliases); err != nil {
		return errors.Join(err, m.Networks.Release(context.WithoutCancel(ctx), rec.ID, a.Network.ID))
	}
	return nil
}

// join records the endpoint, plugs it in and records what it became.
func (m *Manager) join(ctx context.Context, c *container, a model.Attachment, ifName string, aliases []string) error {
	rec := m.snapshot(c)
	if len(a.Addrs) == 0 {
		return fault.Internal("network %s gave container %s no address", a.Network.Name, rec.Spec.Name)
	}
	ep := model.Endpoint{
		ID: newID(), NetworkID: a.Network.ID, NetworkName: a.Network.Name, ContainerID: rec.ID, Name: rec.Spec.Name,
		Addr: a.Addrs[0], MAC: model.MACFromAddr(a.Addrs[0].Addr()), IfName: ifName, Sandbox: rec.Sandbox,
		Aliases: a.Aliases, TaskAliases: append([]string{rec.ID[:12]}, aliases...), VIP: a.VIP,
	}
	if s := rec.Spec.Service; s != nil {
		ep.ServiceID, ep.ServiceName = s.ServiceID, s.ServiceName
	}
	if err := m.update(c, func(r *model.Container) { r.Endpoints = append(r.Endpoints, ep) }); err != nil {
		return err
	}
	full, err := m.Networks.Join(ctx, a.Network, ep)
	if err != nil {
		return errors.Join(err, m.dropEndpoint(c, ep.ID))
	}
	err = m.update(c, func(r *model.Container) {
		for i := range r.Endpoints {
			if r.Endpoints[i].ID == ep.ID {
				r.Endpoints[i] = full
			}
		}
	})
	m.publishNetwork(full, "connect")
	return err
}

func (m *Manager) dropEndpoint(c *container, id string) error {
	return m.update(c, func(r *model.Container) {
		kept := r.Endpoints[:0:0]
		for _, e := range r.Endpoints {
			if e.ID != id {
				kept = append(kept, e)
			}
		}
		r.Endpoints = kept
	})
}

// teardown takes the sandbox off its networks and removes it. It goes on
// after an error: what could not be undone stays in the record.
func (m *Manager) teardown(ctx context.Context, c *container) error {
	rec := m.snapshot(c)
	var errs []error
	for _, ep := range rec.Endpoints {
		errs = append(errs, m.unplug(ctx, c, ep))
	}
	errs = append(errs, m.Sandboxes.Remove(ctx, rec.ID))
	return errors.Join(errs...)
}

func (m *Manager) unplug(ctx context.Context, c *container, ep model.Endpoint) error {
	if err := m.Networks.Leave(ctx, ep); err != nil {
		return err
	}
	if ep.ServiceID == "" {
		if err := m.Networks.Release(ctx, ep.ContainerID, ep.NetworkID); err != nil {
			m.Log.WarnContext(ctx, "address not released", "container_id", ep.ContainerID, "network_id", ep.NetworkID, "err", err)
		}
	}
	m.publishNetwork(ep, "disconnect")
	return m.dropEndpoint(c, ep.ID)
}
