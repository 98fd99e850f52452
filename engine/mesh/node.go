package mesh

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
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
	// Target is its own port where it answers at its aliases (model.Aliases),
	// at which hosts reach it without their sandbox; 0: it does not.
	Target uint16
}

// Node is the mesh in one node's ingress sandbox. It is not safe for
// concurrent use.
type Node struct {
	sandbox *kernel.Namespace
	rules   *nft.Conn
	network Place
	uplink  string

	services  map[Port]Service // as they should be
	datagrams users            // tasks that get some
	foreign   users            // tasks of Docker's
	gone      []netip.Addr     // whose datagrams are still to be forgotten

	// The table has services; the following count once this Node has written it.
	written bool
	chains  map[string]bool
	// generation of the sandbox's tables when all was found as it should be,
	// and raised by what was written since; 0: that has not been looked at.
	generation uint32
}

// Place is where a sandbox is on the ingress network.
type Place struct {
	Interface string
	Addr      netip.Prefix
	AddrV6    netip.Prefix // zero: none
}

// V6Of gives the IPv6 address of a task on the network from its IPv4 one (see
// model.Segment.AddrV6).
func (p Place) V6Of(task netip.Addr) netip.Addr {
	s := model.Segment{V6: model.Subnet{Prefix: p.AddrV6.Masked()}}
	return s.AddrV6(task).Addr()
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
	return &Node{
		sandbox: sandbox, rules: rules, network: network, uplink: uplinkInside,
		services: map[Port]Service{}, datagrams: users{}, foreign: users{},
	}, nil
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
	if value == nft.AddrV6 || value == nft.AddrPortV6 {
		name = "slots6"
	}
	return nft.Set{Name: name, Key: []nft.Type{nft.Proto, nft.PortNumber, nft.Index}, Value: value}
}

// nodeLayout has tasks at their own addresses; the published port stays, which
// is what Docker's nodes send and expect too.
func nodeLayout() layout {
	return layout{v4: nft.AddrV4, v6: nft.AddrV6, places: func(b Backend) (v4, v6 nft.Element) {
		return nft.Element{Value: b.Addr}, nft.Element{Value: b.AddrV6}
	}}
}

func foreignSet() nft.Set { return nft.Set{Name: "foreign", Key: []nft.Type{nft.AddrV4}} }

// masqueraded is the mark of flows whose source the node hides.
const masqueraded = 1

// Set makes exactly these services reachable.
func (n *Node) Set(services []Service) error {
	list := slices.Clone(services)
	wanted := make(map[Port]bool, len(services))
	for _, s := range services {
		wanted[s.Port] = true
	}
	for port := range n.services {
		if !wanted[port] {
			list = append(list, Service{Port: port})
		}
	}
	return n.Change(list)
}

// Change puts services in the place of those their ports have, in one
// transaction, and costs by what changes, however many there are. One without
// backends is none. The flows of datagrams to tasks that are not behind any
// port anymore are forgotten; others go on with the task they have.
func (n *Node) Change(services []Service) error {
	whole := !n.written
	if whole {
		n.chains = map[string]bool{}
	}
	d, foreign := newDifference(nodeLayout(), n.chains), nft.Change{Set: foreignSet()}
	for _, now := range services {
		old := n.services[now.Port]
		if old.Port = now.Port; same(old, now) {
			continue
		}
		_, less := n.datagrams.replace(datagramsOf(old), datagramsOf(now))
		n.gone = append(n.gone, less...)
		add, remove := n.foreign.replace(foreignOf(old), foreignOf(now))
		foreign.Add, foreign.Remove = append(foreign.Add, keys(add)...), append(foreign.Remove, keys(remove)...)
		if len(now.Backends) > 0 {
			n.services[now.Port] = now
		} else {
			delete(n.services, now.Port)
		}
		if !whole {
			d.replace(old, now)
		}
	}
	n.written = false // until it is: what is there after a failure nobody knows
	if err := n.write(d, foreign, whole); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	n.written = true
	gone := slices.DeleteFunc(n.gone, func(a netip.Addr) bool { return n.datagrams[a] > 0 })
	n.gone = nil
	return kernel.ForgetDatagrams(n.sandbox, gone...)
}

// Forget ends the flows of tasks that are gone: who goes on with one learns at
// once, and who begins one from the same port gets another task.
func (n *Node) Forget(tasks []netip.Addr) error { return kernel.ForgetFlows(n.sandbox, tasks...) }

func same(a, b Service) bool {
	return a.Algorithm == b.Algorithm && a.Masquerade == b.Masquerade && a.Idle == b.Idle && slices.Equal(a.Backends, b.Backends)
}

func (n *Node) write(d *difference, foreign nft.Change, whole bool) error {
	if !whole && d.empty() && len(foreign.Add)+len(foreign.Remove) == 0 {
		return nil
	}
	before := n.generation
	n.generation = 0
	var err error
	if whole {
		err = n.rules.Replace(n.table(n.chains))
	} else {
		err = n.rules.Change(tableName, d.chains, append(d.changes(), foreign))
	}
	if err == nil && before != 0 {
		n.generation = before + 1
	}
	return err
}

// table gives the whole table and notes its chains. What leaves for the ingress
// network was sent there by it, what comes from there answers: a task can't go
// anywhere through a node.
func (n *Node) table(chains map[string]bool) nft.Table {
	d := newDifference(nodeLayout(), chains)
	for port, s := range n.services {
		d.replace(Service{Port: port}, s)
	}
	t := nft.Table{Name: tableName}
	for _, c := range append(d.changes(), nft.Change{Set: foreignSet(), Add: keys(slices.Collect(maps.Keys(n.foreign)))}) {
		c.Set.Elements = c.Add
		t.Sets = append(t.Sets, c.Set)
	}
	in, out := nft.InFrom(n.uplink), nft.OutBy(n.network.Interface)
	back := nft.When(nft.InFrom(n.network.Interface), nft.OutBy(n.uplink))
	source := nft.Chain{Name: "source", Kind: nft.NAT, Hook: nft.Postrouting, Priority: nft.PrioritySrcNAT, Rules: []nft.Rule{
		nft.When(out, nft.FlowMark(masqueraded), nft.Masquerade()),
		nft.When(out, nft.Family(n.network.Addr.Addr()), nft.In(foreignSet(), nft.PacketTo(nft.AddrV4)), nft.Masquerade()),
	}}
	lookUp := nft.When(in, nft.ToThisHost(), nft.GoBy(servicesSet(), nft.PacketProto(), nft.PacketPort()))
	t.Chains = append(d.chains,
		// Twice: an element that is just being replaced can be missed once.
		nft.Chain{Name: "arriving", Kind: nft.NAT, Hook: nft.Prerouting, Priority: nft.PriorityDstNAT, Rules: []nft.Rule{lookUp, lookUp}},
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

// users counts the ports that addresses are behind.
type users map[netip.Addr]int

// replace puts the addresses behind one port in the place of others and gives
// those that are behind a port now and were behind none, and the other way
// round.
func (u users) replace(old, now []netip.Addr) (more, less []netip.Addr) {
	for _, a := range now {
		if u[a]++; u[a] == 1 {
			more = append(more, a)
		}
	}
	for _, a := range old {
		if u[a]--; u[a] == 0 {
			delete(u, a)
			less = append(less, a)
		}
	}
	return more, less
}

// datagramsOf gives the addresses that a service sends datagrams to.
func datagramsOf(s Service) []netip.Addr {
	if s.Proto != unix.IPPROTO_UDP {
		return nil
	}
	return slices.Collect(both(s))
}

// foreignOf gives the addresses of a service's tasks of Docker's.
func foreignOf(s Service) []netip.Addr {
	var out []netip.Addr
	for _, b := range s.Backends {
		if b.Foreign {
			out = append(out, b.Addr)
		}
	}
	return out
}

// keys gives the elements of a set of addresses.
func keys(list []netip.Addr) []nft.Element {
	out := make([]nft.Element, len(list))
	for i, a := range list {
		out[i].Key = nft.Key(a)
	}
	return out
}

// both gives the backends' addresses of both families.
func both(s Service) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, b := range s.Backends {
			if !yield(b.Addr) || (b.AddrV6.IsValid() && !yield(b.AddrV6)) {
				return
			}
		}
	}
}
