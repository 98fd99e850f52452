package swarmtest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// state is a task's state, in the order they are gone through.
type state int

const (
	created state = iota
	pending
	assigned
	preparing
	ready
	starting
	running
	complete
	shutdown
	failed
	rejected
	remove
	orphaned
)

func stateNames() []string {
	return []string{
		"new", "pending", "assigned", "preparing", "ready", "starting", "running", "complete", "shutdown", "failed", "rejected",
		"remove", "orphaned",
	}
}

func (s state) String() string { return stateNames()[s] }

// task is one instance of a service.
type task struct {
	meta
	service  *service
	slot     int // 0 for a global service
	node     *node
	spec     object // the service's, when the task was made
	key      string
	networks []attachment
	host     []port // published on the node

	state, desired state
	wait           int
	message, err   string
	after          *task // whose end it awaits before it may run
	updating       bool  // an update is not done before it runs
	started        bool  // it has had a container
}

type attachment struct {
	network *network
	addr    netip.Prefix
}

func (t *task) ended() bool { return t.state > running }

// active tells whether the task has a container that is attached to networks.
func (t *task) active() bool { return t.state >= ready && t.state <= running }

func (t *task) attachedTo(n *network) bool {
	return slices.ContainsFunc(t.networks, func(a attachment) bool { return a.network == n }) && t.node != nil
}

func (t *task) address(n *network) netip.Prefix {
	for _, a := range t.networks {
		if a.network == n {
			return a.addr
		}
	}
	return netip.Prefix{}
}

func (t *task) name() string {
	return t.service.name() + "." + t.place() + "." + t.id
}

// place is what only one task of a service can have.
func (t *task) place() string {
	if t.slot == 0 {
		return t.node.id
	}
	return strconv.Itoa(t.slot)
}

func (t *task) container() string { return hexID("container " + t.id) }

func (t *task) ports() []port { return ports(t.spec) }

func parsePrefix(text string) netip.Prefix {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		panic(err) // made from one
	}
	return p
}

func (s *Swarm) newTask(v *service, slot int, n *node) *task {
	t := &task{
		meta: s.newMeta(), service: v, slot: slot, node: n, spec: v.spec, key: v.key,
		desired: running, message: "created",
	}
	s.tasks = append(s.tasks, t)
	s.poke(n)
	return t
}

func (s *Swarm) touchTask(t *task) {
	s.touch(&t.meta)
	s.poke(t.node)
}

// want sets what is to become of a task. An end that is wanted stays wanted.
func (s *Swarm) want(t *task, desired state) {
	if desired <= t.desired && t.desired > running || desired == t.desired {
		return
	}
	if t.desired <= running && desired > running {
		t.wait = s.cfg.pace.Stop
	}
	t.desired = desired
	s.touchTask(t)
}

func (s *Swarm) enter(t *task, to state, message string) {
	t.state, t.message = to, message
	s.touchTask(t)
}

// end lets a task end. It gives its addresses back, and goes on to tell them.
func (s *Swarm) end(t *task, to state, message string) {
	for _, a := range t.networks {
		a.network.giveBack(a.addr)
	}
	s.enter(t, to, message)
}

// advanceTask takes a task a step further.
func (s *Swarm) advanceTask(t *task) {
	if t.ended() || t.node != nil && !t.node.up() {
		return
	}
	if t.desired > running {
		if t.wait--; t.wait <= 0 || t.state < preparing {
			s.end(t, shutdown, "shutdown")
		}
		return
	}
	switch t.state {
	case created:
		s.attach(t)
	case pending:
		s.schedule(t)
	case assigned:
		t.wait, t.started = s.cfg.pace.Start, true
		s.enter(t, preparing, "preparing")
	case preparing:
		if t.wait--; t.wait <= 0 && s.troubleOf(t) != Hang {
			s.enter(t, ready, "prepared")
		}
	case ready:
		if t.desired == running {
			s.enter(t, starting, "starting")
		}
	case starting:
		if s.troubleOf(t) == FailStart {
			t.err = "task: non-zero exit (1)"
			s.end(t, failed, "started")
			return
		}
		t.publish()
		s.enter(t, running, "started")
	default: // it runs
	}
}

// publish gives a task its ports on the node: those nobody chose are the
// node's choice.
func (t *task) publish() {
	const first = 32768
	t.host = nil
	for _, p := range t.ports() {
		if p.mode != modeHost {
			continue
		}
		if p.published == 0 {
			p.published = first + t.node.ephemeral
			t.node.ephemeral++
		}
		t.host = append(t.host, p)
	}
}

// attach gives a task its addresses, once its networks and its service have
// theirs.
func (s *Swarm) attach(t *task) {
	networks, there := s.networksOf(t.spec, child(t.spec, "EndpointSpec"))
	if !there || t.key == t.service.key && t.service.unplaced {
		return
	}
	t.networks = nil
	for _, n := range networks {
		addr, free := n.take()
		if !free {
			for _, a := range t.networks {
				a.network.giveBack(a.addr)
			}
			t.networks = nil
			return
		}
		t.networks = append(t.networks, attachment{n, addr})
	}
	s.enter(t, pending, "pending task scheduling")
}

// schedule puts a task on the node that has the fewest of its service.
func (s *Swarm) schedule(t *task) {
	const message = "scheduler assigned task to node"
	if t.node != nil {
		s.enter(t, assigned, message)
		return
	}
	var fit []*node
	blocked, unavailable := 0, 0
	for _, n := range s.nodes {
		switch {
		case !n.takes():
			unavailable++
		case s.hostPortTaken(t, n):
			blocked++
		default:
			fit = append(fit, n)
		}
	}
	if len(fit) == 0 {
		if err := unsuitable(blocked, unavailable); err != t.err {
			t.err = err
			s.touchTask(t)
		}
		return
	}
	t.err = ""
	t.node = slices.MinFunc(fit, func(a, b *node) int {
		return cmp.Or(cmp.Compare(s.load(a, t.service), s.load(b, t.service)), cmp.Compare(s.load(a, nil), s.load(b, nil)))
	})
	s.enter(t, assigned, message)
}

// load counts a node's tasks of a service, or all for nil.
func (s *Swarm) load(n *node, v *service) int {
	count := 0
	for _, t := range s.tasks {
		if t.node == n && t.desired <= running && (v == nil || t.service == v) {
			count++
		}
	}
	return count
}

// unsuitable is how the scheduler says that no node will do.
func unsuitable(blocked, unavailable int) string {
	var reasons []string
	add := func(n int, one, many string) {
		if n == 1 {
			reasons = append(reasons, one)
		} else if n > 1 {
			reasons = append(reasons, fmt.Sprintf(many, n))
		}
	}
	add(blocked, "host-mode port already in use on 1 node", "host-mode port already in use on %d nodes")
	add(unavailable, "1 node not available for new tasks", "%d nodes not available for new tasks")
	return "no suitable node (" + strings.Join(reasons, "; ") + ")"
}

func (s *Swarm) hostPortTaken(t *task, n *node) bool {
	for _, o := range s.tasks {
		if o == t || o.node != n || o.ended() {
			continue
		}
		for _, p := range t.ports() {
			same := func(q port) bool { return q.mode == modeHost && q.published == p.published && q.proto == p.proto }
			if p.mode == modeHost && p.published != 0 && slices.ContainsFunc(o.ports(), same) {
				return true
			}
		}
	}
	return false
}

// historyLimit is how many ended tasks are kept per slot.
const historyLimit = 5

// reapTasks forgets tasks: those that were to be removed, and the oldest of
// those that have ended.
func (s *Swarm) reapTasks() {
	kept := map[string]int{}
	place := func(t *task) string { return t.service.id + " " + t.place() }
	for _, t := range s.tasks {
		if t.ended() {
			kept[place(t)]++
		}
	}
	s.tasks = slices.DeleteFunc(s.tasks, func(t *task) bool {
		if !t.ended() {
			return false
		}
		if t.desired == remove || kept[place(t)] > historyLimit {
			kept[place(t)]--
			s.index++
			return true
		}
		return false
	})
}

func (t *task) json() object {
	o := t.meta.json()
	o["Labels"], o["ServiceID"], o["DesiredState"] = object{}, t.service.id, t.desired.String()
	spec := object{}
	for key, value := range child(t.spec, "TaskTemplate") {
		if key != "Runtime" { // Docker does not show it here
			spec[key] = value
		}
	}
	o["Spec"] = spec
	if t.slot != 0 {
		o["Slot"] = t.slot
	}
	if t.node != nil {
		o["NodeID"] = t.node.id
	}
	o["Status"] = t.statusJSON()
	var networks []object
	for _, a := range t.networks {
		networks = append(networks, object{"Network": a.network.attachmentJSON(), "Addresses": []string{a.addr.String()}})
	}
	if networks != nil {
		o["NetworksAttachments"] = networks
	}
	return o
}

func (t *task) statusJSON() object {
	status := object{"Timestamp": stamp(t.updated), "State": t.state.String(), "Message": t.message, "PortStatus": object{}}
	if t.err != "" {
		status["Err"] = t.err
	}
	if !t.started {
		return status
	}
	container := object{"ContainerID": "", "PID": 0, "ExitCode": 0}
	if t.state >= ready {
		container["ContainerID"] = t.container()
	}
	switch t.state {
	case running:
		container["PID"] = 1000
		var host []object
		for _, p := range t.host {
			host = append(host, p.json(), p.json()) // Docker tells it once for IPv4 and once for IPv6
		}
		if host != nil {
			status["PortStatus"] = object{"Ports": host}
		}
	case shutdown:
		container["ExitCode"] = 137
	case failed:
		container["ExitCode"] = 1
	default: // nothing more to tell
	}
	status["ContainerStatus"] = container
	return status
}

// attachmentJSON is a network as tasks tell of it.
func (n *network) attachmentJSON() object {
	o := n.meta.json()
	driver, spec := object{}, object{"Name": n.name, "Labels": orEmpty(n.labels), "Scope": "swarm"}
	asked := object{"Driver": object{}}
	if n.driver != "" {
		driver["Name"] = n.driver
		asked["Driver"] = object{"Name": "default"}
		if len(n.given) > 0 {
			asked["Configs"] = subnetList(n.subnets, "Range")
		}
	}
	if len(n.options) > 0 {
		driver["Options"] = n.options
	}
	spec["DriverConfiguration"], spec["IPAMOptions"] = driver, asked
	for key, set := range map[string]bool{
		"Ingress": n.ingress, "Attachable": n.attachable, "Internal": n.internal, "IPv6Enabled": n.ipv6,
	} {
		if set {
			spec[key] = true
		}
	}
	o["Spec"] = spec
	o["DriverState"] = object{"Name": "overlay", "Options": n.driverOptions()}
	o["IPAMOptions"] = object{"Driver": object{"Name": "default"}, "Configs": subnetList(n.subnets, "Range")}
	return o
}

func (s *Swarm) listTasks(c *call) (answer, error) {
	f, err := c.filters("desired-state", "id", "label", "name", "node", "runtime", "service", "up-to-date", "_up-to-date")
	if err != nil {
		return answer{}, err
	}
	for _, want := range f["desired-state"] {
		if !slices.Contains(stateNames(), want) {
			return answer{}, failure(500, "Invalid desired-state filter: '%s'", want)
		}
	}
	services, nodes := filters{}, filters{}
	for _, term := range f["service"] {
		v, err := s.service(term)
		if err != nil {
			return answer{}, err
		}
		services["id"] = append(services["id"], v.id)
	}
	for _, term := range f["node"] {
		n, err := find(s.nodes, term, "node", func(n *node) (string, string) { return n.id, n.hostname })
		if err != nil {
			return answer{}, err
		}
		nodes["id"] = append(nodes["id"], n.id)
	}
	list := []object{}
	for _, t := range s.tasks {
		node := ""
		if t.node != nil {
			node = t.node.id
		}
		if services.is("id", t.service.id) && nodes.is("id", node) && f.is("desired-state", t.desired.String()) &&
			f.prefix("id", t.id) && f.prefix("name", t.name()) && f.labels("label", stringMap(t.service.spec, "Labels")) {
			list = append(list, t.json())
		}
	}
	return ok(list), nil
}

func (s *Swarm) inspectTask(c *call) (answer, error) {
	t, err := find(s.tasks, c.id, "task", func(t *task) (string, string) { return t.id, t.name() })
	if err != nil {
		return answer{}, err
	}
	return ok(t.json()), nil
}
