package swarmtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// service is a service and where its update stands.
type service struct {
	meta
	spec, previous object
	key            string // of what its tasks are made of: another key, other tasks
	update         *updateStatus
	monitor        int // steps the tasks of the update have run

	placed   string // the endpoint and networks it was allocated for
	wait     int    // steps until it is
	unplaced bool   // it needs others than it has
	ports    []port
	vips     []vip
	endpoint object // as allocated; nil: never

	trouble Trouble
}

type vip struct {
	network *network
	addr    string
}

type updateStatus struct {
	state, message     string
	started, completed string
}

func (u *updateStatus) json() object {
	o := object{"State": u.state, "StartedAt": u.started, "Message": u.message}
	if u.completed != "" {
		o["CompletedAt"] = u.completed
	}
	return o
}

func (v *service) name() string { return str(v.spec, "Name") }

// setSpec gives a service a spec that is complete.
func (v *service) setSpec(spec object) {
	v.spec = spec
	v.key = canonical(object{"task": spec["TaskTemplate"], "endpoint": spec["EndpointSpec"]})
}

func (v *service) json() object {
	o := v.meta.json()
	o["Spec"] = v.spec
	if v.previous != nil {
		o["PreviousSpec"] = v.previous
	}
	o["Endpoint"] = v.endpointJSON()
	if v.update != nil {
		o["UpdateStatus"] = v.update.json()
	}
	return o
}

// endpointJSON is what was allocated, which is not always what the spec wants.
func (v *service) endpointJSON() object {
	e := object{"Spec": object{}}
	if v.endpoint != nil {
		e["Spec"] = v.endpoint
	}
	if len(v.ports) > 0 {
		e["Ports"] = portsJSON(v.ports)
	}
	var vips []object
	for _, a := range v.vips {
		vips = append(vips, object{"NetworkID": a.network.id, "Addr": a.addr})
	}
	if vips != nil {
		e["VirtualIPs"] = vips
	}
	return e
}

// networksOf gives the networks a service's tasks are attached to, ingress
// first, and false while one of them is missing or not allocated.
func (s *Swarm) networksOf(spec, endpoint object) ([]*network, bool) {
	var list []*network
	if hasIngressPort(endpoint) {
		n := s.ingress()
		if n == nil || !n.allocated {
			return nil, false
		}
		list = append(list, n)
	}
	for _, id := range targets(spec) {
		i := slices.IndexFunc(s.networks, func(n *network) bool { return n.id == id })
		if i < 0 || !s.networks[i].allocated {
			return nil, false
		}
		list = append(list, s.networks[i])
	}
	return list, true
}

// allocateService gives a service addresses and ports when it needs others
// than it has.
func (s *Swarm) allocateService(v *service) {
	networks, there := s.networksOf(v.spec, child(v.spec, "EndpointSpec"))
	parts := []string{canonical(v.spec["EndpointSpec"])}
	for _, n := range networks {
		parts = append(parts, n.id)
	}
	want := strings.Join(parts, "")
	v.unplaced = !there || want != v.placed
	if !v.unplaced {
		v.wait = s.cfg.pace.Allocate
		return
	}
	if v.wait--; !there || v.wait > 0 {
		return
	}
	v.release()
	v.placed, v.unplaced = want, false
	v.ports = s.allocatePorts(ports(v.spec), v)
	if str(child(v.spec, "EndpointSpec"), "Mode") != "dnsrr" {
		for _, n := range networks {
			if addr, free := n.take(); free {
				v.vips = append(v.vips, vip{n, addr.String()})
			}
		}
	}
	if len(v.ports) > 0 || len(v.vips) > 0 || v.endpoint != nil {
		v.endpoint = child(v.spec, "EndpointSpec")
		if v.endpoint == nil {
			v.endpoint = object{"Mode": "vip"}
		}
		s.touch(&v.meta)
	}
}

// release gives back a service's addresses.
func (v *service) release() {
	for _, a := range v.vips {
		a.network.giveBack(parsePrefix(a.addr))
	}
	v.vips, v.ports = nil, nil
}

// firstPort is the first of the ports SwarmKit gives to who asks for none.
const firstPort = 30000

func (s *Swarm) allocatePorts(wanted []port, self *service) []port {
	list := slices.Clone(wanted)
	for i := range list {
		p := &list[i]
		if p.published != 0 || p.mode != modeIngress {
			continue
		}
		taken := func(number int) bool {
			same := func(q port) bool { return q.published == number && q.proto == p.proto }
			return slices.ContainsFunc(list, same) ||
				slices.ContainsFunc(s.services, func(v *service) bool { return v != self && slices.ContainsFunc(v.ports, same) })
		}
		number := firstPort
		for taken(number) {
			number++
		}
		p.published = number
	}
	return list
}

// readSpec reads and completes the spec of a request.
func (s *Swarm) readSpec(c *call) (object, error) {
	spec, err := decode(c.body)
	if err != nil {
		return nil, badRequest("%s", err)
	}
	if child(child(spec, "TaskTemplate"), "ContainerSpec") == nil {
		return nil, badRequest("mismatched Runtime and *Spec fields")
	}
	completeSpec(spec)
	for _, holder := range []object{child(spec, "TaskTemplate"), spec} {
		for _, n := range objects(holder, "Networks") {
			found, err := find(s.networks, str(n, "Target"), "network", func(n *network) (string, string) { return n.id, n.name })
			if err != nil {
				return nil, failure(500, "%s", err)
			}
			n["Target"] = found.id
		}
	}
	return spec, nil
}

// checkSpec is what a new or changed spec is refused for.
func (s *Swarm) checkSpec(spec object, self *service) error {
	if err := validateSpec(spec); err != nil {
		return err
	}
	if self != nil && canonical(self.spec["EndpointSpec"]) == canonical(spec["EndpointSpec"]) {
		return nil
	}
	return s.portConflict(spec, self)
}

func (s *Swarm) checkIngress(spec object) error {
	if needsIngress(spec) && s.ingress() == nil {
		return grpc("FailedPrecondition", "service needs ingress network, but no ingress network is present")
	}
	return nil
}

func (s *Swarm) createService(c *call) (answer, error) {
	spec, err := s.readSpec(c)
	if err != nil {
		return answer{}, err
	}
	if str(spec, "Name") == "" {
		spec["Name"] = fmt.Sprintf("nameless_%d", s.index)
	}
	if err := s.checkSpec(spec, nil); err != nil {
		return answer{}, err
	}
	if err := s.checkIngress(spec); err != nil {
		return answer{}, err
	}
	if slices.ContainsFunc(s.services, func(v *service) bool { return v.name() == str(spec, "Name") }) {
		return answer{}, grpc("AlreadyExists", "name conflicts with an existing object: service %s already exists", str(spec, "Name"))
	}
	v := &service{meta: s.newMeta(), wait: s.cfg.pace.Allocate}
	v.setSpec(spec)
	s.services = append(s.services, v)
	return answer{status: 201, body: object{"ID": v.id}}, nil
}

func (s *Swarm) service(term string) (*service, error) {
	return find(s.services, term, "service", func(v *service) (string, string) { return v.id, v.name() })
}

func (s *Swarm) updateService(c *call) (answer, error) {
	spec, err := s.readSpec(c)
	if err != nil {
		return answer{}, err
	}
	text := c.query.Get("version")
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return answer{}, badRequest("invalid service version '%s': %s", text, err)
	}
	v, err := s.service(c.id)
	if err != nil {
		return answer{}, err
	}
	if err := s.checkSpec(spec, v); err != nil {
		return answer{}, err
	}
	_, now := replicas(spec)
	_, before := replicas(v.spec)
	if now != before {
		return answer{}, grpc("Unimplemented", "service mode change is not allowed")
	}
	if str(spec, "Name") != v.name() {
		return answer{}, grpc("Unimplemented", "renaming services is not supported")
	}
	status := (*updateStatus)(nil)
	if c.query.Get("rollback") == "previous" {
		if v.previous == nil {
			return answer{}, grpc("FailedPrecondition", "service %s does not have a previous spec", v.id)
		}
		spec = v.previous
		status = &updateStatus{state: "rollback_started", message: "manually requested rollback", started: stamp(s.now())}
	}
	if err := s.checkIngress(spec); err != nil {
		return answer{}, err
	}
	if version != v.version {
		return answer{}, outOfSequence()
	}
	v.previous, v.update, v.monitor = v.spec, status, 0
	v.setSpec(spec)
	s.touch(&v.meta)
	return ok(object{"Warnings": nil}), nil
}

func (s *Swarm) removeService(c *call) (answer, error) {
	v, err := s.service(c.id)
	if err != nil {
		return answer{}, err
	}
	v.release()
	s.services = slices.DeleteFunc(s.services, func(o *service) bool { return o == v })
	for _, t := range s.tasks {
		if t.service == v {
			s.want(t, remove)
		}
	}
	s.index++
	return answer{status: 200}, nil
}

func (s *Swarm) listServices(c *call) (answer, error) {
	f, err := c.filters("id", "label", "mode", "name", "runtime")
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	for _, v := range s.services {
		mode := "global"
		if _, replicated := replicas(v.spec); replicated {
			mode = "replicated"
		}
		if !f.prefix("id", v.id) || !f.prefix("name", v.name()) || !f.is("mode", mode) ||
			!f.labels("label", stringMap(v.spec, "Labels")) {
			continue
		}
		o := v.json()
		if wanted, err := strconv.ParseBool(c.query.Get("status")); err == nil && wanted {
			o["ServiceStatus"] = s.statusOf(v)
		}
		list = append(list, o)
	}
	return ok(list), nil
}

func (s *Swarm) statusOf(v *service) object {
	desired, replicated := replicas(v.spec)
	run := 0
	for _, t := range s.tasks {
		if t.service != v {
			continue
		}
		if t.state == running && t.desired <= running {
			run++
		}
		if !replicated && t.desired <= running {
			desired++
		}
	}
	return object{"RunningTasks": run, "DesiredTasks": desired, "CompletedTasks": 0}
}

func (s *Swarm) inspectService(c *call) (answer, error) {
	v, err := s.service(c.id)
	if err != nil {
		return answer{}, err
	}
	o := v.json()
	if text := c.query.Get("insertDefaults"); text != "" {
		insert, err := strconv.ParseBool(text)
		if err != nil {
			return answer{}, badRequest("invalid value for insertDefaults: %s: %s", text, err)
		}
		if insert {
			o["Spec"] = withDefaults(v.spec)
		}
	}
	return ok(o), nil
}
