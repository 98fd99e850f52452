package mesh

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/nft"
)

// Algorithm is how a flow gets its task.
type Algorithm string

// The algorithms; the strings are those of the label weft.mesh.algorithm.
const (
	RoundRobin Algorithm = "roundrobin" // the default
	Random     Algorithm = "random"
	SourceHash Algorithm = "source" // a client's flows get one task
)

// Service is what a published port leads to.
type Service struct {
	Port
	Backends   []Backend
	Algorithm  Algorithm // empty: RoundRobin
	Masquerade bool      // tasks see the node's address, as with Docker
	// Idle is after which pause the node forgets a flow of TCP or UDP, in whole
	// seconds; 0: when the kernel does. What comes of it later is a new flow.
	Idle time.Duration
}

// Backend is a task's place on the ingress network.
type Backend struct {
	Addr   netip.Addr
	AddrV6 netip.Addr // zero: it is not reached over IPv6
	// Foreign is a task that can't answer to a client's own address: one of a
	// Docker daemon's.
	Foreign bool
}

// Node is the mesh in one node's ingress sandbox. It is not safe for
// concurrent use.
type Node struct {
	sandbox *kernel.Namespace
	rules   *nft.Conn
	network Place
	uplink  string

	// What the table has; the following count once it was written by this Node.
	written  bool
	chains   map[string]bool
	services map[Port]Service
	foreign  map[netip.Addr]int // by how many ports
}

// Place is where a sandbox is on the ingress network.
type Place struct {
	Interface string
	Addr      netip.Prefix
	AddrV6    netip.Prefix // zero: none
}

// OpenNode makes an ingress sandbox, which has to outlive the Node, ready to
// forward. A table that is there goes on until the first Set.
func OpenNode(sandbox *kernel.Namespace, network Place) (*Node, error) {
	if err := kernel.SetSysctls(sandbox, nodeSysctls(network)...); err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	rules, err := nft.Open(sandbox)
	if err != nil {
		return nil, err
	}
	return &Node{sandbox: sandbox, rules: rules, network: network, uplink: uplinkInside}, nil
}

// nodeSysctls let clients' addresses pass, which lead elsewhere than to where
// their packets come from when a task answers.
func nodeSysctls(network Place) []kernel.Sysctl {
	list := []kernel.Sysctl{
		{Key: "net/ipv4/ip_forward", Value: "1"},
		{Key: "net/ipv4/conf/all/rp_filter", Value: "0"},
		{Key: "net/ipv4/conf/default/rp_filter", Value: "0"},
		{Key: "net/ipv4/conf/" + network.Interface + "/rp_filter", Value: "0"},
		{Key: "net/ipv4/conf/all/send_redirects", Value: "0"},
	}
	if network.AddrV6.IsValid() {
		list = append(list, kernel.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"})
	}
	return list
}

// Close lets go of the kernel and leaves the table as it is.
func (n *Node) Close() error { return n.rules.Close() }

// Sets of the node's table.
func servicesSet() nft.Set {
	return nft.Set{Name: "services", Key: []nft.Type{nft.Proto, nft.PortNumber}, Value: nft.ChainName}
}

func slotsSet(value nft.Type) nft.Set {
	name := "slots4"
	if value == nft.AddrV6 {
		name = "slots6"
	}
	return nft.Set{Name: name, Key: []nft.Type{nft.Proto, nft.PortNumber, nft.Index}, Value: value}
}

func foreignSet() nft.Set { return nft.Set{Name: "foreign", Key: []nft.Type{nft.AddrV4}} }

// masqueraded is the mark of flows whose source the node hides.
const masqueraded = 1

// Set makes exactly these services reachable, in one transaction, and forgets
// the flows of datagrams to tasks that are not behind their port any more.
// Others go on with the task they have.
func (n *Node) Set(services []Service) error {
	next := make(map[Port]Service, len(services))
	for _, s := range services {
		if len(s.Backends) > 0 {
			next[s.Port] = s
		}
	}
	before := n.services
	if !n.written {
		before = nil
		n.chains, n.foreign = map[string]bool{}, map[netip.Addr]int{}
	}
	d := newDifference(n.chains, n.foreign)
	for port, old := range before {
		if now := next[port]; !same(old, now) {
			now.Port = port
			d.replace(old, now)
		}
	}
	for port, now := range next {
		if _, ok := before[port]; !ok {
			d.replace(Service{Port: port}, now)
		}
	}
	if err := n.write(d); err != nil {
		n.written = false // what is there now nobody knows
		return fmt.Errorf("mesh: %w", err)
	}
	gone := departed(n.services, next)
	n.written, n.services = true, next
	return kernel.ForgetDatagrams(n.sandbox, gone...)
}

// Forget ends the flows of tasks that are gone: who goes on with one learns at
// once, and who begins one from the same port gets another task.
func (n *Node) Forget(tasks []netip.Addr) error { return kernel.ForgetFlows(n.sandbox, tasks...) }

func same(a, b Service) bool {
	return a.Algorithm == b.Algorithm && a.Masquerade == b.Masquerade && a.Idle == b.Idle && slices.Equal(a.Backends, b.Backends)
}

func (n *Node) write(d *difference) error {
	switch {
	case !n.written:
		return n.rules.Replace(n.table(d))
	case d.empty():
		return nil
	}
	return n.rules.Change(tableName, d.chains, d.changes())
}

// table gives the whole table. What leaves for the ingress network was sent
// there by it, what comes from there answers: a task can't go anywhere through
// a node.
func (n *Node) table(d *difference) nft.Table {
	t := nft.Table{Name: tableName}
	for _, c := range d.changes() {
		c.Set.Elements = c.Add
		t.Sets = append(t.Sets, c.Set)
	}
	in, out := nft.InFrom(n.uplink), nft.OutBy(n.network.Interface)
	back := nft.When(nft.InFrom(n.network.Interface), nft.OutBy(n.uplink))
	source := nft.Chain{Name: "source", Kind: nft.NAT, Hook: nft.Postrouting, Priority: nft.PrioritySrcNAT, Rules: []nft.Rule{
		nft.When(out, nft.FlowMark(masqueraded), nft.Masquerade()),
		nft.When(out, nft.Family(n.network.Addr.Addr()), nft.In(foreignSet(), nft.PacketTo(nft.AddrV4)), nft.Masquerade()),
	}}
	t.Chains = append(d.chains,
		nft.Chain{Name: "arriving", Kind: nft.NAT, Hook: nft.Prerouting, Priority: nft.PriorityDstNAT, Rules: []nft.Rule{
			nft.When(in, nft.ToThisHost(), nft.GoBy(servicesSet(), nft.PacketProto(), nft.PacketPort())),
		}},
		nft.Chain{Name: "forward", Kind: nft.Filter, Hook: nft.Forward, Priority: nft.PriorityFilter, Rules: []nft.Rule{
			nft.When(in, out, nft.Redirected(), nft.Accept()),
			nft.When(back, nft.Redirected(), nft.Replying(), nft.Accept()),
			nft.When(back, nft.Answers(), nft.Accept()), // errors of the network on the way back
			nft.Drop(),
		}},
		nft.Chain{Name: "input", Kind: nft.Filter, Hook: nft.Input, Priority: nft.PriorityFilter, Rules: []nft.Rule{
			nft.When(nft.Protocol(unix.IPPROTO_ICMP), nft.Accept()),
			nft.When(nft.Protocol(unix.IPPROTO_ICMPV6), nft.Accept()),
			nft.When(in, nft.Protocol(unix.IPPROTO_TCP), nft.Reset()),
			nft.When(in, nft.RefusePort()),
			nft.When(nft.InFrom(n.network.Interface), nft.Answers(), nft.Accept()), // to what Reach asks
			nft.Drop(),
		}},
		source,
	)
	return t
}

// departed gives the addresses that are behind no port for datagrams any more.
func departed(before, after map[Port]Service) []netip.Addr {
	gone := map[netip.Addr]bool{}
	for port, s := range before {
		if port.Proto == unix.IPPROTO_UDP {
			for _, b := range s.Backends {
				gone[b.Addr], gone[b.AddrV6] = true, true
			}
		}
	}
	for port, s := range after {
		if port.Proto == unix.IPPROTO_UDP {
			for _, b := range s.Backends {
				delete(gone, b.Addr)
				delete(gone, b.AddrV6)
			}
		}
	}
	delete(gone, netip.Addr{})
	return slices.SortedFunc(maps.Keys(gone), netip.Addr.Compare)
}
