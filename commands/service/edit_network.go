package service

import (
	"cmp"
	"context"
	"fmt"
	"sort"

	"github.com/docker/docker/api/types/swarm"
)

// editNetworks adds and removes attachments. Attachments in the field the API
// deprecated are moved to the task, where they belong now.
func (o *updateOptions) editNetworks(ctx context.Context, networks NetworkInspector, spec *swarm.ServiceSpec) error {
	attached := spec.TaskTemplate.Networks
	if len(attached) == 0 {
		attached = spec.Networks //nolint:staticcheck // SA1019: services made by old clients still have it
	}
	gone := map[string]bool{}
	for _, name := range o.networkRemove.GetSlice() {
		id, err := networkID(ctx, networks, name)
		if err != nil {
			return err
		}
		gone[id] = true
	}
	var kept []swarm.NetworkAttachmentConfig
	present := map[string]bool{}
	for _, a := range attached {
		if !gone[a.Target] {
			kept = append(kept, a)
			present[a.Target] = true
		}
	}
	for _, n := range o.flags.networks.Value() {
		id, err := networkID(ctx, networks, n.Target)
		if err != nil {
			return err
		}
		if present[id] {
			return fmt.Errorf("service is already attached to network %s", n.Target)
		}
		present[id] = true
		kept = append(kept, swarm.NetworkAttachmentConfig{Target: id, Aliases: n.Aliases, DriverOpts: n.DriverOpts})
	}
	sortAttachments(kept)
	spec.Networks = nil //nolint:staticcheck // SA1019: emptied on purpose
	spec.TaskTemplate.Networks = kept
	return nil
}

// editEndpoint changes the endpoint mode and the published ports.
func (o *updateOptions) editEndpoint(spec *swarm.ServiceSpec) {
	f := o.flags
	if !f.changed(flagEndpointMode, flagPublishAdd, flagPublishRemove) {
		return
	}
	if spec.EndpointSpec == nil {
		spec.EndpointSpec = &swarm.EndpointSpec{}
	}
	setIf(f, flagEndpointMode, &spec.EndpointSpec.Mode, swarm.ResolutionMode(f.endpointMode))
	if f.changed(flagPublishAdd, flagPublishRemove) {
		spec.EndpointSpec.Ports = editedPorts(spec.EndpointSpec.Ports, f.ports.Value(), o.publishRemove.Value())
	}
}

// editedPorts drops the ports whose target, protocol and publish mode are to
// be removed and adds those not yet there.
func editedPorts(old, add, remove []swarm.PortConfig) []swarm.PortConfig {
	known := map[string]bool{}
	out := []swarm.PortConfig{}
	for _, p := range old {
		if known[portKey(p)] {
			continue
		}
		known[portKey(p)] = true
		if !removesPort(remove, p) {
			out = append(out, p)
		}
	}
	for _, p := range add {
		if !known[portKey(p)] {
			out = append(out, p)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return portKey(out[i]) < portKey(out[j]) })
	return out
}

func portKey(p swarm.PortConfig) string {
	return fmt.Sprintf("%d:%d/%s/%s", p.PublishedPort, p.TargetPort, p.Protocol, p.PublishMode)
}

func removesPort(remove []swarm.PortConfig, p swarm.PortConfig) bool {
	for _, rm := range remove {
		if rm.TargetPort == p.TargetPort &&
			cmp.Or(rm.Protocol, swarm.PortConfigProtocolTCP) == cmp.Or(p.Protocol, swarm.PortConfigProtocolTCP) &&
			cmp.Or(rm.PublishMode, swarm.PortConfigPublishModeIngress) == cmp.Or(p.PublishMode, swarm.PortConfigPublishModeIngress) {
			return true
		}
	}
	return false
}
