package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"weft/engine/gossip"
	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/model"
	"weft/engine/overlay"
)

// publisher makes this host answer at the published ports of the swarm's
// services, as the records of the ingress network have them. It has the mesh's
// parts in the kernel from Open to Close; what a crash leaves of them serves on
// until the records are all there again.
type publisher struct {
	log     *slog.Logger
	hostNS  *kernel.Namespace
	reserve func(model.PublishedPort, netip.AddrPort) (io.Closer, error)
	local   func(networkID string) map[netip.Addr]bool // addresses of this node's endpoints
	heard   func(networkID string, draining []string)  // told of the leaving tasks that get nothing new

	changed chan struct{} // has room for one

	mu      sync.Mutex // guards the following
	network string     // the records' one
	records map[string]model.Record
	tasks   map[netip.Addr]bool // the records' addresses as of the last write
	whole   bool                // nothing is missing in records
	adopted bool                // an earlier engine's rules serve until then
	place   model.Endpoint
	source  netip.Addr
	sandbox *kernel.Namespace // nil: this host is in no ingress network
	host    *mesh.Host
	node    *mesh.Node
}

func newPublisher(log *slog.Logger) *publisher {
	return &publisher{log: log, changed: make(chan struct{}, 1), records: map[string]model.Record{}}
}

// open makes the ingress sandbox of ep the node's part in the mesh.
func (p *publisher) open(ep model.Endpoint, source netip.Addr, adopted bool) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sandbox != nil && p.place.ID == ep.ID {
		return nil
	}
	if err := p.close(); err != nil {
		return err
	}
	if p.reserve == nil {
		return nil // the ports of this host are another engine's
	}
	sandbox, err := kernel.Open(ep.Sandbox)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	p.sandbox, p.place, p.source, p.adopted = sandbox, ep, source, adopted
	p.host, err = mesh.OpenHost(mesh.HostConfig{
		Namespace: p.hostNS, IPv6: ep.AddrV6.IsValid(), Source: source, Reserve: p.reserve,
	})
	if err != nil {
		return err
	}
	if p.node, err = mesh.OpenNode(sandbox, placeOf(ep)); err != nil {
		return err
	}
	if err := p.host.Connect(sandbox); err != nil {
		return err
	}
	p.touch()
	return nil
}

func placeOf(ep model.Endpoint) mesh.Place {
	return mesh.Place{Interface: ep.IfName, Addr: ep.Addr, AddrV6: ep.AddrV6}
}

// close lets go of the kernel. p.mu is held.
func (p *publisher) close() error {
	var errs []error
	if p.node != nil {
		errs = append(errs, p.node.Close())
	}
	if p.host != nil {
		errs = append(errs, p.host.Close())
	}
	if p.sandbox != nil {
		errs = append(errs, p.sandbox.Close())
	}
	p.node, p.host, p.sandbox = nil, nil, nil
	return errors.Join(errs...)
}

// remove ends the node's part: its ports answer nowhere. It also takes away what
// an earlier engine has left of its own.
func (p *publisher) remove() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records, p.whole = map[string]model.Record{}, false
	if p.reserve == nil {
		return nil // the ports of this host are another engine's
	}
	if p.host == nil {
		var err error
		if p.host, err = mesh.OpenHost(mesh.HostConfig{Namespace: p.hostNS}); err != nil {
			return err
		}
	}
	return errors.Join(p.host.Remove(), p.close())
}

// stop leaves what is in the kernel to the next engine.
func (p *publisher) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.close()
}

// apply takes changes of the ingress network's records.
func (p *publisher) apply(networkID string, changes []gossip.RecordChange, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network = networkID
	if whole {
		p.records, p.whole = map[string]model.Record{}, true
	}
	for _, c := range changes {
		if c.Delete {
			delete(p.records, c.Record.EndpointID)
		} else {
			p.records[c.Record.EndpointID] = c.Record
		}
	}
	p.touch()
}

// touch has run write what has changed.
func (p *publisher) touch() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// run brings the kernel up to date with the records until ctx ends.
func (p *publisher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		}
		if err := p.write(); err != nil {
			p.log.ErrorContext(ctx, "published ports not served as they should be", "err", err)
		}
	}
}

func (p *publisher) write() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.adopted && !p.whole {
		return nil
	}
	services, listens, draining := p.wanted()
	if p.sandbox != nil {
		if err := errors.Join(p.node.Set(services), p.host.Set(listens), p.node.Forget(p.departed())); err != nil {
			return err
		}
	}
	p.heard(p.network, draining)
	return nil
}

// departed gives the addresses of tasks that have gone since the last call.
// p.mu is held.
func (p *publisher) departed() []netip.Addr {
	now := make(map[netip.Addr]bool, len(p.records))
	for _, r := range p.records {
		now[r.Addr] = true
	}
	var gone []netip.Addr
	for a := range p.tasks {
		if now[a] {
			continue
		}
		gone = append(gone, a)
		if p.place.AddrV6.IsValid() {
			gone = append(gone, derived(p.place.AddrV6, a))
		}
	}
	p.tasks = now
	return gone
}

// wanted gives what the records come to: services, where this host answers for
// them, and which endpoints are on their way out. p.mu is held.
func (p *publisher) wanted() ([]mesh.Service, []mesh.Listen, []string) {
	here := p.local(p.network)
	services := map[mesh.Port]*mesh.Service{}
	options := map[mesh.Port]model.Mesh{}
	near := map[mesh.Port][]mesh.Backend{}
	var draining []string
	for _, r := range p.sorted() {
		if r.Disabled {
			draining = append(draining, r.EndpointID)
			continue
		}
		b := p.backend(r)
		for _, port := range r.Ingress {
			key := mesh.Port{Proto: protocolNumber(port.Proto), Published: port.Published}
			s := services[key]
			if s == nil {
				s = &mesh.Service{Port: key}
				services[key] = s
			}
			if r.Mesh != nil {
				options[key] = *r.Mesh
			}
			s.Backends = append(s.Backends, b)
			if here[r.Addr] {
				near[key] = append(near[key], b)
			}
		}
	}
	var list []mesh.Service
	var listens []mesh.Listen
	for key, s := range services {
		o := options[key]
		s.Algorithm, s.Masquerade = mesh.Algorithm(o.Algorithm), o.Masquerade
		if o.Local && len(near[key]) > 0 {
			s.Backends = near[key]
		}
		addrs, here := p.bound(o.Bind)
		if here {
			listens = append(listens, mesh.Listen{Port: key, Addrs: addrs})
		}
		list = append(list, *s)
	}
	return list, listens, draining
}

// sorted gives the records in an order that does not change with each other.
func (p *publisher) sorted() []model.Record {
	out := make([]model.Record, 0, len(p.records))
	for _, r := range p.records {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b model.Record) int { return a.Addr.Compare(b.Addr) })
	return out
}

func (p *publisher) backend(r model.Record) mesh.Backend {
	b := mesh.Backend{Addr: r.Addr, Foreign: r.Mesh == nil}
	if r.Mesh != nil && r.Mesh.IPv6 && p.place.AddrV6.IsValid() {
		b.AddrV6 = derived(p.place.AddrV6, r.Addr)
	}
	return b
}

// derived gives the IPv6 address of an endpoint on a network (see
// model.Segment.AddrV6).
func derived(network netip.Prefix, v4 netip.Addr) netip.Addr {
	s := model.Segment{V6: model.Subnet{Prefix: network.Masked()}}
	return s.AddrV6(v4).Addr()
}

// bound gives the addresses of this host that a service is bound to: none and
// true is all of them, false is that it is bound to other hosts.
func (p *publisher) bound(names []string) ([]netip.Addr, bool) {
	if len(names) == 0 {
		return nil, true
	}
	own, err := kernel.Addresses(p.hostNS)
	if err != nil {
		p.log.Warn("addresses of this host not found", "err", err)
		return nil, false
	}
	var out []netip.Addr
	for _, name := range names {
		a, err := netip.ParseAddr(name)
		for _, o := range own {
			if (err == nil && o.Addr == a) || (err != nil && o.Interface == name) {
				out = append(out, o.Addr)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), len(out) > 0
}

func protocolNumber(name string) byte {
	switch name {
	case "udp":
		return unix.IPPROTO_UDP
	case "sctp":
		return unix.IPPROTO_SCTP
	}
	return unix.IPPROTO_TCP
}

// mesh gives the ingress network the IPv6 addresses the mesh carries clients'
// IPv6 flows with: the swarm gives it IPv4 subnets alone. A network whose
// packets are too small for IPv6 goes without; such clients are then carried by
// the host itself (see mesh.HostConfig.Reserve).
func (n *networks) mesh(nw model.Network) model.Network {
	d, _, _ := n.parts()
	if !nw.Ingress || nw.IPv6 || !hasIPv6() || d == nil || d.MTU(nw) < overlay.MinMTUv6 {
		return nw
	}
	for _, s := range nw.Segments() {
		if s.HasV6() {
			return nw
		}
	}
	nw.Subnets = slices.Clone(nw.Subnets)
	for i := range nw.Segments() {
		nw.Subnets = append(nw.Subnets, model.Subnet{Prefix: mesh.PrefixV6(nw.ID, i), Chosen: true})
	}
	return nw
}

// hasIPv6 reports whether this kernel speaks it.
func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}
