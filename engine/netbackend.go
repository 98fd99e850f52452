package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/network"

	"weft/engine/fault"
	"weft/engine/localnet"
	"weft/engine/model"
)

// networkBackend answers dockerapi.Networks: the networks of the swarm where
// this node is a manager, those present here where it is a worker.
type networkBackend struct{ e *Engine }

func (b networkBackend) Networks(ctx context.Context) ([]network.Inspect, error) {
	var out []network.Inspect
	for _, nw := range b.e.local.Networks() {
		out = append(out, inspectOf(nw))
	}
	if b.e.control.Info(ctx).ControlAvailable {
		swarm, err := b.e.control.Networks(ctx)
		return append(out, swarm...), err
	}
	present, err := b.e.networks.remembered()
	if err != nil {
		return nil, err
	}
	for _, nw := range present {
		out = append(out, inspectOf(nw))
	}
	return out, nil
}

// inspectOf gives Docker's form of a network this node knows by itself: its own
// ones, and on a worker those of its tasks.
func inspectOf(nw model.Network) network.Inspect {
	in := network.Inspect{
		Name: nw.Name, ID: nw.ID, Created: nw.Created, Scope: string(nw.Scope), Driver: nw.Driver,
		EnableIPv4: true, EnableIPv6: nw.IPv6, Internal: nw.Internal, Attachable: nw.Attachable, Ingress: nw.Ingress,
		IPAM:       network.IPAM{Driver: "default", Options: map[string]string{}, Config: []network.IPAMConfig{}},
		Containers: map[string]network.EndpointResource{}, Options: nonNil(nw.Options), Labels: nonNil(nw.Labels), ConfigOnly: nw.ConfigOnly,
	}
	in.ConfigFrom.Network = nw.ConfigFrom
	for _, s := range nw.Subnets {
		c := network.IPAMConfig{Subnet: s.Prefix.String()}
		if s.Gateway.IsValid() && (s.Chosen || !s.GatewayChosen) { // as Docker shows it
			c.Gateway = s.Gateway.String()
		}
		if s.IPRange.IsValid() {
			c.IPRange = s.IPRange.String()
		}
		for name, a := range s.Aux {
			if c.AuxAddress == nil {
				c.AuxAddress = map[string]string{}
			}
			c.AuxAddress[name] = a.String()
		}
		in.IPAM.Config = append(in.IPAM.Config, c)
	}
	return in
}

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func (b networkBackend) Network(ctx context.Context, id string, verbose bool) (network.Inspect, error) {
	all, err := b.Networks(ctx)
	if err != nil {
		return network.Inspect{}, err
	}
	i := slices.IndexFunc(all, func(n network.Inspect) bool { return n.ID == id })
	if i < 0 {
		return network.Inspect{}, fault.NotFound("network %s not found", id)
	}
	in := all[i]
	if err := b.addContainers(ctx, &in); err != nil {
		return in, err
	}
	for _, m := range b.e.networks.members(id) {
		in.Peers = append(in.Peers, network.PeerInfo{Name: m.ID, IP: m.Addr.String()})
	}
	if verbose {
		in.Services = services(b.e.networks.records(id), b.e.networks.vteps(id))
	}
	return in, nil
}

// addContainers lists this node's endpoints under their containers' IDs, as
// Docker does, and the other nodes' under "ep-" and the endpoint's ID, the form
// Docker uses for endpoints without a container here.
func (b networkBackend) addContainers(ctx context.Context, in *network.Inspect) error {
	all, err := b.e.workload.Containers(ctx)
	if err != nil {
		return err
	}
	in.Containers = map[string]network.EndpointResource{}
	local := map[string]bool{}
	for _, c := range all {
		for _, ep := range c.AllEndpoints() {
			if ep.NetworkID != in.ID {
				continue
			}
			local[ep.ID] = true
			in.Containers[c.ID] = resourceOf(ep.Name, ep)
		}
	}
	for _, ep := range b.e.attachments.Endpoints() {
		if ep.NetworkID == in.ID {
			local[ep.ID] = true
			in.Containers[ep.ContainerID] = resourceOf(ep.Name, ep)
		}
	}
	b.e.ingress.describe(in)
	for _, r := range b.e.networks.records(in.ID) {
		if !local[r.EndpointID] {
			in.Containers["ep-"+r.EndpointID] = network.EndpointResource{
				Name: r.Name, EndpointID: r.EndpointID, MacAddress: model.MACFromAddr(r.Addr).String(),
				IPv4Address: b.withBits(*in, r.Addr),
			}
		}
	}
	return nil
}

// withBits writes addr with the prefix length of the subnet it is in.
func (networkBackend) withBits(in network.Inspect, addr netip.Addr) string {
	for _, c := range in.IPAM.Config {
		if p, err := netip.ParsePrefix(c.Subnet); err == nil && p.Contains(addr) {
			return netip.PrefixFrom(addr, p.Bits()).String()
		}
	}
	return addr.String()
}

// services groups the rows of the endpoint table as `network inspect -v` does:
// containers outside services are tasks of one without a name, and no VIP is
// Go's text of a nil net.IP.
func services(records []model.Record, vteps map[string]netip.Addr) map[string]network.ServiceInfo {
	out := map[string]network.ServiceInfo{}
	for _, r := range records {
		s, ok := out[r.ServiceName]
		if !ok {
			s = network.ServiceInfo{VIP: "<nil>", Ports: []string{}}
		}
		if r.VIP.IsValid() {
			s.VIP = r.VIP.String()
		}
		task := network.Task{Name: r.Name, EndpointID: r.EndpointID, EndpointIP: r.Addr.String()}
		if vtep, ok := vteps[r.EndpointID]; ok {
			task.Info = map[string]string{"Host IP": vtep.String()}
		}
		s.Tasks = append(s.Tasks, task)
		out[r.ServiceName] = s
	}
	return out
}

func (b networkBackend) CreateNetwork(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	if localnet.Predefined(req.Name) {
		return network.CreateResponse{}, fault.Forbidden("operation is not permitted on predefined %s network", req.Name)
	}
	if req.Driver == "overlay" {
		id, err := b.e.control.CreateNetwork(ctx, req)
		return network.CreateResponse{ID: id}, err
	}
	nw, err := bridgeNetwork(req)
	if err != nil {
		return network.CreateResponse{}, err
	}
	if nw, err = b.e.local.Create(ctx, nw); err != nil {
		return network.CreateResponse{}, err
	}
	b.publish(nw, "create")
	return network.CreateResponse{ID: nw.ID}, nil
}

func (b networkBackend) publish(nw model.Network, action string) {
	b.e.events.Publish(model.Event{
		Type: "network", Action: action, ActorID: nw.ID, Scope: model.ScopeLocal,
		Attributes: map[string]string{"name": nw.Name, "type": nw.Driver},
	})
}

func (b networkBackend) RemoveNetwork(ctx context.Context, id string) error {
	nw, local := b.e.local.Network(id)
	if !local {
		return b.e.control.RemoveNetwork(ctx, id)
	}
	all, err := b.e.workload.Containers(ctx)
	if err != nil {
		return err
	}
	var users []string
	for _, c := range all {
		for _, ep := range c.AllEndpoints() {
			if ep.NetworkID == id {
				users = append(users, fmt.Sprintf("name:%q id:%q", c.Spec.Name, c.ID[:12]))
			}
		}
	}
	for _, ep := range b.e.attachments.Endpoints() {
		if ep.NetworkID == id {
			users = append(users, fmt.Sprintf("name:%q id:%q", ep.Name, ep.ContainerID[:12]))
		}
	}
	if len(users) > 0 {
		return fault.Forbidden("error while removing network: network %s has active endpoints (%s)", nw.Name, strings.Join(users, ", "))
	}
	if err := b.e.local.Remove(ctx, id); err != nil {
		return err
	}
	b.publish(nw, "destroy")
	return nil
}

func (b networkBackend) Connect(ctx context.Context, networkName, container string, settings *network.EndpointSettings) error {
	id, err := b.lookup(ctx, networkName)
	if err != nil {
		return err
	}
	c, err := b.e.workload.Container(ctx, container)
	if err != nil {
		return err
	}
	if nw, ok := b.e.local.Network(id); ok {
		switch {
		case nw.Name == localnet.Host:
			return fault.Invalid("cannot connect container to host network - container must be created in host network mode")
		case nw.Name == localnet.None:
			return fault.Forbidden("container cannot be connected to multiple networks with one of the networks in private (none) mode")
		}
	}
	if c.Spec.NetworkMode == model.ModeNone {
		return fault.Forbidden("container cannot be connected to multiple networks with one of the networks in private (none) mode")
	}
	req, err := requestFrom(networkName, settings)
	if err != nil {
		return err
	}
	if id == "" && c.State != model.StateRunning && b.e.control.Info(ctx).ControlAvailable {
		return fault.NotFound("network %s not found", networkName)
	}
	return b.e.workload.Connect(ctx, container, req, id)
}

func (b networkBackend) Disconnect(ctx context.Context, networkName, container string, _ bool) error {
	id, err := b.lookup(ctx, networkName)
	if err != nil {
		return err
	}
	if id == "" {
		return fault.NotFound("network %s not found", networkName)
	}
	if nw, ok := b.e.local.Network(id); ok && nw.Name == localnet.Host {
		return fault.Invalid("cannot disconnect container from host network - container was created in host network mode")
	}
	return b.e.workload.Disconnect(ctx, container, networkName, id)
}

// lookup gives the ID of a network by ID, name or prefix; empty for one that
// is not known here, about which only the swarm can tell.
func (b networkBackend) lookup(ctx context.Context, name string) (string, error) {
	all, err := b.Networks(ctx)
	if err != nil {
		return "", err
	}
	var match []string
	for _, n := range all {
		if n.ID == name || n.Name == name {
			return n.ID, nil
		}
		if len(name) > 0 && len(n.ID) > len(name) && n.ID[:len(name)] == name {
			match = append(match, n.ID)
		}
	}
	if len(match) == 1 {
		return match[0], nil
	}
	if len(match) == 0 && b.e.control.NodeID() != "" {
		return "", nil
	}
	return "", fault.NotFound("network %s not found", name)
}

func requestFrom(networkName string, s *network.EndpointSettings) (model.NetworkRequest, error) {
	req := model.NetworkRequest{Network: networkName}
	if s == nil {
		return req, nil
	}
	req.Aliases, req.GwPriority = s.Aliases, s.GwPriority
	if s.IPAMConfig == nil {
		return req, nil
	}
	for _, a := range []struct {
		text string
		to   *netip.Addr
	}{{s.IPAMConfig.IPv4Address, &req.Addr}, {s.IPAMConfig.IPv6Address, &req.AddrV6}} {
		if a.text == "" {
			continue
		}
		addr, err := netip.ParseAddr(a.text)
		if err != nil {
			return req, fault.Invalid("invalid IP address %q: %w", a.text, err)
		}
		*a.to = addr
	}
	return req, nil
}
