package engine

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/gossip"
	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/model"
)

// publisher makes this host answer at the published ports of the swarm's
// services, as the records of the ingress network have them. It has the mesh's
// parts in the kernel from Open to Close; what a crash leaves of them serves on
// until the records are all there again.
type publisher struct {
	log     *slog.Logger
	now     func() time.Time
	hostNS  *kernel.Namespace
	reserve func(model.PublishedPort, netip.AddrPort) (io.Closer, error)
	local   func(networkID string) map[netip.Addr]bool // addresses of this node's endpoints
	heard   func(networkID string, draining []string)  // told of the leaving tasks that get nothing new
	report  func(networkID string, r model.MeshReport) // told how the kernel has it
	nodes   func(networkID string) []model.MeshNode    // on the network, this one too if it is heard
	vteps   func(networkID string) map[string]netip.Addr

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
	failed  error // of the last write
	mended  int   // how often the kernel was put right
}

func newPublisher(log *slog.Logger, now func() time.Time) *publisher {
	return &publisher{log: log, now: now, changed: make(chan struct{}, 1), records: map[string]model.Record{}}
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

// remove ends the node's part: its ports answer nowhere.
func (p *publisher) remove() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.host != nil {
		err = p.host.Remove()
	}
	p.records, p.whole = map[string]model.Record{}, false
	return errors.Join(err, p.close())
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

// checkTime is how often the kernel is compared with what was written.
const checkTime = 30 * time.Second

// run brings the kernel up to date with the records until ctx ends.
func (p *publisher) run(ctx context.Context) {
	check := time.NewTicker(checkTime)
	defer check.Stop()
	for {
		act := p.write
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		case <-check.C:
			act = p.mend
		}
		if err := act(); err != nil {
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
	offers := p.offers()
	if p.sandbox != nil {
		services, listens := p.wanted(offers)
		p.failed = errors.Join(p.node.Set(services), p.host.Set(listens), p.node.Forget(p.departed()))
		p.report(p.network, p.account(offers, nil))
		if p.failed != nil {
			return p.failed
		}
	}
	p.heard(p.network, p.draining())
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

// offer is a published port as the records have it.
type offer struct {
	mesh.Port
	service, serviceID string
	options            model.Mesh
	tasks              []offered // by address
}

// offered is a task behind a port.
type offered struct {
	model.Record
	backend mesh.Backend
	target  uint16
	near    bool // on this node
}

// offers gives the published ports in order. p.mu is held.
func (p *publisher) offers() []*offer {
	here := p.local(p.network)
	ports := map[mesh.Port]*offer{}
	for _, r := range p.sorted() {
		b := p.backend(r)
		for _, port := range r.Ingress {
			key := mesh.Port{Proto: protocolNumber(port.Proto), Published: port.Published}
			o := ports[key]
			if o == nil {
				o = &offer{Port: key, service: r.ServiceName, serviceID: r.ServiceID}
				ports[key] = o
			}
			if r.Mesh != nil && !r.Disabled {
				o.options = *r.Mesh
			}
			o.tasks = append(o.tasks, offered{Record: r, backend: b, target: port.Target, near: here[r.Addr]})
		}
	}
	return slices.SortedFunc(maps.Values(ports), func(a, b *offer) int {
		return cmp.Or(cmp.Compare(a.Published, b.Published), cmp.Compare(a.Proto, b.Proto))
	})
}

// meshService gives what flows to the port get.
func (o *offer) meshService() mesh.Service {
	s := mesh.Service{Port: o.Port, Algorithm: mesh.Algorithm(o.options.Algorithm), Masquerade: o.options.Masquerade, Idle: o.options.Idle}
	var near []mesh.Backend
	for _, t := range o.tasks {
		if t.Disabled {
			continue
		}
		s.Backends = append(s.Backends, t.backend)
		if t.near {
			near = append(near, t.backend)
		}
	}
	if o.options.Local && len(near) > 0 {
		s.Backends = near
	}
	return s
}

// wanted gives what the offers come to: services, and where this host answers
// for them.
func (p *publisher) wanted(offers []*offer) ([]mesh.Service, []mesh.Listen) {
	var services []mesh.Service
	var listens []mesh.Listen
	for _, o := range offers {
		s := o.meshService()
		if len(s.Backends) == 0 {
			continue
		}
		services = append(services, s)
		if addrs, here := p.bound(o.options.Bind); here {
			listens = append(listens, mesh.Listen{Port: o.Port, Addrs: addrs})
		}
	}
	return services, listens
}

// sorted gives the records in an order that does not change with each other.
// p.mu is held.
func (p *publisher) sorted() []model.Record {
	return slices.SortedFunc(maps.Values(p.records), func(a, b model.Record) int { return a.Addr.Compare(b.Addr) })
}

// draining gives the endpoints on their way out. p.mu is held.
func (p *publisher) draining() []string {
	var out []string
	for _, r := range p.sorted() {
		if r.Disabled {
			out = append(out, r.EndpointID)
		}
	}
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

// meshNetwork gives the ingress network the IPv6 addresses the mesh carries
// clients' IPv6 flows with: the swarm gives it IPv4 subnets alone.
func meshNetwork(nw model.Network) model.Network {
	if !nw.Ingress || nw.IPv6 || !hasIPv6() {
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
