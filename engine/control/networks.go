package control

import (
	"context"
	"net/netip"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/manager/allocator/networkallocator"

	"weft/engine/fault"
	"weft/engine/model"
)

// Networks lists the swarm's networks, without the two SwarmKit keeps as
// stand-ins for every node's bridge and host.
func (n *Node) Networks(ctx context.Context) ([]network.Inspect, error) {
	out := []network.Inspect{}
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		networks, err := listNetworks(ctx, c, nil)
		for _, nw := range networks {
			if !isPredefined(nw) {
				out = append(out, inspectOf(nw))
			}
		}
		return err
	})
	return out, err
}

// Network gives the swarm network with this ID, name or prefix of an ID.
// Subnets, gateways and VNIs are there once SwarmKit has allocated them.
func (n *Node) Network(ctx context.Context, id string) (network.Inspect, error) {
	var out network.Inspect
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		nw, err := findNetwork(ctx, c, id)
		if err == nil {
			out = inspectOf(nw)
		}
		return err
	})
	return out, err
}

// NetworkModel is Network for the engine's own use. On a worker it knows the
// networks of the tasks and attachments it was given.
func (n *Node) NetworkModel(ctx context.Context, nameOrID string) (model.Network, error) {
	if v := n.current().view(); v.conn == nil && v.exec != nil {
		if nw, ok := v.exec.network(nameOrID); ok {
			return nw, nil
		}
		if !v.isManager() {
			return model.Network{}, fault.NotFound("network %s not found", nameOrID)
		}
	}
	var out model.Network
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		nw, err := findNetwork(ctx, c, nameOrID)
		if err == nil {
			out = networkModel(nw)
		}
		return err
	})
	return out, err
}

// CreateNetwork creates an overlay network and gives its ID. It refuses at
// once what SwarmKit would accept and then never allocate.
func (n *Node) CreateNetwork(ctx context.Context, req network.CreateRequest) (string, error) {
	if req.Driver == "" {
		req.Driver = overlayDriver
	}
	if predefinedName(req.Name) {
		return "", fault.Forbidden("%s is a pre-defined network and cannot be created", req.Name)
	}
	var id string
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		existing, err := listNetworks(ctx, c, nil)
		if err != nil {
			return err
		}
		for _, nw := range existing {
			if nw.Spec.Annotations.Name == req.Name {
				return fault.Conflict("network with name %s already exists", req.Name)
			}
		}
		if err := checkNetwork(req, subnetsOf(existing)); err != nil {
			return err
		}
		spec := networkSpec(req)
		r, err := c.CreateNetwork(ctx, &api.CreateNetworkRequest{Spec: &spec})
		if err == nil {
			id = r.Network.ID
		}
		return err
	})
	return id, err
}

// RemoveNetwork removes a swarm network nothing uses. A refusal names all that
// do.
func (n *Node) RemoveNetwork(ctx context.Context, id string) error {
	return n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		nw, err := findNetwork(ctx, c, id)
		if err != nil {
			return err
		}
		if err := checkDrained(ctx, c, nw); err != nil {
			return err
		}
		_, err = c.RemoveNetwork(ctx, &api.RemoveNetworkRequest{NetworkID: nw.ID})
		return named(ctx, c, nw, err)
	})
}

func isPredefined(nw *api.Network) bool {
	return nw.Spec.Annotations.Labels[networkallocator.PredefinedLabel] == "true"
}

func predefinedName(name string) bool {
	switch name {
	case "bridge", "host", "none", "default":
		return true
	}
	return false
}

// networkSpec adds to Docker's conversion what that leaves out: reserved
// addresses and the family of each pool.
func networkSpec(req network.CreateRequest) api.NetworkSpec {
	spec := convert.BasicNetworkCreateToGRPC(req)
	if spec.IPAM == nil {
		return spec
	}
	for i, ic := range spec.IPAM.Configs {
		ic.Reserved = req.IPAM.Config[i].AuxAddress
		ic.Family = api.IPAMConfig_IPV4
		if isV6(ic.Subnet) {
			ic.Family = api.IPAMConfig_IPV6
		}
	}
	return spec
}

func isV6(subnet string) bool {
	p, err := netip.ParsePrefix(subnet)
	return err == nil && p.Addr().Is6()
}

// inspectOf is Docker's conversion, which before the allocation shows neither
// driver nor addresses; then the wanted ones are shown.
func inspectOf(nw *api.Network) network.Inspect {
	shown := *nw
	if shown.IPAM == nil {
		shown.IPAM = shown.Spec.IPAM
	}
	if shown.DriverState == nil {
		shown.DriverState = shown.Spec.DriverConfig
	}
	return convert.BasicNetworkFromGRPC(shown)
}
