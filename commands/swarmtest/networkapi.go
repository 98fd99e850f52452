package swarmtest

import (
	"fmt"
	"mime"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// base is what every view of a network has.
func (s *Swarm) base(c *call, o object) object {
	defaults := object{
		"EnableIPv6": false, "Internal": false, "Attachable": false, "Ingress": false,
		"ConfigFrom": object{"Network": ""}, "ConfigOnly": false, "Containers": nil,
	}
	for key, value := range defaults {
		if _, there := o[key]; !there {
			o[key] = value
		}
	}
	if c.atLeast(48) {
		if _, there := o["EnableIPv4"]; !there {
			o["EnableIPv4"] = true
		}
	} else {
		delete(o, "EnableIPv4")
	}
	return o
}

func ipam(driver string, config any) object {
	return object{"Driver": driver, "Options": nil, "Config": config}
}

// networkJSON is a network as the managers know it.
func (s *Swarm) networkJSON(c *call, n *network) object {
	o := object{
		"Name": n.name, "Id": n.id, "Created": stamp(n.created), "Scope": "swarm", "Driver": "",
		"EnableIPv6": n.ipv6, "EnableIPv4": !n.ipv4Off, "Internal": n.internal, "Attachable": n.attachable, "Ingress": n.ingress,
		"IPAM": ipam("", nil), "Options": nil, "Labels": nil,
	}
	if len(n.labels) > 0 {
		o["Labels"] = n.labels
	}
	if n.allocated {
		o["Driver"], o["Options"] = "overlay", n.driverOptions()
		o["IPAM"] = ipam("default", subnetList(n.subnets, "IPRange"))
	}
	return s.base(c, o)
}

func subnetList(subnets []subnet, rangeKey string) []object {
	list := []object{}
	for _, u := range subnets {
		list = append(list, u.json(rangeKey))
	}
	return list
}

// localJSON is a network of the swarm as a node that takes part in it knows
// it. Of the ingress network, nodes are not told the labels.
func (s *Swarm) localJSON(c *call, n *network, detailed bool) object {
	o := s.networkJSON(c, n)
	o["Labels"] = orEmpty(n.labels)
	if n.ingress {
		o["Labels"] = object{}
	}
	containers := object{}
	if detailed {
		for _, t := range s.tasks {
			if t.node == c.node && t.active() && t.attachedTo(n) {
				containers[t.container()] = endpointJSON(t.name(), t.address(n), t.id)
			}
		}
		sandbox := "lb-" + n.name
		if n.ingress {
			sandbox = n.name + "-sbox"
		}
		containers[sandbox] = endpointJSON(n.name+"-endpoint", n.nodeAddr(c.node), c.node.id+n.id)
	}
	o["Containers"] = containers
	peers := []object{}
	for _, m := range s.members(n) {
		peers = append(peers, object{"Name": hexID(m.id)[:12], "IP": m.addr})
	}
	o["Peers"] = peers
	return o
}

func endpointJSON(name string, addr netip.Prefix, seed string) object {
	mac := net.HardwareAddr(append([]byte{0x02, 0x42}, addr.Addr().AsSlice()...)).String()
	return object{"Name": name, "EndpointID": hexID(seed), "MacAddress": mac, "IPv4Address": addr.String(), "IPv6Address": ""}
}

// members are the nodes that take part in a network, as gossip tells it.
func (s *Swarm) members(n *network) []*node {
	var list []*node
	for _, m := range s.nodes {
		if m.up() && s.holds(m, n) {
			list = append(list, m)
		}
	}
	return list
}

// holds tells whether a network of the swarm exists on a node.
func (s *Swarm) holds(m *node, n *network) bool {
	if n.ingress {
		return m.local == n
	}
	return slices.ContainsFunc(s.tasks, func(t *task) bool { return t.node == m && t.active() && t.attachedTo(n) })
}

// localOf gives the networks of the swarm that exist on a node, with those
// that have been removed from the swarm.
func (s *Swarm) localOf(m *node) []*network {
	var list []*network
	if m.local != nil {
		list = append(list, m.local)
	}
	for _, n := range s.networks {
		if !n.ingress && s.holds(m, n) {
			list = append(list, n)
		}
	}
	return list
}

func (s *Swarm) listNetworks(c *call) (answer, error) {
	f, err := c.filters("dangling", "driver", "id", "label", "name", "scope", "type")
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	seen := map[string]bool{}
	add := func(o object) {
		if id := str(o, "Id"); !seen[id] && matchNetwork(f, o) {
			seen[id] = true
			list = append(list, o)
		}
	}
	if s.managing(c.node) == nil {
		for _, n := range s.networks {
			add(s.networkJSON(c, n))
		}
	}
	for _, n := range s.localOf(c.node) {
		add(s.localJSON(c, n, false))
	}
	for _, b := range c.node.bridges {
		add(s.base(c, b.json(c.node)))
	}
	return ok(list), nil
}

func matchNetwork(f filters, o object) bool {
	labels, _ := o["Labels"].(map[string]string)
	kind := "custom"
	if slices.Contains([]string{"bridge", "host", "none"}, str(o, "Name")) {
		kind = "builtin"
	}
	return f.contains("name", str(o, "Name")) && f.prefix("id", str(o, "Id")) && f.is("driver", str(o, "Driver")) &&
		f.is("scope", str(o, "Scope")) && f.is("type", kind) && f.labels("label", labels)
}

// visible gives the networks a node tells of that fit, each once: its own view
// of a network goes before the managers'.
func (s *Swarm) visible(c *call, fits func(id, name string) bool) []object {
	var found []object
	scope := c.query.Get("scope")
	if scope != "local" {
		local := s.localOf(c.node)
		for _, n := range local {
			if fits(n.id, n.name) {
				found = append(found, s.localJSON(c, n, true))
			}
		}
		for _, n := range s.networks {
			if s.managing(c.node) == nil && !slices.Contains(local, n) && fits(n.id, n.name) {
				found = append(found, s.networkJSON(c, n))
			}
		}
	}
	if scope != "swarm" {
		for _, b := range c.node.bridges {
			if fits(b.id, b.name) {
				found = append(found, s.base(c, b.detail(c.node)))
			}
		}
	}
	return found
}

func (s *Swarm) inspectNetwork(c *call) (answer, error) {
	by := "name"
	found := s.visible(c, func(id, name string) bool { return id == c.id || name == c.id })
	if len(found) == 0 {
		by = "ID prefix"
		found = s.visible(c, func(id, _ string) bool { return strings.HasPrefix(id, c.id) })
	}
	switch len(found) {
	case 0:
		return answer{}, notFound("network %s not found", c.id)
	case 1:
		return ok(found[0]), nil
	default:
		return answer{}, badRequest("%d matches found based on %s: network %s is ambiguous", len(found), by, c.id)
	}
}

func (s *Swarm) createNetwork(c *call) (answer, error) {
	if kind, _, err := mime.ParseMediaType(c.contentType); err != nil || kind != jsonType {
		return answer{}, badRequest("Content-Type specified (%s) must be 'application/json'", c.contentType)
	}
	req, err := decode(c.body)
	if err != nil {
		return answer{}, badRequest("%s", err)
	}
	name := str(req, "Name")
	exists := failure(409, "network with name %s already exists", name)
	if s.managing(c.node) == nil && slices.ContainsFunc(s.networks, func(n *network) bool { return n.name == name }) {
		return answer{}, exists
	}
	warning := ""
	if id := s.localName(c.node, name); id != "" {
		if slices.Contains([]string{"bridge", "host", "none"}, name) || boolean(req, "CheckDuplicate") || c.atLeast(44) {
			return answer{}, exists
		}
		warning = fmt.Sprintf("Network with name %s (id : %s) already exists", name, id)
	}
	if driver := str(req, "Driver"); driver != "overlay" {
		return s.createLocal(c, req, warning)
	}
	if err := validateNetwork(req); err != nil {
		return answer{}, err
	}
	if c.node.role != "manager" {
		return answer{}, failure(403, "Cannot create a multi-host network from a worker node. Please create the network from a manager node.")
	}
	if err := s.managing(c.node); err != nil {
		return answer{}, err
	}
	if boolean(req, "Ingress") {
		if old := s.ingress(); old != nil {
			return answer{}, grpc("AlreadyExists", "ingress network (%s) is already present", old.id)
		}
		s.checkLetGo(name)
	}
	n := s.newNetwork(req)
	s.networks = append(s.networks, n)
	return answer{status: 201, body: object{"Id": n.id, "Warning": ""}}, nil
}

// checkLetGo notes when an ingress network is created too early. A node that
// is down has no data path to break.
func (s *Swarm) checkLetGo(name string) {
	for _, m := range s.nodes {
		if m.up() && m.local != nil {
			s.violations = append(s.violations, fmt.Sprintf("premature creation: ingress network %q, while %s still holds %q (%s)",
				name, m.hostname, m.local.name, m.local.id))
		}
	}
}

// localName gives the ID of a network that exists on a node under a name.
func (s *Swarm) localName(m *node, name string) string {
	for _, b := range m.bridges {
		if b.name == name {
			return b.id
		}
	}
	for _, n := range s.localOf(m) {
		if n.name == name {
			return n.id
		}
	}
	return ""
}

// validateNetwork checks a network for the swarm as dockerd and then SwarmKit
// do.
func validateNetwork(req object) error {
	if strings.TrimSpace(str(req, "Name")) == "" {
		return failure(500, "invalid name: %s", str(req, "Name"))
	}
	configs := objects(child(req, "IPAM"), "Config")
	for _, c := range configs {
		if text := str(c, "Subnet"); text != "" {
			if _, err := netip.ParsePrefix(text); err != nil {
				return failure(500, "Invalid subnet %s : invalid CIDR address: %s", text, text)
			}
		}
	}
	if boolean(req, "Ingress") && boolean(req, "Attachable") {
		return grpc("InvalidArgument", "ingress network cannot be attachable")
	}
	const predefined = "com.docker.swarm.predefined"
	if has(child(req, "Labels"), predefined) {
		return grpc("PermissionDenied", "label %s is for internally created predefined networks and cannot be applied by users", predefined)
	}
	for _, c := range configs {
		if err := validateSubnet(c); err != nil {
			return err
		}
	}
	return nil
}

func validateSubnet(c object) error {
	text := str(c, "Subnet")
	whole, _ := netip.ParsePrefix(text)
	if r := str(c, "IPRange"); r != "" {
		p, err := netip.ParsePrefix(r)
		if err != nil {
			return grpc("InvalidArgument", "ipam configuration: invalid range %s", r)
		}
		if text != "" && !whole.Contains(p.Addr()) {
			return grpc("InvalidArgument", "ipam configuration: subnet %s does not contain range %s", text, r)
		}
	}
	if g := str(c, "Gateway"); g != "" {
		addr, err := netip.ParseAddr(g)
		if err != nil {
			return grpc("InvalidArgument", "ipam configuration: invalid gateway %s", g)
		}
		if text != "" && !whole.Contains(addr) {
			return grpc("InvalidArgument", "ipam configuration: subnet %s does not contain gateway %s", text, g)
		}
	}
	return nil
}

func (s *Swarm) removeNetwork(c *call) (answer, error) {
	for i, b := range c.node.bridges {
		if b.id == c.id || b.name == c.id {
			if err := b.removable(c.node); err != nil {
				return answer{}, err
			}
			c.node.bridges = slices.Delete(c.node.bridges, i, i+1)
			return answer{status: 204}, nil
		}
	}
	if s.managing(c.node) != nil {
		return answer{}, notFound("network %s not found", c.id)
	}
	n, err := find(s.networks, c.id, "network", func(n *network) (string, string) { return n.id, n.name })
	if err != nil {
		return answer{}, err
	}
	if err := s.inUse(n); err != nil {
		return answer{}, err
	}
	if t := s.attachedTask(n, nil); n.ingress && t != nil {
		s.violations = append(s.violations, fmt.Sprintf("premature removal: ingress network %q, while %s (%s) on %s is attached to it",
			n.name, t.name(), t.state, t.node.hostname))
	}
	s.networks = slices.DeleteFunc(s.networks, func(o *network) bool { return o == n })
	for _, m := range s.nodes {
		if m.ordered == n {
			m.ordered = nil
		}
	}
	s.index++
	return answer{status: 204}, nil
}

// inUse is why a network can't be removed. Of the ingress network only the
// services are asked: tasks that are still shutting down do not count.
func (s *Swarm) inUse(n *network) error {
	for _, v := range s.services {
		switch {
		case n.ingress && needsIngress(v.spec):
			return grpc("FailedPrecondition", "ingress network cannot be removed because service %s depends on it", v.id)
		case !n.ingress && slices.Contains(targets(v.spec), n.id):
			return grpc("FailedPrecondition", "network %s is in use by service %s", n.id, v.id)
		}
	}
	for _, t := range s.tasks {
		if !n.ingress && t.attachedTo(n) && t.desired <= running && t.state <= running {
			return grpc("FailedPrecondition", "network %s is in use by task %s", n.id, t.id)
		}
	}
	return nil
}
