package swarmtest

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
)

// node is a machine of the swarm.
type node struct {
	meta
	hostname, role string
	availability   string
	state          string
	addr           string
	engine         string
	labels         map[string]string
	bridges        []*localNetwork

	ordered *network // the ingress network the managers told it to hold
	local   *network // the one it holds, if any
	wait    int      // steps until it joins or leaves one
	stuck   bool     // it failed to let go of local, and does not try again
	deaf    bool     // it fails to join the next network
	failed  bool     // it has, and tries again when its spec changes

	ephemeral int // ports it has chosen

	socket  string
	server  *http.Server
	stopped chan struct{}
}

// addNode adds a node that is ready.
func (s *Swarm) addNode(hostname, role string) {
	n := &node{
		meta: s.newMeta(), hostname: hostname, role: role, availability: "active", state: "ready",
		addr: fmt.Sprintf("192.0.2.%d", len(s.nodes)+1), engine: s.cfg.engine, labels: map[string]string{},
	}
	n.wait = s.cfg.pace.Join
	n.bridges = s.predefined(hostname)
	s.nodes = append(s.nodes, n)
	s.poke(n)
}

// AddNode adds a node that is ready. The role is "manager" or "worker".
func (s *Swarm) AddNode(hostname, role string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addNode(hostname, role)
}

// SetNode changes a node: its state is "ready", "down", "unknown" or
// "disconnected", its availability "active", "pause" or "drain"; what is empty
// stays. A node that comes up has been restarted: an ingress network it failed
// to let go of is gone.
func (s *Swarm) SetNode(hostname, state, availability string) {
	s.changeNode(hostname, func(n *node) {
		if state != "" {
			if n.state != state && state == "ready" {
				n.stuck = false
			}
			n.state = state
		}
		if availability != "" {
			n.availability = availability
		}
	})
}

// SetDeaf lets a node fail to join the next ingress network. It tries again only
// when its labels, role or availability change, as a daemon does that has looked
// for its address in the network too early.
func (s *Swarm) SetDeaf(hostname string) {
	s.changeNode(hostname, func(n *node) { n.deaf = true })
}

// SetEngine changes which version of Docker a node says it runs.
func (s *Swarm) SetEngine(hostname, version string) {
	s.changeNode(hostname, func(n *node) { n.engine = version })
}

func (s *Swarm) changeNode(hostname string, change func(*node)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(hostname)
	if n == nil {
		s.tb.Errorf("no node %s", hostname)
		return
	}
	change(n)
	s.touch(&n.meta)
	s.poke(n)
}

// SetQuorum takes the managers' quorum away, or gives it back. Without, what
// needs the swarm fails.
func (s *Swarm) SetQuorum(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noQuorum = !ok
}

func (s *Swarm) node(hostname string) *node {
	i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.hostname == hostname })
	if i < 0 {
		return nil
	}
	return s.nodes[i]
}

func (n *node) up() bool { return n.state == "ready" }

// runs tells whether tasks may stay on the node.
func (n *node) runs() bool { return n.up() && n.availability != "drain" }

// takes tells whether new tasks may be put on the node.
func (n *node) takes() bool { return n.up() && n.availability == "active" }

// poke has the managers look at a node's networks. SwarmKit does that only
// when something happens to the node or to a task on it: a node on which
// nothing does is never told of a new ingress network.
func (s *Swarm) poke(n *node) {
	if net := s.ingress(); n != nil && net != nil && net.allocated {
		n.ordered = net
	}
}

// lead has the managers look at all nodes, as a new leader does.
func (s *Swarm) lead() {
	for _, n := range s.nodes {
		s.poke(n)
	}
}

// advanceNode lets a node follow its orders. A node that fails to let go of a
// network because a container is attached only logs that: it keeps it, and
// can't take up another, until its daemon is restarted.
func (s *Swarm) advanceNode(i int, n *node) {
	if !n.up() || n.stuck {
		return
	}
	target := n.ordered
	if n.local == target {
		n.wait = s.cfg.pace.Join
		if target != nil {
			n.wait = s.cfg.pace.Leave + i
		}
		return
	}
	if n.wait--; n.wait > 0 {
		return
	}
	if n.local == nil {
		if n.deaf {
			n.deaf, n.failed = false, true
		}
		if n.failed {
			n.wait = s.cfg.pace.Join
			return
		}
		n.local = target
		n.wait = s.cfg.pace.Leave + i
		return
	}
	if t := s.attachedTask(n.local, n); t != nil {
		n.stuck = true
		return
	}
	n.local = nil
	n.wait = s.cfg.pace.Join
}

// attachedTask gives a task that has not ended and is attached to a network,
// on one node, or on any for nil.
func (s *Swarm) attachedTask(net *network, n *node) *task {
	for _, t := range s.tasks {
		if !t.ended() && (n == nil || t.node == n) && t.attachedTo(net) {
			return t
		}
	}
	return nil
}

func (s *Swarm) nodeJSON(n *node) object {
	o := n.meta.json()
	o["Spec"] = object{"Labels": orEmpty(n.labels), "Role": n.role, "Availability": n.availability}
	o["Description"] = object{
		"Hostname":  n.hostname,
		"Platform":  object{"Architecture": "x86_64", "OS": "linux"},
		"Resources": object{"NanoCPUs": 2000000000, "MemoryBytes": 4 << 30},
		"Engine": object{"EngineVersion": n.engine, "Plugins": []object{
			{"Type": "Log", "Name": "json-file"},
			{"Type": "Network", "Name": "bridge"},
			{"Type": "Network", "Name": "overlay"},
			{"Type": "Volume", "Name": "local"},
		}},
		"TLSInfo": tlsInfo(),
	}
	status := object{"State": n.state, "Addr": n.addr}
	if !n.up() {
		status["Message"] = "heartbeat failure"
	}
	o["Status"] = status
	if n.role == "manager" {
		m := object{"Reachability": "reachable", "Addr": managerAddr(n)}
		if !n.up() {
			m["Reachability"] = "unreachable"
		}
		if n == s.nodes[0] {
			m["Leader"] = true
		}
		o["ManagerStatus"] = m
	}
	return o
}

func managerAddr(n *node) string { return net.JoinHostPort(n.addr, "2377") }

func tlsInfo() object {
	return object{"TrustRoot": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "CertIssuerSubject": "", "CertIssuerPublicKey": ""}
}

func (s *Swarm) listNodes(c *call) (answer, error) {
	f, err := c.filters("id", "label", "membership", "name", "node.label", "role")
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	for _, n := range s.nodes {
		if f.prefix("id", n.id) && f.prefix("name", n.hostname) && f.is("role", n.role) && f.labels("node.label", n.labels) {
			list = append(list, s.nodeJSON(n))
		}
	}
	return ok(list), nil
}

func (s *Swarm) updateNode(c *call) (answer, error) {
	spec, err := decode(c.body)
	if err != nil {
		return answer{}, badRequest("%s", err)
	}
	text := c.query.Get("version")
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return answer{}, badRequest("invalid node version '%s': %s", text, err)
	}
	role, availability := str(spec, "Role"), str(spec, "Availability")
	if !slices.Contains([]string{"manager", "worker"}, role) {
		return answer{}, badRequest("invalid Role: %q", role)
	}
	if !slices.Contains([]string{"active", "pause", "drain"}, availability) {
		return answer{}, badRequest("invalid Availability: %q", availability)
	}
	n, err := find(s.nodes, c.id, "node", func(n *node) (string, string) { return n.id, n.hostname })
	if err != nil {
		return answer{}, err
	}
	if version != n.version {
		return answer{}, outOfSequence()
	}
	labels := stringMap(spec, "Labels")
	if role != n.role || availability != n.availability || !maps.Equal(labels, n.labels) {
		n.failed = false
	}
	n.role, n.availability, n.labels = role, availability, labels
	s.touch(&n.meta)
	s.poke(n)
	return answer{status: 200}, nil
}

func (s *Swarm) inspectNode(c *call) (answer, error) {
	n, err := find(s.nodes, c.id, "node", func(n *node) (string, string) { return n.id, n.hostname })
	if err != nil {
		return answer{}, err
	}
	return ok(s.nodeJSON(n)), nil
}

// find looks for one of a swarm's objects as dockerd does: by ID, then name,
// then the beginning of the ID.
func find[T any](list []T, term, kind string, key func(T) (id, name string)) (T, error) {
	var none T
	for _, item := range list {
		if id, _ := key(item); id == term {
			return item, nil
		}
	}
	match := func(matches func(id, name string) bool) []T {
		var found []T
		for _, item := range list {
			if matches(key(item)) {
				found = append(found, item)
			}
		}
		return found
	}
	found := match(func(_, name string) bool { return name == term })
	if len(found) == 0 {
		found = match(func(id, _ string) bool { return len(term) > 0 && len(id) > len(term) && id[:len(term)] == term })
	}
	switch len(found) {
	case 0:
		return none, notFound("%s %s not found", kind, term)
	case 1:
		return found[0], nil
	default:
		return none, badRequest("%s %s is ambiguous (%d matches found)", kind, term, len(found))
	}
}
