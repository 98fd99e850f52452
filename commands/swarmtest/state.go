package swarmtest

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// Answers tells whether a published port answers on one node at least.
func (s *Swarm) Answers(number int, proto string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.nodes, func(n *node) bool { return s.answers(n, number, proto) })
}

// AnswersOn tells whether a published port answers on a node: a task there
// publishes it, or the node holds the ingress network as it is now and a task
// publishes it through that anywhere.
func (s *Swarm) AnswersOn(hostname string, number int, proto string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(hostname)
	return n != nil && s.answers(n, number, proto)
}

func (s *Swarm) answers(n *node, number int, proto string) bool {
	if s.broken[portKey(number, proto)] || !n.up() {
		return false
	}
	same := func(p port) bool { return p.published == number && p.proto == proto }
	net := s.ingress()
	for _, t := range s.tasks {
		if t.state != running || !t.node.up() {
			continue
		}
		if t.node == n && slices.ContainsFunc(t.host, same) {
			return true
		}
		meshed := net != nil && n.local == net && t.node.local == net && t.attachedTo(net) && slices.Contains(s.services, t.service)
		if meshed && slices.ContainsFunc(t.service.ports, func(p port) bool { return same(p) && p.mode == modeIngress }) {
			return true
		}
	}
	return false
}

// BreakPort lets a port not answer whatever the state, or ends that.
func (s *Swarm) BreakPort(number int, proto string, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[portKey(number, proto)] = broken
}

func portKey(number int, proto string) string { return fmt.Sprintf("%d/%s", number, proto) }

// Ports gives the published ports of all services as "80/tcp", in order and
// each once.
func (s *Swarm) Ports() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, v := range s.services {
		for _, p := range v.ports {
			list = append(list, portKey(p.published, p.proto))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// State gives what an operator has set up, as text that is equal for equal
// swarms: services with their specs and ports, networks with their options,
// configs. IDs, versions, times, tasks and what a network is given (its VXLAN
// number) are left out.
func (s *Swarm) State() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, v := range s.services {
		lines = append(lines, fmt.Sprintf("service %s\n  spec %s\n  ports %s", v.name(), s.named(canonical(v.spec)), canonical(portsJSON(v.ports))))
	}
	for _, n := range s.networks {
		subnets := n.subnets
		if !n.allocated {
			subnets = n.given
		}
		lines = append(lines, fmt.Sprintf("network %s\n  allocated=%t ingress=%t attachable=%t internal=%t ipv6=%t ipam=%s options=%s labels=%s",
			n.name, n.allocated, n.ingress, n.attachable, n.internal, n.ipv6, canonical(subnetList(subnets, "IPRange")),
			canonical(orEmpty(n.options)), canonical(orEmpty(n.labels))))
	}
	for _, o := range s.configs {
		data, err := base64.StdEncoding.DecodeString(str(o.spec, "Data"))
		if err != nil {
			data = []byte(err.Error())
		}
		lines = append(lines, fmt.Sprintf("config %s\n  labels=%s data=%q", o.name(), canonical(o.spec["Labels"]), data))
	}
	slices.Sort(lines)
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// named puts the names of networks in the place of their IDs.
func (s *Swarm) named(text string) string {
	for _, n := range s.networks {
		text = strings.ReplaceAll(text, n.id, "<network "+n.name+">")
	}
	return text
}

// Tasks gives the tasks as text, a line each: what an operator of the test
// wants to read when it fails.
func (s *Swarm) Tasks() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, t := range s.tasks {
		where := "-"
		if t.node != nil {
			where = t.node.hostname
		}
		fmt.Fprintf(&b, "%s.%d on %s %s -> %s", t.service.name(), t.slot, where, t.state, t.desired)
		for _, a := range t.networks {
			fmt.Fprintf(&b, " %s=%s", a.network.name, a.addr)
		}
		fmt.Fprintf(&b, " %s\n", t.err)
	}
	return b.String()
}

// Holders gives the nodes that hold an ingress network, each as
// "node1 ingress"; "stuck" follows where a node failed to let go of it.
func (s *Swarm) Holders() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, n := range s.nodes {
		if n.local == nil {
			continue
		}
		line := n.hostname + " " + n.local.name
		if n.stuck {
			line += " stuck"
		}
		list = append(list, line)
	}
	return list
}
