package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	if m.snapshot(c).State != model.StateRunning {
		if err := m.update(c, func(r *model.Container) { r.RestartCount, r.Stopped, c.backoff = 0, false, 0 }); err != nil {
			return err
		}
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
			if r.State == model.StateRestarting {
				r.State = model.StateExited
			}
		}))
		if rec.Spec.AutoRemove {
			return errors.Join(err, m.removeStopped(context.WithoutCancel(ctx), c, true))
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
	shared, err := m.sharedSandbox(rec)
	if err != nil {
		return err
	}
	if err := m.Sandboxes.Create(ctx, rec.ID, shared); err != nil {
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
	if err := m.arrange(ctx, c); err != nil {
		return fmt.Errorf("failed to set up container networking: %w", err)
	}
	if err := m.Volumes.Mount(ctx, rec.ID, rec.Spec.Process.Mounts); err != nil {
		return err
	}
	pid, err := m.Runtime.Start(ctx, rec.ID)
	if err != nil {
		return err
	}
	started = true
	err = m.update(c, func(r *model.Container) {
		r.State, r.Pid, r.Started, r.Error, r.ExitCode = model.StateRunning, pid, m.Now(), "", 0
		r.Health = nil
		if r.Spec.Health != nil {
			r.Health = &model.Health{Status: model.HealthStarting}
		}
	})
	m.watch(c)
	m.beginChecks(c)
	if err != nil { // a container without a record would be an orphan; the watcher cleans up
		return errors.Join(err, m.Runtime.Signal(context.WithoutCancel(ctx), rec.ID, syscall.SIGKILL))
	}
	return nil
}

// sharedSandbox gives the namespace a container is to have instead of one of
// its own; empty when there is none.
func (m *Manager) sharedSandbox(rec model.Container) (string, error) {
	name, joins := strings.CutPrefix(rec.Spec.NetworkMode, model.ModeContainer)
	switch {
	case rec.Spec.NetworkMode == model.ModeHost:
		return model.ModeHost, nil
	case !joins:
		return "", nil
	}
	other, err := m.find(name)
	if err != nil {
		return "", err
	}
	o := m.snapshot(other)
	if o.State != model.StateRunning {
		return "", fault.Conflict("cannot join network of a non running container: %s", o.ID)
	}
	return o.Sandbox, nil
}

// arrange lets the endpoints of c work together, and records what they became.
func (m *Manager) arrange(ctx context.Context, c *container) error {
	rec := m.snapshot(c)
	err := m.Networks.Arrange(ctx, &rec)
	return errors.Join(err, m.update(c, func(r *model.Container) { r.Endpoints, r.Egress = rec.Endpoints, rec.Egress }))
}

// Rearrange does what an earlier engine did for the containers that run.
func (m *Manager) Rearrange(ctx context.Context) error {
	m.mu.Lock()
	var running []*container
	for _, c := range m.containers {
		if c.rec.State == model.StateRunning {
			running = append(running, c)
		}
	}
	m.mu.Unlock()
	var errs []error
	for _, c := range running {
		c.op.Lock()
		if m.snapshot(c).State == model.StateRunning {
			errs = append(errs, m.arrange(ctx, c))
		}
		c.op.Unlock()
	}
	return errors.Join(errs...)
}

// plugAll attaches the sandbox to the task's networks, or else to the
// requested ones.
func (m *Manager) plugAll(ctx context.Context, c *container) error {
	rec := m.snapshot(c)
	m.mu.Lock()
	atts := c.attachments
	m.mu.Unlock()
	if len(atts) > 0 {
		for _, a := range atts {
			if err := m.join(ctx, c, a, model.NetworkRequest{}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, req := range rec.Spec.Networks {
		if err := m.plug(ctx, c, req); err != nil {
			return err
		}
	}
	return nil
}

// plug takes an address for a standalone container and joins with it.
func (m *Manager) plug(ctx context.Context, c *container, req model.NetworkRequest) error {
	rec := m.snapshot(c)
	a, err := m.Networks.Allocate(ctx, rec.ID, req)
	if err != nil {
		return err
	}
	if err := m.join(ctx, c, a, req); err != nil {
		return errors.Join(err, m.Networks.Release(context.WithoutCancel(ctx), endpointOf(rec, a)))
	}
	return nil
}

// endpointOf gives the endpoint of a container that an attachment leads to.
func endpointOf(rec model.Container, a model.Attachment) model.Endpoint {
	ep := model.Endpoint{
		NetworkID: a.Network.ID, NetworkName: a.Network.Name, Driver: a.Network.Driver, ContainerID: rec.ID, Name: rec.Spec.Name,
		Sandbox: rec.Sandbox, Aliases: a.Aliases, VIP: a.VIP,
		Ingress: a.Ingress, Mesh: a.Mesh,
	}
	for _, addr := range a.Addrs {
		if addr.Addr().Is4() {
			ep.Addr, ep.MAC = addr, model.MACFromAddr(addr.Addr())
		} else {
			ep.AddrV6 = addr
		}
	}
	return ep
}

// join records the endpoint, plugs it in and records what it became.
func (m *Manager) join(ctx context.Context, c *container, a model.Attachment, req model.NetworkRequest) error {
	rec := m.snapshot(c)
	if len(a.Addrs) == 0 {
		return fault.Internal("network %s gave container %s no address", a.Network.Name, rec.Spec.Name)
	}
	ep := endpointOf(rec, a)
	ep.ID, ep.IfName, ep.GwPriority = model.NewID(), rec.FreeIfName(), req.GwPriority
	ep.TaskAliases = append([]string{rec.ID[:12]}, req.Aliases...)
	if h := rec.Spec.Process.Hostname; !slices.Contains(ep.TaskAliases, h) && rec.Spec.Service == nil {
		ep.TaskAliases = append(ep.TaskAliases, h)
	}
	if s := rec.Spec.Service; s != nil {
		ep.ServiceID, ep.ServiceName, ep.Readiness = s.ServiceID, s.ServiceName, model.Pending
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
	errs := []error{m.dismiss(ctx, c)}
	for _, ep := range rec.Endpoints {
		errs = append(errs, m.unplug(ctx, c, ep))
	}
	errs = append(errs, m.Sandboxes.Remove(ctx, rec.ID), m.Volumes.Unmount(ctx, rec.ID, rec.Spec.Process.Mounts))
	return errors.Join(errs...)
}

func (m *Manager) dismiss(ctx context.Context, c *container) error {
	rec := m.snapshot(c)
	had := rec.Egress != nil
	err := m.Networks.Dismiss(ctx, &rec)
	if had {
		err = errors.Join(err, m.update(c, func(r *model.Container) { r.Egress = rec.Egress }))
	}
	return err
}

func (m *Manager) unplug(ctx context.Context, c *container, ep model.Endpoint) error {
	if err := m.Networks.Leave(ctx, ep); err != nil {
		return err
	}
	if ep.ServiceID == "" || ep.Driver == "bridge" { // the swarm takes its own addresses back
		if err := m.Networks.Release(ctx, ep); err != nil {
			m.Log.WarnContext(ctx, "address not released", "container_id", ep.ContainerID, "network_id", ep.NetworkID, "err", err)
		}
	}
	m.publishNetwork(ep, "disconnect")
	return m.dropEndpoint(c, ep.ID)
}
