package model

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Scope says who owns a network: this node, or the whole swarm.
type Scope string

// The scopes Docker's API names.
const (
	ScopeLocal Scope = "local"
	ScopeSwarm Scope = "swarm"
)

// VNI is a VXLAN network identifier (RFC 7348, section 5): 24 bits, never 0.
type VNI uint32

// MAC is an Ethernet address.
type MAC [6]byte

// String gives the colon form, as in 02:42:0a:14:00:05.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// HardwareAddr gives the standard library's form of m.
func (m MAC) HardwareAddr() net.HardwareAddr { return net.HardwareAddr(m[:]) }

// ParseMAC parses a 48-bit address in one of net.ParseMAC's forms.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, fmt.Errorf("parse MAC: %w", err)
	}
	if len(hw) != 6 {
		return MAC{}, fmt.Errorf("parse MAC %q: %d bytes, want 6", s, len(hw))
	}
	return MAC(hw), nil
}

// MACFromAddr gives the address Docker gives an endpoint: 02:42 and the four
// bytes of its IPv4 address (libnetwork netutils.GenerateMACFromIP).
func MACFromAddr(a netip.Addr) MAC {
	m := MAC{0x02, 0x42}
	b := a.As16()
	copy(m[2:], b[12:])
	return m
}

// Subnet is one pool of an overlay network. Every IPv4 subnet is a segment of
// its own with its own VNI; the IPv6 subnet at the same rank shares it.
type Subnet struct {
	Prefix  netip.Prefix
	Gateway netip.Addr            // inside Prefix
	IPRange netip.Prefix          // invalid when addresses come from the whole Prefix
	Aux     map[string]netip.Addr // reserved addresses by name; may be nil
	VNI     VNI                   // 0 until allocated, and for IPv6
	Chosen  bool                  // by the engine, not by the user
	// GatewayChosen says the same of the gateway alone.
	GatewayChosen bool
}

// Network is a network as this node knows it.
type Network struct {
	ID         string
	Name       string
	Driver     string
	Scope      Scope
	Subnets    []Subnet // IPv4 first, each family in the order given
	IPv6       bool
	Internal   bool
	Attachable bool
	Ingress    bool
	MTU        int // asked for by the operator, bytes; 0: what the underlay allows
	Options    map[string]string
	Labels     map[string]string
	Created    time.Time
	ConfigOnly bool   // made only to be copied from
	ConfigFrom string // the network it was copied from
}

// Segments pairs the subnets: rank i of the result has the i-th IPv4 subnet
// and, where there is one, the i-th IPv6 subnet.
func (n Network) Segments() []Segment {
	var v4, v6 []Subnet
	for _, s := range n.Subnets {
		if s.Prefix.Addr().Is4() {
			v4 = append(v4, s)
		} else {
			v6 = append(v6, s)
		}
	}
	segs := make([]Segment, len(v4))
	for i := range v4 {
		segs[i].V4 = v4[i]
		if i < len(v6) {
			segs[i].V6 = v6[i]
		}
	}
	return segs
}

// Segment is one layer-2 domain of an overlay network: one VNI, one bridge and
// one VXLAN device on each node.
type Segment struct {
	V4 Subnet
	V6 Subnet // zero Prefix when the segment has no IPv6
}

// HasV6 reports whether the segment carries IPv6.
func (s Segment) HasV6() bool { return s.V6.Prefix.IsValid() }

// AddrV6 gives the IPv6 address that belongs to the endpoint with IPv4 address
// v4: the segment's IPv6 prefix with v4 in its low 32 bits. Every node derives
// it alike, so no row on the wire carries it and no allocator is asked. The
// zero Prefix means the segment has no IPv6.
func (s Segment) AddrV6(v4 netip.Addr) netip.Prefix {
	if !s.HasV6() || !v4.Is4() {
		return netip.Prefix{}
	}
	b := s.V6.Prefix.Masked().Addr().As16()
	low := v4.As4()
	copy(b[12:], low[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), s.V6.Prefix.Bits())
}

// Segment gives the segment whose IPv4 subnet contains a.
func (n Network) Segment(a netip.Addr) (Segment, bool) {
	for _, s := range n.Segments() {
		if s.V4.Prefix.Contains(a) {
			return s, true
		}
	}
	return Segment{}, false
}

// Endpoint is the attachment of one sandbox to one network.
type Endpoint struct {
	ID          string // 64 hex digits
	NetworkID   string
	NetworkName string
	Driver      string // of the network; empty: overlay
	ContainerID string // whose sandbox it is
	Name        string // container or task name, as gossiped
	Addr        netip.Prefix
	AddrV6      netip.Prefix // zero when the network has no IPv6
	Gateway     netip.Addr
	GatewayV6   netip.Addr
	MAC         MAC
	IfName      string // inside the sandbox: eth0, eth1, ...
	Sandbox     string // path of the network namespace
	ServiceID   string // empty for standalone containers
	ServiceName string
	VIP         netip.Addr // zero in dnsrr mode
	Aliases     []string   // service aliases
	TaskAliases []string   // names that mean this endpoint only
	Ports       []PublishedPort
	// Ingress are the service's published ports, on the ingress network only.
	Ingress    []IngressPort `json:",omitempty"`
	Mesh       *Mesh         `json:",omitempty"`
	GwPriority int           // the endpoint with the highest is the way out
	// Bare says that who has the addresses is behind the interface, which is in
	// the host's namespace and has none: a virtual machine.
	Bare bool `json:",omitempty"`
	// Readiness says whether others find it by name and send it traffic.
	Readiness Readiness `json:",omitempty"`
}

// Readiness is where an endpoint of a task is in its life.
type Readiness string

// The zero value is an endpoint that takes part in everything.
const (
	Pending  Readiness = "pending"  // the task is not ready yet
	Draining Readiness = "draining" // it is about to end: no new flows
)

// Peer is an endpoint somewhere in the swarm and the VTEP it is behind: a row
// of the gossiped peer table.
type Peer struct {
	EndpointID string
	Addr       netip.Prefix
	MAC        MAC
	VTEP       netip.Addr
}

// PeerChange is one event of the peer table.
type PeerChange struct {
	Peer   Peer
	Delete bool
}

// Record is a row of the gossiped endpoint table: who answers to which name.
type Record struct {
	EndpointID  string
	Name        string
	ServiceName string
	ServiceID   string
	VIP         netip.Addr
	Addr        netip.Addr
	AddrV6      netip.Addr // where it does not derive from Addr
	Aliases     []string
	TaskAliases []string
	Disabled    bool // the service does not send it traffic any more
	Ingress     []IngressPort
	Mesh        *Mesh // nil: a task of a Docker daemon's
}

// IngressPort is a port of a service that every host answers at.
type IngressPort struct {
	Name      string
	Proto     string // tcp, udp or sctp
	Target    uint16 // the task's
	Published uint16
}

// Mesh is how the routing mesh serves a service.
type Mesh struct {
	Algorithm  string        // one of mesh.Algorithm; empty: the default
	Local      bool          // tasks of the node a client comes to go first
	Masquerade bool          // tasks see the node's address
	Bind       []string      // addresses and interfaces of hosts; none: all
	Idle       time.Duration // after which a flow is forgotten; 0: the kernel's
	IPv6       bool          // the task has the address that derives from its IPv4 one
	Anywhere   []uint16      // its own TCP ports that the task listens at on any address, as its Aliases are
}

// Attachment is a network a task or container gets, with the addresses the
// swarm's allocator chose for it.
type Attachment struct {
	Network Network
	Addrs   []netip.Prefix
	Aliases []string
	VIP     netip.Addr
	Ingress []IngressPort
	Mesh    *Mesh
}

// GossipKey is one of the keys the swarm hands to its nodes, newest last by
// Lamport time. Subsystem is "networking:gossip" or "networking:ipsec".
type GossipKey struct {
	Subsystem string
	Key       []byte
	Lamport   uint64
}
