package swarmtest

import (
	"encoding/json"
	"net/http"
)

// AddService creates a service of a spec in JSON, and gives its ID. The test
// fails when the swarm refuses it.
func (s *Swarm) AddService(spec string) string {
	s.tb.Helper()
	return s.add("/services/create", spec, "ID")
}

// AddNetwork creates a network of a request in JSON, and gives its ID.
func (s *Swarm) AddNetwork(request string) string {
	s.tb.Helper()
	return s.add("/networks/create", request, "Id")
}

func (s *Swarm) add(path, body, key string) string {
	s.tb.Helper()
	status, text := s.Do(http.MethodPost, path, body)
	if status != http.StatusCreated {
		s.tb.Errorf("%s %s: %d %s", path, body, status, text)
		return ""
	}
	o, err := decode([]byte(text))
	if err != nil {
		s.tb.Error(err)
	}
	return str(o, key)
}

// UpdateService changes a service's spec, as somebody else would.
func (s *Swarm) UpdateService(name string, change func(spec map[string]any)) {
	s.tb.Helper()
	status, text := s.Do(http.MethodGet, "/services/"+name, "")
	o, err := decode([]byte(text))
	if status != http.StatusOK || err != nil {
		s.tb.Errorf("service %s: %d %s", name, status, text)
		return
	}
	spec := child(o, "Spec")
	change(spec)
	version, _ := child(o, "Version")["Index"].(json.Number)
	status, text = s.Do(http.MethodPost, "/services/"+name+"/update?version="+version.String(), canonical(spec))
	if status != http.StatusOK {
		s.tb.Errorf("update %s: %d %s", name, status, text)
	}
}

// Busy fills a new swarm with 12 services that publish 20 ports, most of them
// through the ingress network, and two overlay networks. It has settled.
func Busy() Option { return func(c *config) { c.busy = true } }

func (s *Swarm) fill() {
	s.tb.Helper()
	s.AddNetwork(`{"Name":"back","Driver":"overlay","Attachable":true,"IPAM":{"Config":[{"Subnet":"10.60.0.0/24"}]},` +
		`"Options":{"com.docker.network.driver.mtu":"1400"},"Labels":{"tier":"data"}}`)
	s.AddNetwork(`{"Name":"front","Driver":"overlay"}`)
	s.Settle()
	for _, spec := range busyServices() {
		if s.cfg.unknownFields {
			spec = withUnknown(spec)
		}
		s.AddService(spec)
	}
	s.Settle()
	s.UpdateService("api", func(spec map[string]any) { child(spec, "Labels")["release"] = "2" })
	s.Settle()
}

// withUnknown adds fields of a future API to a spec, in each of its objects
// that a workflow on ports has to do with.
func withUnknown(text string) string {
	spec, err := decode([]byte(text))
	if err != nil {
		panic(err) // our own
	}
	spec["FutureField"] = object{"Kept": true, "Number": json.Number("12345678901234567890")}
	child(spec, "TaskTemplate")["FutureTaskField"] = "kept"
	if e := child(spec, "EndpointSpec"); e != nil {
		e["FutureEndpointField"] = []any{"kept"}
		for _, p := range objects(e, "Ports") {
			p["FuturePortField"] = "kept"
		}
	}
	return canonical(spec)
}

// busyServices are the specs of Busy: 20 ports, of which 14 are published
// through the ingress network and 6 on the nodes.
func busyServices() []string {
	const image = `"TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest","Args":["sleep","1000"]}}`
	return []string{
		`{"Name":"web","Labels":{"com.example.team":"shop"},` + image + `,"Mode":{"Replicated":{"Replicas":3}},` +
			`"UpdateConfig":{"Parallelism":2,"Delay":1000000000,"Order":"start-first"},` +
			`"EndpointSpec":{"Ports":[{"Name":"http","Protocol":"tcp","TargetPort":80,"PublishedPort":80,"PublishMode":"ingress"},` +
			`{"Name":"https","Protocol":"tcp","TargetPort":443,"PublishedPort":443,"PublishMode":"ingress"}]}}`,
		`{"Name":"api","Labels":{"release":"1"},` + image + `,"Mode":{"Replicated":{"Replicas":2}},` +
			`"EndpointSpec":{"Mode":"vip","Ports":[{"Protocol":"tcp","TargetPort":8080,"PublishedPort":8080,"PublishMode":"ingress"}]}}`,
		`{"Name":"dns","TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest"},"Networks":[{"Target":"back","Aliases":["ns"]}]},` +
			`"Mode":{"Replicated":{"Replicas":2}},"EndpointSpec":{"Ports":[` +
			`{"Protocol":"udp","TargetPort":53,"PublishedPort":53,"PublishMode":"ingress"},` +
			`{"Protocol":"tcp","TargetPort":53,"PublishedPort":53,"PublishMode":"ingress"}]}}`,
		`{"Name":"agent",` + image + `,"Mode":{"Global":{}},` +
			`"EndpointSpec":{"Ports":[{"Protocol":"tcp","TargetPort":9100,"PublishedPort":9100,"PublishMode":"host"}]}}`,
		`{"Name":"proxy",` + image + `,"Mode":{"Global":{}},"UpdateConfig":{"Parallelism":0,"FailureAction":"rollback"},` +
			`"EndpointSpec":{"Ports":[{"Protocol":"tcp","TargetPort":3128,"PublishedPort":3128,"PublishMode":"ingress"}]}}`,
		`{"Name":"db","TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest"},"Networks":[{"Target":"back"}]},` +
			`"EndpointSpec":{"Ports":[{"Protocol":"tcp","TargetPort":5432,"PublishedPort":5432,"PublishMode":"host"}]}}`,
		`{"Name":"batch",` + image + `,"Mode":{"Replicated":{"Replicas":0}},` +
			`"EndpointSpec":{"Ports":[{"Protocol":"tcp","TargetPort":7000,"PublishedPort":7000,"PublishMode":"ingress"}]}}`,
		`{"Name":"range",` + image + `,"Mode":{"Replicated":{"Replicas":1}},"EndpointSpec":{"Ports":[` +
			`{"Protocol":"tcp","TargetPort":6000,"PublishedPort":6000,"PublishMode":"ingress"},` +
			`{"Protocol":"tcp","TargetPort":6001,"PublishedPort":6001,"PublishMode":"ingress"},` +
			`{"Protocol":"tcp","TargetPort":6002,"PublishedPort":6002,"PublishMode":"ingress"},` +
			`{"Protocol":"tcp","TargetPort":6003,"PublishedPort":6003,"PublishMode":"ingress"}]}}`,
		`{"Name":"mixed",` + image + `,"Mode":{"Replicated":{"Replicas":1}},"EndpointSpec":{"Ports":[` +
			`{"Protocol":"tcp","TargetPort":8001,"PublishedPort":8001,"PublishMode":"ingress"},` +
			`{"Protocol":"udp","TargetPort":8002,"PublishedPort":8002,"PublishMode":"host"},` +
			`{"Protocol":"tcp","TargetPort":8003,"PublishedPort":8003,"PublishMode":"host"}]}}`,
		`{"Name":"chosen",` + image + `,"Mode":{"Replicated":{"Replicas":1}},` +
			`"EndpointSpec":{"Ports":[{"Protocol":"tcp","TargetPort":9000,"PublishMode":"ingress"}]}}`,
		`{"Name":"stats","TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest"},"Networks":[{"Target":"front"}],"ForceUpdate":4},` +
			`"Mode":{"Replicated":{"Replicas":2}},"EndpointSpec":{"Ports":[` +
			`{"Protocol":"udp","TargetPort":8125,"PublishedPort":8125,"PublishMode":"ingress"},` +
			`{"Protocol":"udp","TargetPort":514,"PublishedPort":514,"PublishMode":"host"}]}}`,
		`{"Name":"quiet",` + image + `,"Mode":{"Replicated":{"Replicas":1}},"EndpointSpec":{"Mode":"dnsrr","Ports":[` +
			`{"Protocol":"tcp","TargetPort":2222,"PublishedPort":2222,"PublishMode":"host"}]}}`,
	}
}
