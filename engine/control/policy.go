package control

import (
	"reflect"

	"github.com/docker/docker/api/types/swarm"

	"weft/engine/fault"
)

// endpointPolicy refuses published ports, which this engine's data plane does
// not have yet. An endpoint that an update leaves as it is passes untouched, as
// it may be served by other nodes.
func endpointPolicy(spec *swarm.ServiceSpec, current *swarm.EndpointSpec) error {
	ep := spec.EndpointSpec
	if ep == nil || (current != nil && reflect.DeepEqual(ep, current)) {
		return nil
	}
	for _, p := range ep.Ports {
		if p.PublishMode == swarm.PortConfigPublishModeHost {
			return fault.Unsupported("cannot publish port %d in host mode: this engine does not publish ports yet: create the service without published ports and reach its tasks over an overlay network", p.TargetPort)
		}
		if ep.Mode != swarm.ResolutionModeDNSRR { // with dnsrr SwarmKit refuses in Docker's words
			return fault.Unsupported("cannot publish port %d in ingress mode: this engine has no routing mesh yet: create the service without published ports and reach its tasks over an overlay network", p.TargetPort)
		}
	}
	return nil
}
