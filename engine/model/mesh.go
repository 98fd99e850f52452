package model

import (
	"net/netip"
	"time"
)

// MeshStatus is what a node knows of the swarm's published ports: what there
// should be, and what its own kernel has.
type MeshStatus struct {
	NetworkID string     // of the ingress network; empty: there is none
	Network   string     // its name
	Node      netip.Addr // the node asked, by its data path address
	Ports     []MeshPort // in order
	Nodes     []MeshNode // on the ingress network, the node asked first
}

// MeshPort is a port the routing mesh answers at, and how.
type MeshPort struct {
	Proto      string // tcp, udp or sctp
	Published  uint16
	Service    string
	ServiceID  string
	Algorithm  string        // roundrobin, random or source
	Local      bool          // tasks of the node a client comes to go first
	Masquerade bool          // tasks see the node's address, not the client's
	Idle       time.Duration // after which a flow is forgotten; 0: the kernel's time
	Bind       []string      // addresses and interfaces of hosts; none: all of them
	Backends   []MeshBackend // by address
	// Problems are those of the node asked, with this port or with all.
	Problems []MeshProblem
}

// MeshBackend is a task behind a port.
type MeshBackend struct {
	Task    string
	Addr    netip.Addr // on the ingress network
	AddrV6  netip.Addr // zero: not reached over IPv6
	Target  uint16     // the task's own port
	Node    netip.Addr // data path address of the task's node; zero: not known yet
	Foreign bool       // a Docker daemon's, which sees no client's address
	Leaving bool       // gets nothing new
	// Serving says that the kernel of the node asked sends flows there.
	Serving bool
}

// MeshNode is how a node fares with the published ports.
type MeshNode struct {
	Addr netip.Addr // its advertise address
	Self bool       // the node asked
	// Report is nil where nothing is known: Docker's nodes say nothing.
	Report *MeshReport
	// Late says that the node was asked and has not answered in time: its report
	// is of before.
	Late bool `json:",omitempty"`
}

// MeshReport is what a node tells the others of the published ports.
type MeshReport struct {
	DataPath netip.Addr    // the node's data path address
	Ports    int           // how many it answers at
	Problems []MeshProblem `json:",omitempty"`
	More     int           `json:",omitempty"` // problems that had no room
	Mended   int           `json:",omitempty"` // how often its kernel was put right since its engine began
	// Asked is the questions of the last to ask, by the advertise address, that
	// were answered by this report or one before.
	Asked map[netip.Addr]string `json:",omitempty"`
}

// Bounds of a report's questions, which differ and say nothing: how many, and
// bytes of each.
const (
	MaxMeshQuestions = 8
	MaxMeshQuestion  = 16
)

// MeshProblem is why a node does not answer at a port as it should.
type MeshProblem struct {
	Port string `json:",omitempty"` // as 8080/tcp; empty: all ports
	Kind string // one of the Problem constants
	What string
}

// Kinds of problems.
const (
	ProblemBound   = "bound"   // the service is bound to other hosts: as it was asked for
	ProblemRefused = "refused" // the host has something else at the port
	ProblemDrift   = "drift"   // the kernel has not what it was given
	ProblemFailed  = "failed"  // the kernel could not be written or read
)

// MeshQuery is whose packet to which port is asked about.
type MeshQuery struct {
	Proto string // tcp, udp or sctp
	Port  uint16
	From  netip.Addr // the client; zero: any
	To    netip.Addr // the host's address it asks; zero: any
}

// MeshTrace is the way of a client's packet to a port, as the kernel of the
// node asked has it.
type MeshTrace struct {
	Port  string     // as 8080/tcp
	From  netip.Addr // zero: any client
	To    netip.Addr // the host's address the client asks; zero: any
	Steps []MeshStep
	Flows []MeshFlow
	Tries []MeshTry
}

// MeshStep is one station of a way.
type MeshStep struct {
	Place string // host, ingress sandbox, task, answer, or PlaceKernel
	What  string
	OK    bool // the packet goes on from here
}

// PlaceKernel is the place of what is not as it was written, and may be in the
// way.
const PlaceKernel = "kernel"

// MeshFlow is a flow the ingress sandbox knows of.
type MeshFlow struct {
	Client netip.AddrPort
	Task   string
	Addr   netip.AddrPort // the task's
	State  string         // of TCP; empty: none
	Left   time.Duration  // until it is forgotten, if nothing passes
}

// MeshTry is an attempt to reach a task the way the mesh does.
type MeshTry struct {
	Task  string
	Addr  netip.AddrPort
	Error string        // empty: it answered, or for UDP and SCTP was not asked
	After time.Duration // what the attempt took
}
