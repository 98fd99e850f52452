package attachment

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"slices"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
)

// nameForm is what Docker accepts as a container's name.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// Attach gives the holder a leg on a network. When a step fails everything
// before it is undone.
func (m *Manager) Attach(ctx context.Context, req model.AttachRequest) (model.NetworkAttachment, error) {
	e, h, err := m.begin(ctx, req)
	if err != nil {
		return model.NetworkAttachment{}, err
	}
	e.op.Lock()
	err = m.make(ctx, e, h, req)
	e.op.Unlock()
	if err != nil {
		return model.NetworkAttachment{}, errors.Join(err, h.close(), m.release(context.WithoutCancel(ctx), e, true))
	}
	m.watch(e, h)
	rec := m.snapshot(e)
	m.publishNetwork(rec, "connect")
	m.Log.InfoContext(ctx, "attached", "attachment_id", rec.ID, "network_id", rec.NetworkID, "name", rec.Name, "addr", rec.Address)
	return rec.NetworkAttachment, nil
}

// begin takes hold of the holder and writes the record. Nothing is left of it
// when it fails.
func (m *Manager) begin(ctx context.Context, req model.AttachRequest) (*entry, *hold, error) {
	if err := check(&req); err != nil {
		return nil, nil, err
	}
	if err := m.Networks.Check(ctx, model.NetworkRequest{Network: req.Network, Addr: req.Addr, AddrV6: req.AddrV6, Aliases: req.Aliases}); err != nil {
		return nil, nil, err
	}
	h, err := m.take(req)
	if err != nil {
		return nil, nil, err
	}
	if h.ns != nil {
		if err := m.Refuse(ctx, h.ns); err != nil {
			return nil, nil, errors.Join(err, h.close())
		}
	}
	id := model.NewID()
	rec := Record{User: req.User, Process: h.process, MadeDir: lacksDir(req.ResolvConf), NetworkAttachment: model.NetworkAttachment{
		ID: id, Name: req.Name, Holder: req.Holder(), Network: req.Network, Aliases: req.Aliases, ResolvConf: req.ResolvConf, Created: m.Now(),
	}}
	if rec.Name == "" {
		rec.Name = h.name
	}
	if h.ns != nil {
		rec.Path = m.path(id)
		if rec.Sandbox, err = h.ns.Identity(); err != nil {
			return nil, nil, errors.Join(err, h.close())
		}
	}
	e, err := m.register(rec)
	if err != nil {
		return nil, nil, errors.Join(err, h.close())
	}
	return e, h, nil
}

// check refuses what can't be, and fills in where a named namespace is.
func check(req *model.AttachRequest) error {
	given := 0
	for _, is := range []bool{req.Pid != 0, req.NetNS != "", req.Tap != ""} {
		if is {
			given++
		}
	}
	switch {
	case req.Network == "":
		return fault.Invalid("attach: name the network")
	case given != 1:
		return fault.Invalid("attach to network %s: give one of a process (--pid), a namespace (--netns) and a TAP device (--tap)", req.Network)
	case req.Pid < 0:
		return fault.Invalid("process %d: must be a positive number", req.Pid)
	case req.User < 0:
		return fault.Invalid("user %d: must be the number of a user", req.User)
	case req.User != 0 && req.Tap == "":
		return fault.Invalid("a user is given to a TAP device (--tap)")
	case req.ResolvConf != "" && req.Tap != "":
		return fault.Invalid("a virtual machine has its own resolv.conf, which no file of this host is")
	case req.Name != "" && !nameForm.MatchString(req.Name):
		return fault.Invalid("invalid attachment name (%s), only %s are allowed", req.Name, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
	}
	return errors.Join(completeNetNS(req), checkResolvConf(req.ResolvConf))
}

// register claims the name and writes the record.
func (m *Manager) register(rec Record) (*entry, error) {
	taken := m.Taken(rec.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.all {
		if o := other.rec; o.Name == rec.Name && (o.Network == rec.Network || o.NetworkID == rec.Network) {
			taken = taken || o.Holder != rec.Holder // one holder twice is told of the network
		}
		if rec.Tap != "" && other.rec.Tap == rec.Tap {
			return nil, fault.Conflict("TAP device %s is attached to network %s already: detach it, or choose another name", rec.Tap, other.rec.Network)
		}
	}
	if taken {
		return nil, fault.Conflict("the name %s is already in use: give another one with --name", rec.Name)
	}
	e := &entry{rec: rec, stop: func() {}}
	if err := m.Table.Put(rec.ID, rec); err != nil {
		return nil, err
	}
	m.all[rec.ID] = e
	return e, nil
}

// make does the work of Attach with e.op held.
func (m *Manager) make(ctx context.Context, e *entry, h *hold, req model.AttachRequest) error {
	rec := m.snapshot(e)
	if h.ns != nil {
		if err := h.ns.Bind(rec.Path); err != nil {
			return err
		}
	}
	ask := model.NetworkRequest{Network: req.Network, Addr: req.Addr, AddrV6: req.AddrV6, Aliases: req.Aliases}
	att, err := m.Networks.Allocate(ctx, rec.ID, ask)
	if err != nil {
		return err
	}
	if len(att.Addrs) == 0 {
		return fault.Internal("network %s gave the attachment no address", att.Network.Name)
	}
	ep, err := m.note(e, att)
	if err != nil {
		return err
	}
	full, err := m.Networks.Join(ctx, att.Network, ep)
	if err != nil {
		return err
	}
	resolver := m.Names.Resolver(full)
	if err := m.update(e, func(r *Record) { r.Endpoint, r.Resolver = full, resolver }); err != nil {
		return err
	}
	return m.finish(e)
}

// note records the endpoint that is about to be made.
func (m *Manager) note(e *entry, att model.Attachment) (model.Endpoint, error) {
	var ep model.Endpoint
	m.mu.Lock()
	defer m.mu.Unlock()
	rec := &e.rec
	ep = model.Endpoint{
		ID: model.NewID(), NetworkID: att.Network.ID, NetworkName: att.Network.Name, Driver: att.Network.Driver,
		ContainerID: rec.ID, Name: rec.Name, Sandbox: rec.Path, Bare: rec.Tap != "",
		TaskAliases: append([]string{rec.ID[:12]}, rec.Aliases...),
	}
	for _, addr := range att.Addrs {
		if addr.Addr().Is4() {
			ep.Addr, ep.MAC = addr, model.MACFromAddr(addr.Addr())
		} else {
			ep.AddrV6 = addr
		}
	}
	rec.Network, rec.NetworkID, rec.Driver, rec.Net, rec.Endpoint = att.Network.Name, att.Network.ID, att.Network.Driver, att.Network, ep
	if ep.Bare {
		rec.Sandbox = "tap-" + att.Network.ID
	}
	if err := m.Table.Put(rec.ID, *rec); err != nil {
		return ep, err
	}
	if ep.Bare && att.Network.Scope != model.ScopeSwarm {
		return ep, fault.Invalid("network %s is one of this host: plug a TAP device into its bridge with `ip link set %s master BRIDGE`; attach is for overlay networks",
			att.Network.Name, rec.Tap)
	}
	for id, other := range m.all {
		if id != rec.ID && !ep.Bare && other.rec.Sandbox == rec.Sandbox && other.rec.NetworkID == ep.NetworkID {
			return ep, fault.Forbidden("%s is already attached to network %s", rec.Name, ep.NetworkName)
		}
	}
	return ep, nil
}

// finish makes what goes with a leg, and completes the record.
func (m *Manager) finish(e *entry) error {
	rec := m.snapshot(e)
	if err := m.plugTap(rec); err != nil {
		return err
	}
	if err := m.serve(rec); err != nil {
		return err
	}
	mtu, err := m.mtu(rec)
	if err != nil {
		return err
	}
	if err := writeResolvConf(rec); err != nil {
		return err
	}
	return m.update(e, func(r *Record) {
		ep := r.Endpoint
		if !ep.Bare {
			r.Interface = ep.IfName
		}
		r.Address, r.AddressV6, r.Gateway, r.GatewayV6 = ep.Addr, ep.AddrV6, ep.Gateway, ep.GatewayV6
		r.MAC, r.MTU, r.Routes = ep.MAC.String(), mtu, routesOf(r.Net, ep)
		r.Complete = true
	})
}

// plugTap makes the TAP device of a virtual machine, or mends it.
func (m *Manager) plugTap(rec Record) error {
	if rec.Tap == "" {
		return nil
	}
	mtu, err := link.MTU(m.Host, rec.Endpoint.IfName)
	if err != nil {
		return err
	}
	return link.EnsureTap(m.Host, link.Tap{Name: rec.Tap, Owner: rec.User, MTU: mtu, Peer: rec.Endpoint.IfName})
}

func (m *Manager) mtu(rec Record) (int, error) {
	if rec.Endpoint.Bare {
		return link.MTU(m.Host, rec.Endpoint.IfName)
	}
	ns, err := kernel.Open(rec.Path)
	if err != nil {
		return 0, err
	}
	mtu, err := link.MTU(ns, rec.Endpoint.IfName)
	return mtu, errors.Join(err, ns.Close())
}

// release takes away what an attachment consists of, as far as it is there. It
// goes on after an error: what could not be undone stays in the record.
func (m *Manager) release(ctx context.Context, e *entry, give bool) error {
	e.op.Lock()
	defer e.op.Unlock()
	m.mu.Lock()
	rec, stop := e.rec, e.stop
	present := m.all[rec.ID] == e
	m.mu.Unlock()
	if !present {
		return nil // somebody else was faster
	}
	stop()
	if err := m.takeDown(ctx, rec, give); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.Table.Delete(rec.ID); err != nil {
		return err
	}
	delete(m.all, rec.ID)
	return nil
}

func (m *Manager) takeDown(ctx context.Context, rec Record, give bool) error {
	errs := []error{removeResolvConf(rec)}
	if rec.Endpoint.ID != "" {
		errs = append(errs, m.forget(rec))
		if rec.Tap != "" {
			ours, err := link.HasTap(m.Host, rec.Tap)
			if err == nil && ours {
				err = link.Remove(m.Host, rec.Tap)
			}
			errs = append(errs, err)
		}
		errs = append(errs, m.Networks.Leave(ctx, rec.Endpoint))
		if give {
			if err := m.Networks.Release(ctx, rec.Endpoint); err != nil {
				m.Log.WarnContext(ctx, "address not released", "attachment_id", rec.ID, "network_id", rec.NetworkID, "err", err)
			}
		}
	}
	if rec.Path != "" {
		errs = append(errs, kernel.Remove(rec.Path))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if rec.Complete {
		m.publishNetwork(rec, "disconnect")
		m.Log.InfoContext(ctx, "detached", "attachment_id", rec.ID, "network_id", rec.NetworkID, "name", rec.Name)
	}
	return nil
}

// routesOf gives the subnets an endpoint reaches through its gateways.
func routesOf(nw model.Network, ep model.Endpoint) (list []netip.Prefix) {
	for _, s := range nw.Segments() {
		for _, sub := range []model.Subnet{s.V4, s.V6} {
			p := sub.Prefix
			if nw.Scope == model.ScopeSwarm && p.IsValid() && !p.Contains(ep.Addr.Addr()) && !p.Contains(ep.AddrV6.Addr()) && (p.Addr().Is4() || ep.AddrV6.IsValid()) {
				list = append(list, p)
			}
		}
	}
	return slices.Clip(list)
}
