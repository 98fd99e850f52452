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
	"weft/engine/overlay"
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
	holder  func(proto string, port uint16) string     // who has a port of the host
	local   func(networkID string) map[netip.Addr]bool // addresses of this node's endpoints
	heard   func(networkID string, draining []string)  // told of the leaving tasks that get nothing new
	report  func(networkID string, r model.MeshReport) // told how the kernel has it
	ask     func(networkID, question string) error     // has the other nodes report
	nodes   func(networkID string) []model.MeshNode    // on the network, this one too if it is heard
	vteps   func(networkID string) map[string]netip.Addr
	overlay func(networkID string) string // path of the network's namespace
	lead    func(networkID, port string, node netip.Prefix) error

	changed  chan struct{} // has room for one
	question chan struct{} // likewise: there are some
	asking   chan struct{} // likewise: taken while others are asked

	mu       sync.Mutex // guards the following
	network  string     // the records' one
	records  map[string]model.Record
	behind   map[mesh.Port]map[string]bool // the records' endpoints by port
	tasks    map[netip.Addr]int            // the records' addresses
	draining map[string]bool               // endpoints on their way out
	dirty    map[mesh.Port]bool            // to be written
	gone     []netip.Addr                  // addresses some record had at the last write
	silences map[mesh.Port]model.MeshProblem
	written  bool // all but dirty, since open
	whole    bool // nothing is missing in records
	adopted  bool // an earlier engine's rules serve until then
	place    model.Endpoint
	source   netip.Addr
	sandbox  *kernel.Namespace // nil: this host is in no ingress network
	within   *kernel.Namespace // the ingress network's own
	host     *mesh.Host
	node     *mesh.Node
	failed   error // of the last write
	mended   int   // how often the kernel was put right

	questions map[netip.Addr]string // of other nodes, not answered yet
	answered  []answered            // the last ones first
}

// answered is a question of another node's.
type answered struct {
	from netip.Addr
	text string
}

func newPublisher(log *slog.Logger, now func() time.Time) *publisher {
	p := &publisher{
		log: log, now: now, changed: make(chan struct{}, 1), question: make(chan struct{}, 1), asking: make(chan struct{}, 1),
		questions: map[netip.Addr]string{},
	}
	p.empty()
	return p
}

// empty forgets all records. p.mu is held.
func (p *publisher) empty() {
	p.records, p.behind, p.tasks = map[string]model.Record{}, map[mesh.Port]map[string]bool{}, map[netip.Addr]int{}
	p.draining, p.dirty, p.gone, p.whole = map[string]bool{}, map[mesh.Port]bool{}, nil, false
	p.silences = map[mesh.Port]model.MeshProblem{}
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
	p.sandbox, p.place, p.source, p.adopted, p.written = sandbox, ep, source, adopted, false
	if p.within, err = kernel.Open(p.overlay(ep.NetworkID)); err != nil {
		return err
	}
	p.host, err = mesh.OpenHost(mesh.HostConfig{
		Namespace: p.hostNS, IPv6: ep.AddrV6.IsValid(), Source: source, Reserve: p.reserve, Holder: p.holder,
		Refuse:  func(_ mesh.Port, why error) { p.log.Warn("published port left to somebody else", "err", why) },
		Network: placeOf(ep), Overlay: p.within,
		Lead: func(port string) error { return p.lead(ep.NetworkID, port, ep.Addr) },
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
	if why := p.host.Indirect(); why != nil {
		p.log.Warn("published ports answer, and TCP not as fast as it could", "reason", why)
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
	for _, ns := range []*kernel.Namespace{p.sandbox, p.within} {
		if ns != nil {
			errs = append(errs, ns.Close())
		}
	}
	p.node, p.host, p.sandbox, p.within = nil, nil, nil, nil
	return errors.Join(errs...)
}

// remove ends the node's part: its ports answer nowhere. It also takes away what
// an earlier engine has left of its own.
func (p *publisher) remove() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.empty()
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
		for _, r := range p.records {
			p.forget(r)
		}
		p.whole = true
	}
	for _, c := range changes {
		if old, ok := p.records[c.Record.EndpointID]; ok {
			p.forget(old)
		}
		if !c.Delete {
			p.note(c.Record)
		}
	}
	p.touch()
}

// note takes up a record; its ports are to be written. p.mu is held.
func (p *publisher) note(r model.Record) {
	p.records[r.EndpointID] = r
	p.tasks[r.Addr]++
	if r.Disabled {
		p.draining[r.EndpointID] = true
	}
	for _, port := range r.Ingress {
		key := portOf(port)
		if p.behind[key] == nil {
			p.behind[key] = map[string]bool{}
		}
		p.behind[key][r.EndpointID], p.dirty[key] = true, true
	}
}

// forget drops a record; its ports are to be written. p.mu is held.
func (p *publisher) forget(r model.Record) {
	delete(p.records, r.EndpointID)
	delete(p.draining, r.EndpointID)
	p.gone = append(p.gone, r.Addr)
	if p.tasks[r.Addr]--; p.tasks[r.Addr] == 0 {
		delete(p.tasks, r.Addr)
	}
	for _, port := range r.Ingress {
		key := portOf(port)
		delete(p.behind[key], r.EndpointID)
		if p.dirty[key] = true; len(p.behind[key]) == 0 {
			delete(p.behind, key)
		}
	}
}

func portOf(p model.IngressPort) mesh.Port {
	return mesh.Port{Proto: protocolNumber(p.Proto), Published: p.Published}
}

// serviceAt names the service that publishes a port in the swarm; empty: none.
func (p *publisher) serviceAt(proto string, port uint16) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.behind[mesh.Port{Proto: protocolNumber(proto), Published: port}] {
		return p.records[id].ServiceName
	}
	return ""
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

// retryTime is how often ports are tried again that programs of the host's had.
const retryTime = 2 * time.Second

// run brings the kernel up to date with the records, and with the addresses
// ports are bound to, until ctx ends.
func (p *publisher) run(ctx context.Context) {
	check, retry := time.NewTicker(checkTime), time.NewTicker(retryTime)
	defer check.Stop()
	defer retry.Stop()
	moved, stop := p.watchAddresses(ctx)
	defer stop()
	for {
		act := p.write
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		case <-moved:
			act = p.rebind
		case <-p.question:
			act = p.answer
		case <-check.C:
			act = p.mend
		case <-retry.C:
			act = p.retry
		}
		if err := act(); err != nil {
			p.log.ErrorContext(ctx, "published ports not served as they should be", "err", err)
		}
	}
}

// watchAddresses tells of changes of the host's addresses until stop, which
// waits for its end. Without, check finds them.
func (p *publisher) watchAddresses(ctx context.Context) (moved chan struct{}, stop func()) {
	moved = make(chan struct{}, 1)
	w, err := kernel.WatchAddresses(p.hostNS)
	if err != nil {
		p.log.WarnContext(ctx, "changes of this host's addresses are noticed late", "after", checkTime, "err", err)
		return moved, func() {}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// It ends when the watch is closed.
		_ = w.Until(func() bool {
			select {
			case moved <- struct{}{}:
			default:
			}
			return false
		})
	}()
	return moved, func() {
		_ = w.Close()
		<-ended
	}
}

// write costs by what has changed, however much is published.
func (p *publisher) write() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.adopted && !p.whole {
		return nil
	}
	if p.sandbox != nil {
		p.failed = p.writeKernel()
		p.report(p.network, p.account(nil))
		if p.failed != nil {
			return p.failed
		}
	}
	p.heard(p.network, slices.Sorted(maps.Keys(p.draining)))
	return nil
}

// writeKernel writes the ports that have changed, or all. p.mu is held.
func (p *publisher) writeKernel() error {
	var offers []*offer
	if p.written {
		here := p.local(p.network)
		for port := range p.dirty {
			offers = append(offers, p.offer(port, here))
		}
	} else {
		offers = p.offers()
	}
	services, listens, closed := p.wanted(offers)
	setNode, setHost := p.node.Change, p.host.Change
	if !p.written {
		clear(p.silences)
		setNode = p.node.Set
		setHost = func(l []mesh.Listen, _ []mesh.Port) error { return p.host.Set(l) }
	}
	err := errors.Join(setNode(services), setHost(listens, closed), p.forgetDeparted())
	for _, o := range offers {
		p.listen(o)
	}
	if p.written = err == nil; p.written {
		p.gone = nil
		clear(p.dirty)
	}
	return err
}

// retry tries ports again that programs of the host's had.
func (p *publisher) retry() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.host == nil || len(p.silences) == 0 {
		return nil
	}
	err := p.host.Retry()
	before := len(p.silences)
	for port := range maps.Clone(p.silences) {
		p.listen(p.offer(port, nil))
	}
	if len(p.silences) != before {
		p.report(p.network, p.account(nil))
	}
	return err
}

// listen notes whether this host is silent at a port. p.mu is held.
func (p *publisher) listen(o *offer) {
	delete(p.silences, o.Port)
	if problem, ok := p.silent(o); ok && len(o.tasks) > 0 {
		p.silences[o.Port] = problem
	}
}

// forgetDeparted ends the flows of tasks that have gone. p.mu is held.
func (p *publisher) forgetDeparted() error {
	gone := p.departed()
	all := slices.Clone(gone)
	if p.place.AddrV6.IsValid() {
		for _, a := range gone {
			all = append(all, placeOf(p.place).V6Of(a))
		}
	}
	return errors.Join(p.host.Forget(gone), p.node.Forget(all))
}

// departed gives the addresses of tasks that have gone since the last write.
// p.mu is held.
func (p *publisher) departed() []netip.Addr {
	var out []netip.Addr
	for _, a := range p.gone {
		if p.tasks[a] > 0 {
			continue
		}
		out = append(out, a)
	}
	return out
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
	out := make([]*offer, 0, len(p.behind))
	here := p.local(p.network)
	for port := range p.behind {
		out = append(out, p.offer(port, here))
	}
	slices.SortFunc(out, func(a, b *offer) int {
		return cmp.Or(cmp.Compare(a.Published, b.Published), cmp.Compare(a.Proto, b.Proto))
	})
	return out
}

// offer gives one published port; one without tasks is none. here are the
// addresses of this node's endpoints. p.mu is held.
func (p *publisher) offer(port mesh.Port, here map[netip.Addr]bool) *offer {
	o := &offer{Port: port}
	for id := range p.behind[port] {
		r := p.records[id]
		t := offered{Record: r, backend: p.backend(r), near: here[r.Addr]}
		for _, i := range r.Ingress {
			if portOf(i) != port {
				continue
			}
			if t.target = i.Target; r.Mesh != nil && slices.Contains(r.Mesh.Anywhere, i.Target) {
				t.backend.Target = i.Target
			}
		}
		o.tasks = append(o.tasks, t)
	}
	// In an order that does not change with each other.
	slices.SortFunc(o.tasks, func(a, b offered) int { return a.Addr.Compare(b.Addr) })
	for i, t := range o.tasks {
		if i == 0 {
			o.service, o.serviceID = t.ServiceName, t.ServiceID
		}
		if t.Mesh != nil && !t.Disabled {
			o.options = *t.Mesh
		}
	}
	return o
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
// for them and where not.
func (p *publisher) wanted(offers []*offer) (services []mesh.Service, listens []mesh.Listen, closed []mesh.Port) {
	for _, o := range offers {
		s := o.meshService()
		services = append(services, s)
		if addrs, here := p.bound(o.options.Bind); here && len(s.Backends) > 0 {
			listens = append(listens, mesh.Listen{Port: o.Port, Addrs: addrs, Service: s})
		} else {
			closed = append(closed, o.Port)
		}
	}
	return services, listens, closed
}

func (p *publisher) backend(r model.Record) mesh.Backend {
	b := mesh.Backend{Addr: r.Addr, Foreign: r.Mesh == nil}
	if r.Mesh != nil && r.Mesh.IPv6 && p.place.AddrV6.IsValid() {
		b.AddrV6 = placeOf(p.place).V6Of(r.Addr)
	}
	return b
}

// bound gives the addresses of this host that a service is bound to: none and
// true is all of them, false is that it is bound to other hosts.
func (p *publisher) bound(names []string) ([]netip.Addr, bool) {
	if len(names) == 0 {
		return nil, true
	}
	out, err := ownAddresses(p.hostNS, names)
	if err != nil {
		p.log.Warn("addresses of this host not found", "err", err)
	}
	return out, len(out) > 0
}

// ownAddresses gives those addresses of a host that are named, by themselves or
// by their interface.
func ownAddresses(host *kernel.Namespace, names []string) ([]netip.Addr, error) {
	own, err := kernel.Addresses(host)
	if err != nil {
		return nil, err
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
	return slices.Compact(out), nil
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
