package overlay

import (
	"context"
	"errors"
	"net/netip"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/peer"
)

// Join plugs ep.Sandbox into the network and gives the endpoint with what was
// decided here filled in: interface name, MAC, IPv6 address, gateways. An
// endpoint that is plugged in already is adopted. The interface gets routes to
// the network's other subnets, and no default route. It is NotFound when the
// network or the sandbox is not there, and a Conflict when the address or the
// interface name is another's.
func (d *Driver) Join(_ context.Context, ep model.Endpoint) (model.Endpoint, error) {
	if err := checkID("endpoint", ep.ID); err != nil {
		return ep, err
	}
	n, err := d.lockPresent(ep.NetworkID)
	if err != nil {
		return ep, err
	}
	defer d.unlock(ep.NetworkID, n)
	full, s, err := n.complete(ep)
	if err != nil {
		return ep, err
	}
	ifName, made, err := d.plug(n, s, full)
	if err != nil {
		return ep, err
	}
	full.IfName = ifName
	err = n.guard(full)
	if err == nil {
		err = n.program(s, s.table.SetLocal(full.Addr.Addr(), true))
	}
	if err != nil {
		if made {
			err = errors.Join(err, link.Remove(n.ns, vethName(full.ID)))
		}
		s.table.SetLocal(full.Addr.Addr(), false)
		return ep, err
	}
	n.endpoints[full.ID] = full
	if err := n.lead(); err != nil {
		return ep, errors.Join(err, n.unplug(full.ID))
	}
	return full, nil
}

// plug makes the veth pair of ep and gives the interface's name in its sandbox.
// That of a bare endpoint is in the host's namespace and has nothing: address
// and MAC are those of who is behind it.
func (d *Driver) plug(n *network, s *segment, ep model.Endpoint) (ifName string, made bool, err error) {
	veth := link.Veth{
		Name: vethName(ep.ID), Bridge: s.bridge, IfName: ep.IfName, MTU: n.mtu,
		MAC: ep.MAC, Addrs: addrs(ep), Routes: n.routes(s),
	}
	if ep.Bare {
		veth.IfName, veth.MAC, veth.Addrs, veth.Routes = bareName(ep.ID), bareMAC(ep.MAC), nil, nil
		return link.EnsureVeth(n.ns, d.host, veth)
	}
	sandbox, err := kernel.Open(ep.Sandbox)
	if errdefs.IsNotFound(err) {
		return "", false, fault.NotFound("sandbox of endpoint %s (%s): %w", ep.Name, ep.ID, err)
	}
	if err != nil {
		return "", false, err
	}
	defer func() { _ = sandbox.Close() }()
	return link.EnsureVeth(n.ns, sandbox, veth)
}

// complete fills in what follows from the network, and finds the segment.
func (n *network) complete(ep model.Endpoint) (model.Endpoint, *segment, error) {
	addr := ep.Addr.Addr()
	s := n.segment(addr)
	if s == nil {
		return ep, nil, fault.Invalid("address %s is in no subnet of network %s", addr, n.spec.Name)
	}
	if addr == s.V4.Gateway {
		return ep, nil, fault.Invalid("address %s is the gateway of network %s", addr, n.spec.Name)
	}
	for id, other := range n.endpoints {
		if id != ep.ID && other.Addr.Addr() == addr {
			return ep, nil, fault.Conflict("address %s of network %s is in use by %s", addr, n.spec.Name, other.Name)
		}
		if id != ep.ID && vethName(id) == vethName(ep.ID) {
			return ep, nil, fault.Conflict("endpoints %s and %s: the first %d characters of their IDs are the same", id, ep.ID, idPart)
		}
	}
	if old, ok := n.endpoints[ep.ID]; ok && old.Addr.Addr() != addr {
		return ep, nil, fault.Conflict("endpoint %s has address %s and can't become %s", ep.ID, old.Addr.Addr(), addr)
	}
	ep.Addr = netip.PrefixFrom(addr, s.V4.Prefix.Bits())
	ep.AddrV6 = s.AddrV6(addr)
	ep.Gateway, ep.GatewayV6 = s.V4.Gateway, s.V6.Gateway
	if ep.MAC == (model.MAC{}) {
		ep.MAC = model.MACFromAddr(addr)
	}
	if ep.MAC[0]&1 != 0 {
		return ep, nil, fault.Invalid("MAC address %s of endpoint %s is a multicast address", ep.MAC, ep.Name)
	}
	return ep, s, nil
}

func (n *network) segment(addr netip.Addr) *segment {
	for _, s := range n.segments {
		if s.V4.Prefix.Contains(addr) {
			return s
		}
	}
	return nil
}

func addrs(ep model.Endpoint) []netip.Prefix {
	if ep.AddrV6.IsValid() {
		return []netip.Prefix{ep.Addr, ep.AddrV6}
	}
	return []netip.Prefix{ep.Addr}
}

// routes leads from segment s to the network's other subnets.
func (n *network) routes(s *segment) []link.Route {
	var out []link.Route
	for _, other := range n.segments {
		if other == s {
			continue
		}
		if s.V4.Gateway.IsValid() {
			out = append(out, link.Route{To: other.V4.Prefix.Masked(), Via: s.V4.Gateway})
		}
		if other.HasV6() && s.V6.Gateway.IsValid() {
			out = append(out, link.Route{To: other.V6.Prefix.Masked(), Via: s.V6.Gateway})
		}
	}
	return out
}

// Leave unplugs the endpoint. Neither the endpoint nor its sandbox nor the
// network need be there any more.
func (d *Driver) Leave(_ context.Context, networkID, endpointID string) error {
	if err := errors.Join(checkID("network", networkID), checkID("endpoint", endpointID)); err != nil {
		return err
	}
	n := d.lock(networkID)
	defer d.unlock(networkID, n)
	if n.ns != nil {
		return n.unplug(endpointID)
	}
	ns, err := kernel.Open(d.path(networkID))
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(link.Remove(ns, vethName(endpointID)), ns.Close())
}

func (n *network) unplug(endpointID string) error {
	ep, ok := n.endpoints[endpointID]
	if !ok {
		return link.Remove(n.ns, vethName(endpointID))
	}
	if err := n.unguard(ep); err != nil {
		return err
	}
	delete(n.endpoints, endpointID)
	err := n.lead()
	if s := n.segment(ep.Addr.Addr()); s != nil {
		err = errors.Join(err, n.program(s, s.table.SetLocal(ep.Addr.Addr(), false)))
	}
	return err
}

// program writes changes to a segment's device. After a failure the next call
// compares everything.
func (n *network) program(s *segment, c peer.Changes) error {
	if s.dirty {
		return n.repair(s)
	}
	if err := peer.Apply(n.ns, s.vxlan, c); err != nil {
		s.dirty = true
		return err
	}
	return nil
}

// repair makes the device's entries those of the table.
func (n *network) repair(s *segment) error {
	have, err := peer.Observe(n.ns, s.vxlan)
	if err == nil {
		err = peer.Apply(n.ns, s.vxlan, peer.Diff(have, s.table.Want()))
	}
	s.dirty = err != nil
	return err
}
