package engine

import (
	"context"
	"net/netip"
	"strings"

	"weft/engine/attachment"
	"weft/engine/dns"
	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/localnet"
	"weft/engine/model"
	"weft/engine/store"
)

// openAttachments takes back the attachments of an earlier run whose holders
// are there.
func (e *Engine) openAttachments(ctx context.Context) error {
	e.attachments = attachment.New(attachment.Config{
		Dir: e.namespaceDir(), Host: e.hostNS, Networks: allocator{e}, Names: attachedNames{e},
		Table:  rows[attachment.Record]{store.Bucket[attachment.Record](e.store, "attachments")},
		Refuse: e.refuseNamespace,
		Taken: func(name string) bool {
			_, err := e.workload.Container(ctx, name)
			return err == nil
		},
		Publish: e.events.Publish, Log: e.cfg.Log, Now: e.cfg.Now,
	})
	e.onUndo(func() error { e.attachments.Close(); return nil })
	return e.attachments.Restore(ctx)
}

// resumeAttachments gives attachments what goes with their legs, now that there
// are networks, and ends those on the networks that which is true for whose
// holders have ended.
func (e *Engine) resumeAttachments(ctx context.Context, which func(networkID string) bool) error {
	if err := e.attachments.Resume(); err != nil {
		e.cfg.Log.ErrorContext(ctx, "attachments of an earlier run not served", "err", err)
	}
	return e.attachments.Settle(ctx, which)
}

func anyNetwork(string) bool { return true }

// refuseNamespace keeps what is the engine's or the host's from being attached.
func (e *Engine) refuseNamespace(ctx context.Context, ns *kernel.Namespace) error {
	host := []*kernel.Namespace{e.hostNS}
	if first, err := kernel.Open("/proc/1/ns/net"); err == nil { // not for everybody to see
		defer func() { _ = first.Close() }()
		host = append(host, first)
	}
	for _, h := range host {
		if ns.Same(h) {
			return fault.Forbidden("%s is the host's own network namespace: attach a process or a namespace with one of its own, or a container in front of it", ns.Path())
		}
	}
	names, err := kernel.List(e.namespaceDir())
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, attachment.Prefix) || !isNamespace(e.namespaceDir()+"/"+name, ns) {
			continue
		}
		if id, ok := strings.CutPrefix(name, sandboxPrefix); ok {
			if c, err := e.workload.Container(ctx, id); err == nil {
				return fault.Forbidden("%s is the network namespace of container %s: use `network connect NETWORK %s`", ns.Path(), c.Spec.Name, c.Spec.Name)
			}
		}
		return fault.Forbidden("%s is a network namespace of the engine's own (%s)", ns.Path(), name)
	}
	return nil
}

func isNamespace(path string, ns *kernel.Namespace) bool {
	other, err := kernel.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = other.Close() }()
	return ns.Same(other)
}

// attachedNames answers attachment.Names with the directory.
type attachedNames struct{ e *Engine }

func (n attachedNames) Serve(s attachment.Sandbox) error {
	p := n.place(s)
	if p.sandbox == "" { // machines are served where their network is, which comes with the swarm
		return nil
	}
	return n.e.directory.enter(p)
}

func (n attachedNames) Forget(s attachment.Sandbox) error {
	p := n.place(s)
	if len(p.networks) == 0 {
		return n.e.directory.leave(s.Key)
	}
	return ignoreNotFound(n.e.directory.evict(p)) // a namespace that is gone has nothing left
}

// Resolver answers attachment.Names: at the address of containers' resolvers in
// a namespace, at the network's gateway for a virtual machine.
func (n attachedNames) Resolver(ep model.Endpoint) netip.Addr {
	nw, local := n.e.local.Network(ep.NetworkID)
	switch {
	case local && localnet.Predefined(nw.Name):
		return netip.Addr{}
	case ep.Bare:
		return ep.Gateway
	}
	return dns.Addr()
}

// place describes a sandbox to the directory as if it were a container's.
func (n attachedNames) place(s attachment.Sandbox) place {
	p := n.e.place(model.Container{ID: s.Key, Sandbox: s.Path, Endpoints: s.Endpoints})
	machines := false
	for _, ep := range s.Endpoints {
		if r, ok := p.records[ep.NetworkID]; ok {
			r.Name = ep.Name
			p.records[ep.NetworkID] = r
		}
		if !ep.Bare {
			continue
		}
		// All machines on a network are served at once.
		machines, p.sandbox, p.at = true, n.e.networks.namespace(ep.NetworkID), nil
		nw, _ := n.e.networks.known(ep.NetworkID)
		for _, seg := range nw.Segments() {
			if seg.V4.Gateway.IsValid() {
				p.at = append(p.at, seg.V4.Gateway)
			}
		}
	}
	if machines && len(p.at) == 0 { // there is nowhere to ask
		p.networks = nil
	}
	return p
}

// attachmentBackend answers weftapi.Attachments.
type attachmentBackend struct{ e *Engine }

func (b attachmentBackend) Attach(ctx context.Context, req model.AttachRequest) (model.NetworkAttachment, error) {
	if nw, local := b.e.local.Find(req.Network); local && (nw.Name == localnet.Host || nw.Name == localnet.None) {
		return model.NetworkAttachment{}, fault.Invalid("network %s has no addresses to attach to", nw.Name)
	}
	return b.e.attachments.Attach(ctx, req)
}

func (b attachmentBackend) Attachments(context.Context) []model.NetworkAttachment {
	return b.e.attachments.List()
}

func (b attachmentBackend) Detach(ctx context.Context, id string) error {
	return b.e.attachments.Detach(ctx, id)
}
