package swarmtest

import (
	"encoding/json"
	"slices"
)

// port is a published port of a spec.
type port struct {
	proto, mode       string
	target, published int
}

func (p port) json() object {
	o := object{"Protocol": p.proto, "TargetPort": p.target, "PublishMode": p.mode}
	if p.published != 0 {
		o["PublishedPort"] = p.published
	}
	return o
}

func portsJSON(list []port) []object {
	var ports []object
	for _, p := range list {
		ports = append(ports, p.json())
	}
	return ports
}

// ports gives the published ports of a service spec.
func ports(spec object) []port { return endpointPorts(child(spec, "EndpointSpec")) }

func endpointPorts(endpoint object) []port {
	var list []port
	for _, p := range objects(endpoint, "Ports") {
		list = append(list, port{
			proto: str(p, "Protocol"), mode: str(p, "PublishMode"), target: number(p, "TargetPort"), published: number(p, "PublishedPort"),
		})
	}
	return list
}

// needsIngress tells whether a service publishes a port through the ingress
// network.
func needsIngress(spec object) bool { return hasIngressPort(child(spec, "EndpointSpec")) }

func hasIngressPort(endpoint object) bool {
	return slices.ContainsFunc(endpointPorts(endpoint), func(p port) bool { return p.mode == modeIngress })
}

const (
	modeIngress = "ingress"
	modeHost    = "host"
)

// targets gives the IDs of the networks a service uses.
func targets(spec object) []string {
	from := child(spec, "TaskTemplate")
	if len(objects(from, "Networks")) == 0 {
		from = spec
	}
	var ids []string
	for _, n := range objects(from, "Networks") {
		ids = append(ids, str(n, "Target"))
	}
	return ids
}

// replicas gives how many tasks a replicated service has, and false for a
// global one.
func replicas(spec object) (int, bool) {
	r := child(child(spec, "Mode"), "Replicated")
	return number(r, "Replicas"), r != nil
}

func count(n int) json.Number { return json.Number(canonical(n)) }

// completeSpec completes a service spec as dockerd does by keeping it in its own
// types: reading it back gives the same for the same. Fields it does not know
// stay.
func completeSpec(spec object) {
	strip(spec)
	setDefault(spec, "Labels", object{})
	tmpl := child(spec, "TaskTemplate")
	setDefault(tmpl, "ForceUpdate", count(0))
	setDefault(tmpl, "Runtime", "container")
	if c := child(tmpl, "ContainerSpec"); c != nil {
		setDefault(c, "Isolation", "default")
		dropEmpty(c, "Labels")
	}
	if p := child(tmpl, "RestartPolicy"); p != nil {
		setDefault(p, "MaxAttempts", count(0))
	}
	mode := child(spec, "Mode")
	if len(mode) == 0 {
		mode = object{"Replicated": object{}}
		spec["Mode"] = mode
	}
	if r := child(mode, "Replicated"); r != nil {
		setDefault(r, "Replicas", count(1))
	}
	for _, key := range []string{"UpdateConfig", "RollbackConfig"} {
		if u := child(spec, key); u != nil {
			for field, value := range map[string]any{
				"Parallelism": count(0), "FailureAction": "pause", "MaxFailureRatio": count(0), "Order": "stop-first",
			} {
				setDefault(u, field, value)
			}
		}
	}
	if e := child(spec, "EndpointSpec"); e != nil {
		completeEndpoint(e)
	}
}

func completeEndpoint(e object) {
	if str(e, "Mode") == "" {
		e["Mode"] = "vip"
	}
	for _, p := range objects(e, "Ports") {
		if str(p, "Protocol") == "" {
			p["Protocol"] = "tcp"
		}
		if str(p, "PublishMode") == "" {
			p["PublishMode"] = modeIngress
		}
		for _, key := range []string{"PublishedPort", "TargetPort"} {
			if number(p, key) == 0 {
				delete(p, key)
			}
		}
	}
}

// dropEmpty removes an object without fields.
func dropEmpty(o object, key string) {
	if c, there := o[key].(object); there && len(c) == 0 {
		delete(o, key)
	}
}

// withDefaults is a spec as `insertDefaults` shows it: what applies though
// nobody asked for it.
func withDefaults(spec object) object {
	o := clone(spec)
	tmpl := child(o, "TaskTemplate")
	setDefault(tmpl, "Resources", object{})
	setDefault(tmpl, "Placement", object{})
	setDefault(tmpl, "RestartPolicy", object{})
	policy := child(tmpl, "RestartPolicy")
	setDefault(policy, "Condition", "any")
	setDefault(policy, "Delay", 5000000000)
	setDefault(policy, "MaxAttempts", 0)
	container := child(tmpl, "ContainerSpec")
	setDefault(container, "StopGracePeriod", 10000000000)
	setDefault(container, "DNSConfig", object{})
	for _, key := range []string{"UpdateConfig", "RollbackConfig"} {
		given := has(o, key)
		setDefault(o, key, object{})
		u := child(o, key)
		if !given {
			u["Parallelism"] = 1
		}
		setDefault(u, "FailureAction", "pause")
		setDefault(u, "Monitor", 5000000000)
		setDefault(u, "MaxFailureRatio", 0)
		setDefault(u, "Order", "stop-first")
	}
	setDefault(o, "EndpointSpec", object{"Mode": "vip"})
	return o
}

// validateSpec checks a spec as SwarmKit does.
func validateSpec(spec object) error {
	if str(child(child(spec, "TaskTemplate"), "ContainerSpec"), "Image") == "" {
		return grpc("InvalidArgument", "ContainerSpec: image reference must be provided")
	}
	if n, replicated := replicas(spec); replicated && n < 0 {
		return grpc("InvalidArgument", "Number of replicas must be non-negative")
	}
	type key struct {
		proto     string
		published int
	}
	taken := map[key]bool{}
	for _, p := range ports(spec) {
		if p.mode == modeIngress && str(child(spec, "EndpointSpec"), "Mode") == "dnsrr" {
			return grpc("InvalidArgument", "EndpointSpec: port published with ingress mode can't be used with dnsrr mode")
		}
		k := key{p.proto, p.published}
		if p.published != 0 && taken[k] {
			return grpc("InvalidArgument", "EndpointSpec: duplicate published ports provided")
		}
		taken[k] = true
	}
	return nil
}

// portConflict finds a port another service has. Host-mode ports may meet:
// the scheduler keeps them apart.
func (s *Swarm) portConflict(spec object, self *service) error {
	for _, v := range s.services {
		if v == self {
			continue
		}
		theirs := slices.Concat(ports(v.spec), v.ports)
		for _, p := range ports(spec) {
			i := slices.IndexFunc(theirs, func(q port) bool {
				return p.published != 0 && q.published == p.published && q.proto == p.proto && (p.mode == modeIngress || q.mode == modeIngress)
			})
			if i < 0 {
				continue
			}
			how := "an ingress port"
			if theirs[i].mode == modeHost {
				how = "a host-published port"
			}
			return grpc("InvalidArgument", "port '%d' is already in use by service '%s' (%s) as %s", p.published, v.name(), v.id, how)
		}
	}
	return nil
}
