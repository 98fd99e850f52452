package mesh

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/nft"
)

// The link between the host and its ingress sandbox: a veth pair of their own,
// so that the mesh depends on no bridge, and no container is on it. The
// addresses are of no network: link-local ones (RFC 3927) and unique local ones
// (RFC 4193).
const (
	uplinkOutside = "weft-ingress"
	uplinkInside  = "uplink0"
	uplinkMTU     = 65535 // the ingress network's is the limit
)

func uplinkAddrs() (host, sandbox []netip.Prefix) {
	return []netip.Prefix{netip.MustParsePrefix("169.254.184.1/30"), netip.MustParsePrefix("fd77:6566:74::1/126")},
		[]netip.Prefix{netip.MustParsePrefix("169.254.184.2/30"), netip.MustParsePrefix("fd77:6566:74::2/126")}
}

// Listen is a published port and where the host answers at it.
type Listen struct {
	Port
	Addrs []netip.Addr // of the host; none: all of them
	// Service is what flows get that go straight to a task; those that can't
	// get what the ingress sandbox has for the port (Node).
	Service Service
}

// HostConfig is what OpenHost needs.
type HostConfig struct {
	Namespace *kernel.Namespace
	IPv6      bool // the ingress network has it
	// Network is the node's place in the ingress network and Overlay the
	// network's own namespace, which has to outlive the Host. Without, all flows
	// go by the ingress sandbox.
	Network Place
	Overlay *kernel.Namespace
	// Lead gives frames that come from a port of the network's bridge their
	// destination, and leads answers there (overlay.Driver.Lead).
	Lead func(port string) error
	// Source is the host's address that stands for its loopback address.
	Source netip.Addr
	// Reserve takes a port of the host, so that nobody else listens there, and
	// carries to the address given what the rules can't redirect.
	Reserve func(p model.PublishedPort, to netip.AddrPort) (io.Closer, error)
	// Holder says who has a port that could not be reserved; empty: unknown.
	Holder func(proto string, port uint16) string
	// Refuse is told once why a port could not be reserved; others are served.
	Refuse func(p Port, why error)
}

// Host is the mesh in the host's own namespace. It is not safe for concurrent
// use.
type Host struct {
	HostConfig
	rules   *nft.Conn
	written bool // the table, by this Host
	ports   map[Port]*listening
	refused map[Port]refusal

	indirect error            // why no flow goes straight to its task
	leg      int              // else: index of the link they go by
	services map[Port]Service // whose flows do, as they should be
	chains   map[string]bool  // of the table, for them
	// generation of the host's tables when all was found as it should be (see
	// Node); 0: that has not been looked at.
	generation uint32
}

// refusal is why the host does not answer where it should.
type refusal struct {
	Listen
	why error
}

// listening is a port this host answers at.
type listening struct {
	Listen
	reserved []io.Closer
}

// OpenHost takes the host's namespace. A table that is there goes on until the
// first Set.
func OpenHost(cfg HostConfig) (*Host, error) {
	rules, err := nft.Open(cfg.Namespace)
	if err != nil {
		return nil, err
	}
	return &Host{
		HostConfig: cfg, rules: rules, ports: map[Port]*listening{}, refused: map[Port]refusal{},
		indirect: errNoNetwork, services: map[Port]Service{},
	}, nil
}

// Connect links the host and its ingress sandbox, and the host and the ingress
// network itself; of the latter Indirect tells whether it could. What is linked
// stays so.
func (h *Host) Connect(sandbox *kernel.Namespace) error {
	outside, inside := h.uplink()
	mac := model.MACFromAddr(inside[0].Addr())
	_, _, err := link.EnsureVeth(h.Namespace, sandbox, link.Veth{
		Name: uplinkOutside, IfName: uplinkInside, MTU: uplinkMTU, MAC: mac, Addrs: inside, PortAddrs: outside,
	})
	if err != nil {
		return err
	}
	gateways := []netip.Addr{outside[0].Addr(), {}}
	if h.IPv6 {
		gateways[1] = outside[1].Addr()
	}
	if err := link.SetGateways(sandbox, uplinkInside, gateways[0], gateways[1]); err != nil {
		return err
	}
	if h.IPv6 {
		if err := kernel.KeepAdvertisedRoutes(h.Namespace); err != nil {
			return err
		}
	}
	if err := kernel.SetSysctls(h.Namespace, h.sysctls()...); err != nil {
		return err
	}
	before, leg := h.indirect, h.leg
	h.indirect = h.connectLeg(sandbox)
	if (h.indirect == nil) != (before == nil) || h.leg != leg {
		h.written = false // the table is another one then
	}
	if !h.plugged() {
		return link.Remove(h.Namespace, legName)
	}
	return nil
}

func (h *Host) sysctls() []kernel.Sysctl {
	list := []kernel.Sysctl{
		{Key: "net/ipv4/ip_forward", Value: "1"},
		{Key: "net/ipv4/conf/" + uplinkOutside + "/route_localnet", Value: "1"}, // for clients at 127.0.0.1
	}
	if h.IPv6 {
		list = append(list, kernel.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"})
	}
	return list
}

func (h *Host) uplink() (outside, inside []netip.Prefix) {
	outside, inside = uplinkAddrs()
	if !h.IPv6 {
		return outside[:1], inside[:1]
	}
	return outside, inside
}

// Close gives the ports back and leaves the kernel as it is.
func (h *Host) Close() error {
	errs := []error{h.rules.Close()}
	for _, l := range h.ports {
		errs = append(errs, release(l.reserved))
	}
	h.ports = map[Port]*listening{}
	return errors.Join(errs...)
}

// Remove takes away what Connect and Set have made.
func (h *Host) Remove() error {
	return errors.Join(h.rules.Delete(tableName), link.Remove(h.Namespace, uplinkOutside), link.Remove(h.Namespace, legName))
}

// Refused tells why the host does not answer at a port; nil: it does, or was
// not asked to.
func (h *Host) Refused(p Port) error { return h.refused[p].why }

// Set makes the host answer at exactly these ports.
func (h *Host) Set(ports []Listen) error {
	wanted := make(map[Port]bool, len(ports))
	for _, l := range ports {
		wanted[l.Port] = true
	}
	var closed []Port
	for p := range h.ports {
		if !wanted[p] {
			closed = append(closed, p)
		}
	}
	for p := range h.refused {
		if !wanted[p] {
			closed = append(closed, p)
		}
	}
	return h.Change(ports, closed)
}

// Change makes the host answer at ports and not at closed anymore. At one that
// a program of the host's has it does not, and says so once (Refuse).
func (h *Host) Change(ports []Listen, closed []Port) error {
	before := map[Port]*listening{}
	var errs []error
	end := func(p Port) {
		if l := h.ports[p]; l != nil {
			before[p] = l
			errs = append(errs, release(l.reserved))
			delete(h.ports, p)
		}
	}
	for _, p := range closed {
		end(p)
		delete(h.refused, p)
	}
	opened, others := map[Port]refusal{}, []Port{}
	for _, l := range ports {
		if have := h.ports[l.Port]; have != nil && slices.Equal(have.Addrs, l.Addrs) {
			have.Service = l.Service
			others = append(others, l.Port)
			continue
		}
		end(l.Port)
		opened[l.Port] = refusal{l, h.refused[l.Port].why}
	}
	return errors.Join(append(errs, h.open(opened, before, others))...)
}

// Retry tries again where a program of the host's was in the way.
func (h *Host) Retry() error {
	if len(h.refused) == 0 {
		return nil
	}
	return h.open(maps.Clone(h.refused), map[Port]*listening{}, nil)
}

// open takes ports and writes what has become of them and of those of before,
// and the services of those and of others.
func (h *Host) open(ports map[Port]refusal, before map[Port]*listening, others []Port) error {
	for p, r := range ports {
		reserved, err := h.reserve(r.Listen)
		if err != nil {
			if r.why == nil {
				r.why = h.explain(p, err)
				h.Refuse(p, r.why)
			}
			h.refused[p] = r
			continue
		}
		delete(h.refused, p)
		h.ports[p] = &listening{Listen: r.Listen, reserved: reserved}
		if _, was := before[p]; !was {
			before[p] = nil
		}
	}
	return h.write(before, others)
}

// explain adds who has a port.
func (h *Host) explain(p Port, err error) error {
	if !errors.Is(err, unix.EADDRINUSE) {
		return err
	}
	if holder := h.Holder(Proto(p.Proto), p.Published); holder != "" {
		return fmt.Errorf("%w: it is held by %s", err, holder)
	}
	return err
}

func release(list []io.Closer) error {
	var errs []error
	for _, c := range list {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (h *Host) reserve(l Listen) ([]io.Closer, error) {
	addrs := l.Addrs
	if len(addrs) == 0 {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	_, inside := h.uplink()
	proto := Proto(l.Proto)
	var out []io.Closer
	for _, a := range addrs {
		c, err := h.Reserve(
			model.PublishedPort{Port: model.Port{Proto: proto, Port: l.Published}, HostIP: a, HostPort: l.Published},
			netip.AddrPortFrom(inside[0].Addr(), l.Published))
		if errors.Is(err, unix.EAFNOSUPPORT) && a == netip.IPv6Unspecified() {
			continue // a host without IPv6
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("this host does not answer at published port %s: %w", l.Port, err), release(out))
		}
		out = append(out, c)
	}
	return out, nil
}

// Proto gives the name of a transport protocol, empty for one that can't be
// published.
func Proto(number byte) string { return protocols()[number] }

func protocols() map[byte]string {
	return map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp"}
}

// write brings the table up to date with those ports that were, as before has
// them, and with the services of those and of others; or with all.
func (h *Host) write(before map[Port]*listening, others []Port) error {
	whole := !h.written
	if whole {
		h.chains = map[string]bool{}
		others = slices.Collect(maps.Keys(h.ports))
		clear(h.services)
	}
	d := newDifference(h.hostLayout(), h.chains)
	for _, p := range append(slices.Collect(maps.Keys(before)), others...) {
		h.assign(d, p)
	}
	if !whole && len(before) == 0 && d.empty() {
		return nil
	}
	generation := h.generation
	h.written, h.generation = false, 0
	var err error
	if whole {
		err = h.rules.Replace(h.table(map[string]bool{}))
	} else {
		now := make(map[Port]*listening, len(before))
		for p := range before {
			now[p] = h.ports[p]
		}
		err = h.rules.Change(tableName, d.chains, append(h.changes(before, now), d.changes()...))
	}
	h.written = err == nil
	if h.written && generation != 0 {
		h.generation = generation + 1
	}
	return err
}

// assign has the flows to a port go straight to the tasks of its service, or by
// the ingress sandbox.
func (h *Host) assign(d *difference, p Port) {
	now := Service{Port: p}
	if l := h.ports[p]; l != nil {
		now = h.straight(l.Service)
		now.Port = p
	}
	old := h.services[p]
	old.Port = p
	if same(old, now) {
		return
	}
	d.replace(old, now)
	if len(now.Backends) > 0 {
		h.services[p] = now
	} else {
		delete(h.services, p)
	}
}
