package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"weft/engine/dns"
	"weft/engine/gossip"
	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/model"
	"weft/engine/nft"
	"weft/engine/vip"
)

// directory knows who answers to which name on the networks of this node, and
// serves it to the sandboxes on them: a resolver and the services' virtual IPs
// in each.
type directory struct {
	log *slog.Logger

	mu        sync.Mutex                         // guards the following
	records   map[string]map[string]model.Record // by network and endpoint
	served    map[string]map[string]model.Record // what names are made of, likewise: virtual IPs first
	zones     map[zoneKey]*dns.Zone              // made when asked for, dropped when served changes
	sandboxes map[string]*resident               // by container
	unheard   map[string]chan struct{}           // swarm networks somebody waits to hear of; closed then

	heard   func(networkID string, draining []string) // told when the virtual IPs spare these endpoints
	changed chan struct{}                             // has room for one: networks in dirty
	dirty   map[string]bool                           // by network: whether names are to be made of its records
	dropped map[string]bool                           // networks that were since the last call of due
}

// zoneKey is a network, as sandboxes see it or as virtual machines do.
type zoneKey struct {
	network string
	plain   bool // services have no virtual IPs
}

// resident is a sandbox and what it is served with. It answers dns.View.
type resident struct {
	dir      *directory
	ns       *kernel.Namespace
	rules    *nft.Conn
	resolver *dns.Resolver
	plain    bool // its clients are virtual machines, in which nothing balances virtual IPs

	mu        sync.Mutex      // held while virtual IPs are written; guards known
	known     bool            // their table was written before
	balanced  []model.Network // whose virtual IPs are written; guarded by directory.mu, as the following
	behind    bool            // and could not be
	networks  []model.Network // whose names are answered
	upstreams []dns.Upstream
	ndots     bool
}

func newDirectory(log *slog.Logger) *directory {
	return &directory{
		log: log, records: map[string]map[string]model.Record{}, served: map[string]map[string]model.Record{},
		zones: map[zoneKey]*dns.Zone{}, sandboxes: map[string]*resident{}, unheard: map[string]chan struct{}{},
		changed: make(chan struct{}, 1), dirty: map[string]bool{}, dropped: map[string]bool{},
	}
}

// run brings the virtual IPs of sandboxes up to date with the records, and then
// the names, until ctx ends. Who has a service's address from a name can use it:
// a flow that began before would go nowhere for as long as it lasts.
func (d *directory) run(ctx context.Context) {
	retry := time.NewTimer(balanceRetry)
	defer retry.Stop()
	retry.Stop() // until there is something to
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.changed:
		case <-retry.C:
		}
		if !d.update(ctx) {
			retry.Reset(balanceRetry)
		}
	}
}

// balanceRetry is how long after a failure virtual IPs are written once more.
const balanceRetry = 5 * time.Second

// update does so for what has changed since, and for sandboxes that are behind.
// It gives false when one still is: names do not wait for it, others need them.
func (d *directory) update(ctx context.Context) bool {
	affected, draining, records := d.due()
	written := true
	for _, s := range affected {
		if err := s.balance(); err != nil {
			written = false
			d.log.ErrorContext(ctx, "virtual IPs not written", "sandbox", s.ns.Path(), "retry_in", balanceRetry, "err", err)
		}
	}
	d.serve(records)
	for id, endpoints := range draining {
		d.heard(id, endpoints)
	}
	return written
}

// due gives the sandboxes whose networks have changed since the last call, or
// that are behind, what drains on each of these networks, and the records to
// make names of.
func (d *directory) due() (affected []*resident, draining map[string][]string, records map[string]map[string]model.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	draining, records = map[string][]string{}, map[string]map[string]model.Record{}
	for id, names := range d.dirty {
		draining[id] = nil
		if names {
			records[id] = maps.Clone(d.records[id])
		}
		for _, r := range d.records[id] {
			if r.Disabled {
				draining[id] = append(draining[id], r.EndpointID)
			}
		}
	}
	for _, s := range d.sandboxes {
		if s.behind || slices.ContainsFunc(s.balanced, func(nw model.Network) bool { _, dirty := d.dirty[nw.ID]; return dirty }) {
			affected = append(affected, s)
		}
	}
	clear(d.dirty)
	clear(d.dropped)
	return affected, draining, records
}

// serve makes names of what due gave, but for networks dropped since.
func (d *directory) serve(records map[string]map[string]model.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, r := range records {
		if !d.dropped[id] {
			d.name(id, r)
		}
	}
}

// name makes names of a network's records. d.mu is held.
func (d *directory) name(networkID string, records map[string]model.Record) {
	d.unname(networkID)
	d.served[networkID] = records
	if heard := d.unheard[networkID]; heard != nil {
		close(heard)
		delete(d.unheard, networkID)
	}
}

// unname ends the names of a network. d.mu is held.
func (d *directory) unname(networkID string) {
	delete(d.served, networkID)
	delete(d.zones, zoneKey{networkID, false})
	delete(d.zones, zoneKey{networkID, true})
}

// drop forgets a network that this node is not on any more. When it is again,
// nothing is known of it before the gossip has spoken.
func (d *directory) drop(networkID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, networkID)
	delete(d.dirty, networkID)
	d.dropped[networkID] = true
	d.unname(networkID)
}

// apply takes changes of a swarm network's records; whole says that they are
// all there are.
func (d *directory) apply(networkID string, changes []gossip.RecordChange, whole bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if whole || d.records[networkID] == nil {
		d.records[networkID] = map[string]model.Record{}
	}
	for _, c := range changes {
		if c.Delete {
			delete(d.records[networkID], c.Record.EndpointID)
		} else {
			d.records[networkID][c.Record.EndpointID] = c.Record
		}
	}
	d.touch(networkID, true)
}

// touch notes that the records of a network have changed, and whether names are
// to be made of them. d.mu is held.
func (d *directory) touch(networkID string, names bool) {
	d.dirty[networkID] = names
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// touchLocal does that for a network of this node, which has no virtual IPs: its
// names are right when the call returns. d.mu is held.
func (d *directory) touchLocal(networkID string) {
	if rows := d.records[networkID]; len(rows) > 0 {
		d.name(networkID, maps.Clone(rows))
	} else { // nobody is on it any more
		delete(d.records, networkID)
		d.unname(networkID)
	}
	d.touch(networkID, false)
}

// place is what the directory is told of a container.
type place struct {
	containerID, sandbox string
	networks             []model.Network // where it finds others by name
	records              map[string]model.Record
	upstreams            []upstream
	ndots                bool // resolv.conf has that option from somebody else
	// at is where a network is served to its virtual machines; none: the
	// sandbox is served.
	at []netip.Addr
}

// upstream is a server to forward to, asked from within the container or from
// the host.
type upstream struct {
	addr   netip.Addr
	inside bool
}

// enter serves a container's sandbox, or what has changed of it: virtual IPs
// before names, as run does.
func (d *directory) enter(p place) error {
	if len(p.networks) == 0 {
		return d.leave(p.containerID)
	}
	s, err := d.resident(p)
	if err != nil {
		return err
	}
	d.mu.Lock()
	s.balanced = p.networks
	d.mu.Unlock()
	if err := s.balance(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.networks = p.networks
	s.upstreams = nil
	s.ndots = p.ndots
	for _, u := range p.upstreams {
		if u.inside && u.addr == dns.Addr() {
			continue // it would ask itself
		}
		dial := new(net.Dialer).DialContext
		if u.inside {
			dial = s.dial
		}
		s.upstreams = append(s.upstreams, dns.Upstream{Addr: netip.AddrPortFrom(u.addr, dnsPort), Dial: dial})
	}
	d.forget(p.containerID)
	for networkID, r := range p.records {
		if d.records[networkID] == nil {
			d.records[networkID] = map[string]model.Record{}
		}
		d.records[networkID][localRecord(p.containerID, networkID)] = r
		d.touchLocal(networkID)
	}
	return nil
}

const dnsPort = 53

// localRecord is the key of a container's record on a network of this node.
func localRecord(containerID, networkID string) string { return containerID + " " + networkID }

// resident gives the sandbox of a container, served from now on.
func (d *directory) resident(p place) (*resident, error) {
	d.mu.Lock()
	s := d.sandboxes[p.containerID]
	d.mu.Unlock()
	if s != nil { // a container's own operations come one after the other
		return s, nil
	}
	ns, err := kernel.Open(p.sandbox)
	if err != nil {
		return nil, err
	}
	s = &resident{dir: d, ns: ns, plain: len(p.at) > 0}
	if s.rules, err = nft.Open(ns); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	if s.plain {
		s.resolver, err = dns.StartAt(ns, p.at, s, d.log)
	} else {
		s.resolver, err = dns.Start(ns, s.rules, s, d.log)
	}
	if err != nil {
		return nil, errors.Join(err, s.rules.Close(), ns.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sandboxes[p.containerID] = s
	return s, nil
}

// publish makes a task's sandbox answer at its published ports.
func (d *directory) publish(c model.Container) error {
	d.mu.Lock()
	s := d.sandboxes[c.ID]
	d.mu.Unlock()
	if s == nil {
		return nil
	}
	for _, ep := range c.Endpoints {
		if len(ep.Ingress) == 0 {
			continue
		}
		t := mesh.Task{Place: placeOf(ep), Ports: targets(ep)}
		if e := c.Egress; e != nil {
			t.Egress = mesh.Egress{Interface: e.IfName, Addr: e.Addr, Gateway: e.Gateway, GatewayV6: e.GatewayV6}
		}
		if err := mesh.SetTask(s.ns, s.rules, t); err != nil {
			return err
		}
	}
	return nil
}

// forget drops the records of a container on networks of this node. d.mu is
// held.
func (d *directory) forget(containerID string) {
	for networkID, rows := range d.records {
		if key := localRecord(containerID, networkID); rows[key].EndpointID != "" {
			delete(rows, key)
			d.touchLocal(networkID)
		}
	}
}

// leave ends what a container's sandbox is served with.
func (d *directory) leave(containerID string) error {
	d.mu.Lock()
	s := d.sandboxes[containerID]
	delete(d.sandboxes, containerID)
	d.forget(containerID)
	d.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.close()
}

// evict ends what a sandbox is served with that does not go with its endpoints,
// and takes away what an earlier engine served it with.
func (d *directory) evict(p place) error {
	s, err := d.resident(p)
	if err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.sandboxes, p.containerID)
	d.forget(p.containerID)
	d.mu.Unlock()
	s.mu.Lock() // after the last write, which would not come any more
	if !s.plain {
		err = vip.Set(s.rules, nil, s.known)
	}
	s.mu.Unlock()
	return errors.Join(err, s.close())
}

// close leaves the tables of virtual IPs where they are: the sandbox goes, or
// another engine takes over.
func (s *resident) close() error {
	err := s.resolver.Close()
	s.mu.Lock() // after the last write
	defer s.mu.Unlock()
	return errors.Join(err, s.rules.Close(), s.ns.Close())
}

// close ends all service. Sandboxes keep their virtual IPs.
func (d *directory) close() error {
	d.mu.Lock()
	ids := slices.Collect(maps.Keys(d.sandboxes))
	d.mu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, d.leave(id))
	}
	return errors.Join(errs...)
}

// Zones answers dns.View.
func (s *resident) Zones() []*dns.Zone {
	d := s.dir
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*dns.Zone, 0, len(s.networks))
	for _, nw := range s.networks {
		key := zoneKey{nw.ID, s.plain}
		z := d.zones[key]
		if z == nil {
			records := slices.Collect(maps.Values(d.served[nw.ID]))
			if s.plain {
				for i := range records {
					records[i].VIP = netip.Addr{}
				}
			}
			z = dns.NewZone(nw, records)
			d.zones[key] = z
		}
		out = append(out, z)
	}
	return out
}

// Upstreams answers dns.View.
func (s *resident) Upstreams() []dns.Upstream {
	s.dir.mu.Lock()
	defer s.dir.mu.Unlock()
	return s.upstreams
}

// Ndots answers dns.View.
func (s *resident) Ndots() bool {
	s.dir.mu.Lock()
	defer s.dir.mu.Unlock()
	return s.ndots
}

// Settle answers dns.View.
func (s *resident) Settle(ctx context.Context) (more bool) {
	for {
		heard := s.unheard()
		if heard == nil {
			return more
		}
		select {
		case <-heard:
			more = true
		case <-ctx.Done():
			return more
		}
	}
}

// unheard gives what is closed when the gossip has spoken of a network of the
// sandbox's; nil: it has, of all of them.
func (s *resident) unheard() chan struct{} {
	d := s.dir
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, nw := range s.networks {
		if nw.Scope != model.ScopeSwarm || d.served[nw.ID] != nil {
			continue
		}
		if d.unheard[nw.ID] == nil {
			d.unheard[nw.ID] = make(chan struct{})
		}
		return d.unheard[nw.ID]
	}
	return nil
}

// dial connects from within the sandbox.
func (s *resident) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = kernel.Do(s.ns, func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// balance writes the virtual IPs of the services on the sandbox's networks.
func (s *resident) balance() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir.mu.Lock()
	gone := !slices.Contains(slices.Collect(maps.Values(s.dir.sandboxes)), s)
	var services []vip.Service
	for _, nw := range s.balanced {
		services = append(services, virtualIPs(nw, s.dir.records[nw.ID])...)
	}
	nothing := len(services) == 0 && !s.known && !s.behind
	s.dir.mu.Unlock()
	if gone || s.plain || nothing {
		return nil
	}
	err := vip.Set(s.rules, services, s.known)
	s.known = err == nil && len(services) > 0
	s.dir.mu.Lock()
	defer s.dir.mu.Unlock()
	s.behind = err != nil
	return err
}

// virtualIPs gives the services of a network that have one, with the tasks
// that take new flows, in a fixed order.
func virtualIPs(nw model.Network, records map[string]model.Record) []vip.Service {
	tasks := map[netip.Addr][]netip.Addr{}
	for _, r := range records {
		if !r.VIP.IsValid() {
			continue
		}
		list := tasks[r.VIP]
		if !r.Disabled && r.Addr.IsValid() {
			list = append(list, r.Addr)
		}
		tasks[r.VIP] = list
	}
	var out []vip.Service
	for _, addr := range slices.SortedFunc(maps.Keys(tasks), netip.Addr.Compare) {
		s := vip.Service{VIP: addr, Tasks: slices.SortedFunc(slices.Values(tasks[addr]), netip.Addr.Compare)}
		out = append(out, s)
		seg, ok := nw.Segment(addr)
		if v6 := seg.AddrV6(addr); ok && v6.IsValid() {
			six := vip.Service{VIP: v6.Addr()}
			for _, t := range s.Tasks {
				if a, found := nw.Segment(t); found && a.HasV6() { // not every subnet has a pair
					six.Tasks = append(six.Tasks, a.AddrV6(t).Addr())
				}
			}
			out = append(out, six)
		}
	}
	return out
}
