package apitest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"

	"weft/engine/fault"
	"weft/engine/model"
)

type networkBackend struct{ e *Engine }

// addNetworkLocked makes an overlay network with the next free subnet.
func (e *Engine) addNetworkLocked(name string, ingress bool) *network.Inspect {
	e.networks = append(e.networks, network.Inspect{
		Name: name, ID: newSwarmID(), Created: e.now(), Scope: "swarm", Driver: "overlay", EnableIPv4: true, Ingress: ingress,
		IPAM: network.IPAM{Driver: "default", Config: []network.IPAMConfig{{
			Subnet: fmt.Sprintf("10.0.%d.0/24", e.subnets), Gateway: fmt.Sprintf("10.0.%d.1", e.subnets),
		}}},
		Options: map[string]string{}, Labels: map[string]string{},
	})
	e.subnets++
	return &e.networks[len(e.networks)-1]
}

// AddNetwork makes a network whatever the swarm says, for names that occur
// twice and other rarities, and gives its ID.
func (e *Engine) AddNetwork(nw network.Inspect) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	made := e.addNetworkLocked(nw.Name, nw.Ingress)
	nw.ID, nw.Created, nw.IPAM = made.ID, made.Created, made.IPAM
	*made = nw
	return nw.ID
}

func (b networkBackend) Networks(context.Context) ([]network.Inspect, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return slices.Clone(b.e.networks), nil
}

func (b networkBackend) Network(_ context.Context, id string, verbose bool) (network.Inspect, error) {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.networks, func(n network.Inspect) bool { return n.ID == id })
	if i < 0 {
		return network.Inspect{}, fault.NotFound("network %s not found", id)
	}
	nw := e.networks[i]
	nw.Containers = map[string]network.EndpointResource{}
	for _, c := range e.containers {
		for _, ep := range c.Endpoints {
			if ep.NetworkID == id {
				nw.Containers[c.ID] = network.EndpointResource{
					Name: c.Spec.Name, EndpointID: ep.ID, MacAddress: ep.MAC.String(), IPv4Address: ep.Addr.String(),
				}
			}
		}
	}
	if nw.Ingress { // every node is in it; of another network only its own nodes are
		for _, n := range byID(e.nodes) {
			nw.Peers = append(nw.Peers, network.PeerInfo{Name: n.ID[:12], IP: n.Status.Addr})
		}
	}
	if verbose {
		nw.Services = map[string]network.ServiceInfo{}
	}
	return nw, nil
}

func (b networkBackend) CreateNetwork(_ context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case req.Driver == "" || req.Driver == "bridge":
		return network.CreateResponse{}, fault.Unsupported("this engine has no bridge networks yet: create an overlay network with --driver overlay")
	case req.Driver != "overlay":
		return network.CreateResponse{}, fault.NotFound("plugin %q not found", req.Driver)
	case slices.ContainsFunc(e.networks, func(n network.Inspect) bool { return n.Name == req.Name }):
		return network.CreateResponse{}, fault.Conflict("network with name %s already exists", req.Name)
	}
	if err := e.managerLocked(); err != nil {
		return network.CreateResponse{}, err
	}
	if err := e.ingressFreeLocked(req); err != nil {
		return network.CreateResponse{}, err
	}
	nw := e.addNetworkLocked(req.Name, req.Ingress)
	nw.Attachable, nw.Internal, nw.Labels, nw.Options = req.Attachable, req.Internal, req.Labels, req.Options
	if req.IPAM != nil && len(req.IPAM.Config) > 0 {
		nw.IPAM.Config = req.IPAM.Config
	}
	return network.CreateResponse{ID: nw.ID}, nil
}

// ingressFreeLocked refuses a second ingress network, and one for containers.
func (e *Engine) ingressFreeLocked(req network.CreateRequest) error {
	if !req.Ingress {
		return nil
	}
	if req.Attachable {
		return fault.Invalid("rpc error: code = InvalidArgument desc = ingress network cannot be attachable")
	}
	if i := slices.IndexFunc(e.networks, func(n network.Inspect) bool { return n.Ingress }); i >= 0 {
		return fault.Conflict("rpc error: code = AlreadyExists desc = ingress network (%s) is already present", e.networks[i].ID)
	}
	return nil
}

// needsIngress reports whether a service publishes a port in ingress mode,
// which is the default.
func needsIngress(s swarm.Service) bool {
	ep := s.Spec.EndpointSpec
	return ep != nil && slices.ContainsFunc(ep.Ports, func(p swarm.PortConfig) bool {
		return p.PublishMode != swarm.PortConfigPublishModeHost
	})
}

func (b networkBackend) RemoveNetwork(_ context.Context, id string) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.networks, func(n network.Inspect) bool { return n.ID == id })
	switch {
	case i < 0:
		return fault.NotFound("network %s not found", id)
	case i == 0:
		return fault.Forbidden("none is a pre-defined network and cannot be removed")
	}
	for _, s := range byID(e.services) {
		if e.networks[i].Ingress && needsIngress(s) {
			return fault.Invalid("rpc error: code = FailedPrecondition desc = ingress network cannot be removed because service %s depends on it", s.ID)
		}
		if slices.ContainsFunc(s.Spec.TaskTemplate.Networks, func(n swarm.NetworkAttachmentConfig) bool {
			return n.Target == id || n.Target == e.networks[i].Name
		}) {
			return fault.Invalid("rpc error: code = FailedPrecondition desc = network %s is in use by service %s", id, s.ID)
		}
	}
	for _, c := range e.containers {
		if slices.ContainsFunc(c.Endpoints, func(ep model.Endpoint) bool { return ep.NetworkID == id }) {
			return fault.Invalid("rpc error: code = FailedPrecondition desc = network %s is in use by task %s", id, c.ID[:25])
		}
	}
	e.networks = slices.Delete(e.networks, i, i+1)
	return nil
}

func (e *Engine) networkLocked(name string) (*network.Inspect, error) {
	i := slices.IndexFunc(e.networks, func(n network.Inspect) bool { return n.ID == name || n.Name == name })
	if i < 0 {
		i = slices.IndexFunc(e.networks, func(n network.Inspect) bool { return strings.HasPrefix(n.ID, name) })
	}
	if i < 0 {
		return nil, fault.NotFound("network %s not found", name)
	}
	return &e.networks[i], nil
}

func (b networkBackend) Connect(_ context.Context, networkName, name string, settings *network.EndpointSettings) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findLocked(name)
	if err != nil {
		return err
	}
	req := model.NetworkRequest{Network: networkName}
	if settings != nil {
		req.Aliases = settings.Aliases
		if settings.IPAMConfig != nil && settings.IPAMConfig.IPv4Address != "" {
			req.Addr = netip.MustParseAddr(settings.IPAMConfig.IPv4Address)
		}
	}
	c.Spec.Networks = append(c.Spec.Networks, req)
	if c.State != model.StateRunning {
		return nil
	}
	return e.attachLocked(c, req)
}

// attachLocked gives a container an endpoint with the next address.
func (e *Engine) attachLocked(c *container, req model.NetworkRequest) error {
	nw, err := e.networkLocked(req.Network)
	if err != nil {
		return err
	}
	if nw.Name == network.NetworkNone {
		return nil
	}
	if !nw.Attachable {
		return fault.Forbidden("Could not attach to network %s: rpc error: code = PermissionDenied desc = network %s not manually attachable", nw.Name, nw.Name)
	}
	if slices.ContainsFunc(c.Endpoints, func(ep model.Endpoint) bool { return ep.NetworkID == nw.ID }) {
		return fault.Forbidden("endpoint with name %s already exists in network %s", c.Spec.Name, nw.Name)
	}
	subnet := netip.MustParsePrefix(nw.IPAM.Config[0].Subnet)
	used := map[netip.Addr]bool{}
	for _, other := range e.containers {
		for _, ep := range other.Endpoints {
			used[ep.Addr.Addr()] = true
		}
	}
	gateway := subnet.Masked().Addr().Next()
	addr := req.Addr
	if !addr.IsValid() {
		for addr = gateway.Next(); used[addr]; {
			addr = addr.Next()
		}
	} else if used[addr] {
		return fault.Forbidden("Address already in use")
	}
	c.Endpoints = append(c.Endpoints, model.Endpoint{
		ID: model.NewID(), NetworkID: nw.ID, NetworkName: nw.Name, ContainerID: c.ID, Name: c.Spec.Name,
		Addr: netip.PrefixFrom(addr, subnet.Bits()), Gateway: gateway, MAC: model.MACFromAddr(addr), TaskAliases: req.Aliases,
	})
	return nil
}

func (b networkBackend) Disconnect(_ context.Context, networkName, name string, _ bool) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findLocked(name)
	if err != nil {
		return err
	}
	nw, err := e.networkLocked(networkName)
	if err != nil {
		return err
	}
	asked := func(r model.NetworkRequest) bool { return r.Network == nw.Name || r.Network == nw.ID }
	if !slices.ContainsFunc(c.Spec.Networks, asked) {
		return fault.Forbidden("container %s is not connected to network %s", c.ID, networkName)
	}
	c.Spec.Networks = slices.DeleteFunc(c.Spec.Networks, asked)
	c.Endpoints = slices.DeleteFunc(c.Endpoints, func(ep model.Endpoint) bool { return ep.NetworkID == nw.ID })
	return nil
}
