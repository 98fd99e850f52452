package ingress

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Node is a node of the swarm, as a manager sees it.
type Node struct {
	ID            string `json:"id"`
	Hostname      string `json:"hostname"`
	Addr          string `json:"addr"` // the manager's view of it; may be empty
	State         string `json:"state"`
	Availability  string `json:"availability"`
	Reachability  string `json:"reachability,omitempty"` // of a manager
	EngineVersion string `json:"engine_version"`
	Marked        bool   `json:"-"` // by TouchNode
}

// Ready says that the node is up.
func (n Node) Ready() bool { return n.State == "ready" }

// Pool is one entry of a network's IPAM configuration, in Docker's JSON.
type Pool struct {
	Subnet     string            `json:"Subnet,omitempty"`
	IPRange    string            `json:"IPRange,omitempty"`
	Gateway    string            `json:"Gateway,omitempty"`
	AuxAddress map[string]string `json:"AuxiliaryAddresses,omitempty"`
}

// IPAM is how a network gets its addresses, in Docker's JSON.
type IPAM struct {
	Driver  string            `json:"Driver,omitempty"`
	Options map[string]string `json:"Options,omitempty"`
	Config  []Pool            `json:"Config,omitempty"`
}

// NetworkSpec is what a network is created from, in the JSON of Docker's
// POST /networks/create.
type NetworkSpec struct {
	Name       string            `json:"Name"`
	Driver     string            `json:"Driver"`
	Scope      string            `json:"Scope,omitempty"`
	EnableIPv4 *bool             `json:"EnableIPv4,omitempty"`
	EnableIPv6 bool              `json:"EnableIPv6"`
	Internal   bool              `json:"Internal"`
	Ingress    bool              `json:"Ingress"`
	IPAM       IPAM              `json:"IPAM"`
	Options    map[string]string `json:"Options,omitempty"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

// Network is a network that exists.
type Network struct {
	ID    string      `json:"id"`
	Spec  NetworkSpec `json:"spec"`
	Peers []Peer      `json:"-"` // nodes that have joined it, as far as the manager has heard
}

// Peer is a node in a network's gossip.
type Peer struct{ Name, Addr string }

// Subnet is a range of addresses that is taken, and by what.
type Subnet struct {
	Prefix string `json:"prefix"`
	By     string `json:"by"` // "network NAME", "route of HOST", ...
}

// Service is a service of the swarm.
type Service struct {
	ID      string
	Name    string
	Version uint64
	Spec    json.RawMessage // as the engine gave it
	Before  json.RawMessage // the spec before the last update; nil: there was none
	Ports   []Port          // as they are published, with the numbers the engine chose
	Update  string          // UpdateStatus.State; empty: none
	Message string          // UpdateStatus.Message
	// Lossy says what of Spec would be lost by the client's types; empty:
	// nothing.
	Lossy string
}

// Task is a task of the swarm that has not ended for good.
type Task struct {
	ID       string
	Service  string // its ID
	Slot     int    // of a replicated service, from 1
	Node     string // its ID
	Desired  string
	State    string
	Networks []string // IDs of the networks it holds an endpoint of
}

// Holds says that the task has, or may still have, an endpoint of a network.
func (t Task) Holds(network string) bool {
	switch t.State {
	case "complete", "shutdown", "failed", "rejected", "remove", "orphaned":
		return false
	}
	return slices.Contains(t.Networks, network)
}

// World is all that planning looks at.
type World struct {
	Cluster  string // ID of the swarm
	Manager  bool   // the API answers for a manager
	Quorum   bool   // of the managers
	Nodes    []Node
	Ingress  *Network // nil: there is none
	Networks []string // IDs of all networks
	Names    []string // of all but the ingress network
	Taken    []Subnet // all that is known to be taken, the ingress network's own left out
	Pools    []string // from which the swarm takes subnets that nobody has chosen
	// BridgePools are those from which daemons take subnets of bridge networks.
	BridgePools []string
	Underlay    int // smallest MTU known of the network between the nodes; 0: unknown
	Services    []Service
	Tasks       []Task
}

// up counts the nodes that are.
func (w *World) up() int {
	n := 0
	for _, node := range w.Nodes {
		if node.Ready() {
			n++
		}
	}
	return n
}

// Observer is what the workflow sees of the swarm.
type Observer interface {
	Observe(ctx context.Context) (World, error)
	// Service gives one service. One that is gone is errdefs' NotFound.
	Service(ctx context.Context, id string) (Service, error)
	// Ingress gives the present ingress network, or nil.
	Ingress(ctx context.Context) (*Network, error)
}

// Changer is what the workflow does to the swarm. Each call changes one thing,
// or nothing when it fails with anything but a lost connection.
type Changer interface {
	UpdateService(ctx context.Context, id string, version uint64, spec json.RawMessage) error
	CreateNetwork(ctx context.Context, spec NetworkSpec) error
	RemoveNetwork(ctx context.Context, id string) error
	// TouchNode updates a node to what it is, but for a mark: with mark it has
	// one afterwards, otherwise none.
	TouchNode(ctx context.Context, id string, mark bool) error
}

// Nodes is what can be seen of single nodes, where the user has said how to
// reach them.
type Nodes interface {
	// Has says whether a node still has a network. seen is false where the
	// node can't be asked.
	Has(ctx context.Context, node Node, network string) (has, seen bool, err error)
	// Taken gives what the networks of those nodes take that the manager does
	// not know of.
	Taken(ctx context.Context) ([]Subnet, error)
}

// Prober tells whether a port answers at an address.
type Prober interface {
	// Answers is true only if something did: silence on UDP says nothing. It is
	// safe for concurrent use.
	Answers(ctx context.Context, addr string, p Port) bool
}

// Swarm is what the workflows of this package work with. All fields are needed.
type Swarm struct {
	Observer Observer
	Changer  Changer
	Nodes    Nodes
	Prober   Prober
	Now      func() time.Time
	// Sleep waits, or gives ctx's error when it ends.
	Sleep func(ctx context.Context, d time.Duration) error
	// Patience is how long one wait for the swarm may take.
	Patience time.Duration
}
