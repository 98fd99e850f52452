package swarmtest

import (
	"fmt"
	"maps"
	"mime"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	vxlanOption = "com.docker.network.driver.overlay.vxlanid_list"
	firstVXLAN  = 4096
)

// network is a network of the swarm. It is kept by tasks that were attached to
// it, even when it has been removed.
type network struct {
	meta
	name                                         string
	ingress, attachable, internal, ipv4Off, ipv6 bool
	driver                                       string // as asked for
	options, labels                              map[string]string
	given                                        []subnet // as asked for

	wait      int // steps until it is allocated
	allocated bool
	vxlan     int
	subnets   []subnet
	used      map[netip.Addr]bool
	last      netip.Addr
	nodeAddrs map[*node]netip.Prefix // of the nodes themselves
}

// subnet is one IPAM configuration. Docker keeps no auxiliary addresses for a
// network of the swarm.
type subnet struct {
	subnet, ipRange, gateway string
}

func (n subnet) json(rangeKey string) object {
	o := object{"Subnet": n.subnet}
	if n.ipRange != "" {
		o[rangeKey] = n.ipRange
	}
	if n.gateway != "" {
		o["Gateway"] = n.gateway
	}
	return o
}

// newNetwork makes a network of a request to create one.
func (s *Swarm) newNetwork(req object) *network {
	n := &network{
		meta: s.newMeta(), name: str(req, "Name"), wait: s.cfg.pace.Allocate,
		ingress: boolean(req, "Ingress"), attachable: boolean(req, "Attachable"),
		internal: boolean(req, "Internal"), ipv6: boolean(req, "EnableIPv6"), driver: str(req, "Driver"),
		options: stringMap(req, "Options"), labels: stringMap(req, "Labels"),
		used: map[netip.Addr]bool{}, nodeAddrs: map[*node]netip.Prefix{},
	}
	if v4, given := req["EnableIPv4"].(bool); given {
		n.ipv4Off = !v4
	}
	for _, c := range objects(child(req, "IPAM"), "Config") {
		n.given = append(n.given, subnet{str(c, "Subnet"), str(c, "IPRange"), str(c, "Gateway")})
	}
	return n
}

// ingress gives the swarm's ingress network, or nil.
func (s *Swarm) ingress() *network {
	i := slices.IndexFunc(s.networks, func(n *network) bool { return n.ingress })
	if i < 0 {
		return nil
	}
	return s.networks[i]
}

// allocateNetwork gives a network its subnets. One whose subnet overlaps
// another's is never allocated while the other exists: Docker says so in its
// log only.
func (s *Swarm) allocateNetwork(n *network) {
	if n.allocated {
		return
	}
	if n.wait--; n.wait > 0 {
		return
	}
	given := n.given
	if len(given) == 0 {
		given = []subnet{{}}
	}
	n.subnets = nil
	for _, g := range given {
		if g.subnet == "" {
			g.subnet = s.freeSubnet()
		}
		prefix, err := netip.ParsePrefix(g.subnet)
		if err != nil || s.overlaps(prefix) {
			n.subnets = nil
			return
		}
		g.subnet = prefix.Masked().String()
		if g.gateway == "" {
			g.gateway = prefix.Masked().Addr().Next().String()
		}
		n.subnets = append(n.subnets, g)
	}
	n.allocated = true
	for n.vxlan = firstVXLAN; s.vxlanTaken(n); n.vxlan++ {
	}
	if n.ingress {
		for _, m := range s.nodes {
			n.nodeAddr(m)
		}
	}
	s.touch(&n.meta)
}

func (s *Swarm) vxlanTaken(n *network) bool {
	return slices.ContainsFunc(s.networks, func(o *network) bool { return o != n && o.allocated && o.vxlan == n.vxlan })
}

func (s *Swarm) overlaps(prefix netip.Prefix) bool {
	for _, n := range s.networks {
		for _, u := range n.subnets {
			if p, err := netip.ParsePrefix(u.subnet); err == nil && p.Overlaps(prefix) {
				return true
			}
		}
	}
	return false
}

// freeSubnet gives the first subnet of the swarm's pool that is free.
func (s *Swarm) freeSubnet() string {
	pool := netip.MustParsePrefix(s.cfg.pool)
	for addr := pool.Addr(); pool.Contains(addr); {
		prefix := netip.PrefixFrom(addr, s.cfg.subnetSize)
		if !s.overlaps(prefix) {
			return prefix.String()
		}
		addr = lastAddr(prefix).Next()
	}
	return ""
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// take gives the next free address of a network: an address given back is
// taken again as late as possible.
func (n *network) take() (netip.Prefix, bool) {
	config := n.subnets[0]
	whole := netip.MustParsePrefix(config.subnet)
	from := whole
	if p, err := netip.ParsePrefix(config.ipRange); err == nil {
		from = p.Masked()
	}
	end := lastAddr(from)
	if !n.last.IsValid() {
		n.last = end
	}
	start := n.last
	for addr := start; ; {
		if addr == end {
			addr = from.Addr()
		} else {
			addr = addr.Next()
		}
		if n.free(addr, whole) {
			n.used[addr] = true
			n.last = addr
			return netip.PrefixFrom(addr, whole.Bits()), true
		}
		if addr == start {
			return netip.Prefix{}, false
		}
	}
}

// nodeAddr gives the address of a node's own endpoint, which balances load.
func (n *network) nodeAddr(m *node) netip.Prefix {
	if addr, given := n.nodeAddrs[m]; given {
		return addr
	}
	n.nodeAddrs[m], _ = n.take()
	return n.nodeAddrs[m]
}

func (n *network) free(addr netip.Addr, whole netip.Prefix) bool {
	return !n.used[addr] && addr != whole.Addr() && addr != lastAddr(whole) && addr.String() != n.subnets[0].gateway
}

func (n *network) giveBack(addr netip.Prefix) { delete(n.used, addr.Addr()) }

// driverOptions are a network's options as its driver has them.
func (n *network) driverOptions() map[string]string {
	m := orEmpty(n.options)
	m[vxlanOption] = strconv.Itoa(n.vxlan)
	return m
}

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
	if c.atLeast(1, 48) {
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
	ip := addr.Addr().AsSlice()
	mac := "02:42"
	for _, b := range ip {
		mac += fmt.Sprintf(":%02x", b)
	}
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
		if slices.Contains([]string{"bridge", "host", "none"}, name) || boolean(req, "CheckDuplicate") || c.atLeast(1, 44) {
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

// localNetwork is a network of one node.
type localNetwork struct {
	id, name, driver, created string
	config                    []object
	options, labels           map[string]string
	internal                  bool
	predefined                bool
}

// predefined gives the local networks of every node in a swarm.
func (s *Swarm) predefined(hostname string) []*localNetwork {
	var list []*localNetwork
	add := func(name, driver string, config []object, options map[string]string) {
		list = append(list, &localNetwork{
			id: hexID(hostname + name), name: name, driver: driver, created: stamp(s.now()),
			config: config, options: options, labels: map[string]string{}, predefined: name != gwbridge,
		})
	}
	const prefix = "com.docker.network.bridge."
	add("none", "null", []object{}, map[string]string{})
	add("host", "host", []object{}, map[string]string{})
	add("bridge", "bridge", []object{{"Subnet": "172.17.0.0/16"}}, map[string]string{
		prefix + "default_bridge": "true", prefix + "enable_icc": "true", prefix + "enable_ip_masquerade": "true",
		prefix + "host_binding_ipv4": "0.0.0.0", prefix + "name": "docker0", "com.docker.network.driver.mtu": "1500",
	})
	add(gwbridge, "bridge", []object{{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}}, map[string]string{
		prefix + "enable_icc": "false", prefix + "enable_ip_masquerade": "true", prefix + "name": gwbridge,
	})
	return list
}

const gwbridge = "docker_gwbridge"

func (b *localNetwork) json(*node) object {
	return object{
		"Name": b.name, "Id": b.id, "Created": b.created, "Scope": "local", "Driver": b.driver, "Internal": b.internal,
		"IPAM": ipam("default", b.config), "Containers": object{}, "Options": maps.Clone(b.options), "Labels": maps.Clone(b.labels),
	}
}

// detail is how the network is inspected.
func (b *localNetwork) detail(n *node) object {
	o := b.json(n)
	if b.name == gwbridge && n.local != nil {
		o["Containers"] = object{n.local.name + "-sbox": endpointJSON("gateway_ingress-sbox", netip.MustParsePrefix("172.18.0.2/16"), n.id)}
	}
	return o
}

func (b *localNetwork) removable(n *node) error {
	if b.predefined {
		return failure(403, "%s is a pre-defined network and cannot be removed", b.name)
	}
	if b.name == gwbridge && n.local != nil {
		return failure(403, "error while removing network: network %s id %s has active endpoints", b.name, b.id)
	}
	return nil
}

func (s *Swarm) createLocal(c *call, req object, warning string) (answer, error) {
	driver := str(req, "Driver")
	if driver == "" {
		driver = "bridge"
	}
	if driver != "bridge" {
		return answer{}, notFound("plugin %q not found", driver)
	}
	if boolean(req, "Ingress") {
		return answer{}, failure(403, "Ingress network can only be global scope network")
	}
	b := &localNetwork{
		id: s.newHexID(), name: str(req, "Name"), driver: driver, created: stamp(s.now()), internal: boolean(req, "Internal"),
		options: orEmpty(stringMap(req, "Options")), labels: orEmpty(stringMap(req, "Labels")),
	}
	b.config = objects(child(req, "IPAM"), "Config")
	if len(b.config) == 0 {
		second := 19 + len(c.node.bridges)
		b.config = []object{{"Subnet": fmt.Sprintf("172.%d.0.0/16", second), "Gateway": fmt.Sprintf("172.%d.0.1", second)}}
	}
	c.node.bridges = append(c.node.bridges, b)
	return answer{status: 201, body: object{"Id": b.id, "Warning": warning}}, nil
}
