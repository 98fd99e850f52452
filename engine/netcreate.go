package engine

import (
	"net/netip"

	"github.com/docker/docker/api/types/network"

	"weft/engine/bridge"
	"weft/engine/fault"
	"weft/engine/model"
)

// bridgeNetwork gives the network of this node a request describes. What can't
// be is refused in dockerd's words (daemon/network.go).
func bridgeNetwork(req network.CreateRequest) (model.Network, error) {
	var nw model.Network
	switch req.Driver {
	case "", "bridge":
	case "host", "null":
		return nw, fault.Forbidden("only one instance of %q network is allowed", req.Driver)
	case "macvlan", "ipvlan":
		return nw, fault.Unsupported("this engine has no %s networks: use --driver bridge or overlay", req.Driver)
	default:
		return nw, fault.NotFound("plugin %q not found", req.Driver)
	}
	v6 := req.EnableIPv6 != nil && *req.EnableIPv6
	switch {
	case req.Name == "":
		return nw, fault.Invalid("invalid name: name is empty")
	case req.Ingress:
		return nw, fault.Forbidden("Ingress network can only be global scope network: create it with --driver overlay")
	case req.Scope == string(model.ScopeSwarm):
		return nw, fault.Unsupported("this engine's swarm networks are overlays: use --driver overlay, or leave --scope out")
	case req.EnableIPv4 != nil && !*req.EnableIPv4:
		return nw, fault.Unsupported("this engine's bridge networks always have IPv4: leave --ipv4=false out")
	case req.IPAM != nil && req.IPAM.Driver != "" && req.IPAM.Driver != "default":
		return nw, fault.NotFound("plugin %q not found", req.IPAM.Driver)
	case req.ConfigOnly && req.ConfigFrom != nil:
		return nw, fault.Forbidden("configuration network can't depend on another configuration network")
	}
	if err := network.ValidateIPAM(req.IPAM, v6); err != nil {
		return nw, fault.Invalid("%w", err)
	}
	nw = model.Network{
		Name: req.Name, Driver: "bridge", IPv6: v6, Internal: req.Internal, Attachable: req.Attachable,
		Options: req.Options, Labels: req.Labels, ConfigOnly: req.ConfigOnly,
	}
	if req.ConfigFrom != nil {
		nw.ConfigFrom = req.ConfigFrom.Network
	}
	if req.IPAM != nil {
		for _, c := range req.IPAM.Config {
			s, err := subnetOf(c)
			if err != nil {
				return nw, err
			}
			if s.Prefix.Addr().Is4() || v6 { // as Docker, which passes over the others
				nw.Subnets = append(nw.Subnets, s)
			}
		}
	}
	if nw.ConfigOnly {
		return nw, nil
	}
	return nw, bridge.Check(nw)
}

// subnetOf converts what ValidateIPAM has found well formed.
func subnetOf(c network.IPAMConfig) (s model.Subnet, err error) {
	if s.Prefix, err = netip.ParsePrefix(c.Subnet); err != nil {
		return s, fault.Invalid("invalid subnet %s: %w", c.Subnet, err)
	}
	if c.IPRange != "" {
		if s.IPRange, err = netip.ParsePrefix(c.IPRange); err != nil {
			return s, fault.Invalid("invalid ip-range %s: %w", c.IPRange, err)
		}
	}
	if c.Gateway != "" {
		if s.Gateway, err = netip.ParseAddr(c.Gateway); err != nil {
			return s, fault.Invalid("invalid gateway %s: %w", c.Gateway, err)
		}
	}
	for name, text := range c.AuxAddress {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return s, fault.Invalid("invalid auxiliary address %s: %w", name, err)
		}
		if s.Aux == nil {
			s.Aux = map[string]netip.Addr{}
		}
		s.Aux[name] = a
	}
	return s, nil
}
