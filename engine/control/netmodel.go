package control

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/docker/docker/daemon/cluster/convert"
	gogotypes "github.com/gogo/protobuf/types"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/model"
)

// The options Docker's overlay driver knows.
const (
	optVNIs      = "com.docker.network.driver.overlay.vxlanid_list"
	optMTU       = "com.docker.network.driver.mtu"
	optEncrypted = "encrypted"
)

// networkModel converts a network, allocated or not.
func networkModel(n *api.Network) model.Network {
	out := model.Network{
		ID:         n.ID,
		Name:       n.Spec.Annotations.Name,
		Driver:     overlayDriver,
		Scope:      model.ScopeSwarm,
		IPv6:       n.Spec.Ipv6Enabled,
		Internal:   n.Spec.Internal,
		Attachable: n.Spec.Attachable,
		Ingress:    convert.IsIngressNetwork(n),
		Labels:     n.Spec.Annotations.Labels,
		Options:    map[string]string{},
		Subnets:    subnetModels(n),
	}
	for _, d := range []*api.Driver{n.Spec.DriverConfig, n.DriverState} {
		if d == nil {
			continue
		}
		if d.Name != "" {
			out.Driver = d.Name
		}
		for k, v := range d.Options {
			out.Options[k] = v
		}
	}
	if mtu, err := strconv.Atoi(out.Options[optMTU]); err == nil {
		out.MTU = mtu
	}
	out.Created, _ = gogotypes.TimestampFromProto(n.Meta.CreatedAt)
	return out
}

func subnetModels(n *api.Network) []model.Subnet {
	if n.IPAM == nil {
		return nil
	}
	vnis := vniList(n)
	var v4, v6 []model.Subnet
	for _, ic := range n.IPAM.Configs {
		s, ok := subnetModel(ic)
		switch {
		case !ok:
		case s.Prefix.Addr().Is6():
			v6 = append(v6, s)
		default:
			if len(v4) < len(vnis) {
				s.VNI = vnis[len(v4)]
			}
			v4 = append(v4, s)
		}
	}
	return append(v4, v6...)
}

func subnetModel(ic *api.IPAMConfig) (model.Subnet, bool) {
	p, err := netip.ParsePrefix(ic.Subnet)
	if err != nil {
		return model.Subnet{}, false
	}
	s := model.Subnet{Prefix: p.Masked()}
	s.Gateway, _ = netip.ParseAddr(ic.Gateway)
	s.IPRange, _ = netip.ParsePrefix(ic.Range)
	for name, a := range ic.Reserved {
		if addr, err := netip.ParseAddr(a); err == nil {
			if s.Aux == nil {
				s.Aux = map[string]netip.Addr{}
			}
			s.Aux[name] = addr
		}
	}
	return s, true
}

// vniList gives one VNI per IPv4 subnet, in their order.
func vniList(n *api.Network) []model.VNI {
	if n.DriverState == nil || n.DriverState.Options[optVNIs] == "" {
		return nil
	}
	var out []model.VNI
	for _, s := range strings.Split(n.DriverState.Options[optVNIs], ",") {
		v, err := strconv.ParseUint(s, 10, 24)
		if err != nil {
			return nil
		}
		out = append(out, model.VNI(v))
	}
	return out
}

// encrypted reports whether the network asks for encrypted traffic: the option
// is on by being there, unless its value says otherwise.
func encrypted(n *api.Network) bool {
	for _, d := range []*api.Driver{n.Spec.DriverConfig, n.DriverState} {
		if d == nil {
			continue
		}
		if v, ok := d.Options[optEncrypted]; ok {
			if on, err := strconv.ParseBool(v); err != nil || on {
				return true
			}
		}
	}
	return false
}

// attachmentModel converts an allocated attachment and derives its IPv6
// address.
func attachmentModel(na *api.NetworkAttachment) model.Attachment {
	out := model.Attachment{Network: networkModel(na.Network), Aliases: na.Aliases}
	for _, s := range na.Addresses {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			continue
		}
		out.Addrs = append(out.Addrs, p)
		if seg, ok := out.Network.Segment(p.Addr()); ok && out.Network.IPv6 {
			if v6 := seg.AddrV6(p.Addr()); v6.IsValid() {
				out.Addrs = append(out.Addrs, v6)
			}
		}
	}
	return out
}
