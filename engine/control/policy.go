package control

import (
	"reflect"

	"github.com/docker/docker/api/types/swarm"

	"weft/engine/fault"
)

// noVIP is told when a service asked for a virtual IP.
const noVIP = "this engine has no virtual IPs yet: the service uses endpoint mode dnsrr, its name resolves to the addresses of its tasks"

// endpointPolicy fits a service's endpoint to what this engine's data plane
// can do: no virtual IPs and no published ports yet. An endpoint that an update
// leaves as it is passes untouched, as it may be served by other nodes.
func endpointPolicy(spec *swarm.ServiceSpec, current *swarm.EndpointSpec) (warnings []string, err error) {
	if current != nil && reflect.DeepEqual(spec.EndpointSpec, current) {
		return nil, nil
	}
	ep := swarm.EndpointSpec{}
	if spec.EndpointSpec != nil {
		ep = *spec.EndpointSpec
	}
	for _, p := range ep.Ports {
		if p.PublishMode == swarm.PortConfigPublishModeHost {
			return nil, fault.Unsupported("cannot publish port %d in host mode: this engine does not publish ports yet: create the service without published ports and reach its tasks over an overlay network", p.TargetPort)
		}
		if ep.Mode != swarm.ResolutionModeDNSRR { // with dnsrr SwarmKit refuses in Docker's words
			return nil, fault.Unsupported("cannot publish port %d in ingress mode: this engine has no routing mesh yet: create the service without published ports and reach its tasks over an overlay network", p.TargetPort)
		}
	}
	if ep.Mode == "" || ep.Mode == swarm.ResolutionModeVIP {
		ep.Mode = swarm.ResolutionModeDNSRR
		spec.EndpointSpec = &ep
		return []string{noVIP}, nil
	}
	return nil, nil
}
