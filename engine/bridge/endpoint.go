package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
)

// Join plugs ep.Sandbox into the network and gives the endpoint completed. One
// that is plugged in already is adopted, with its published ports.
func (d *Driver) Join(_ context.Context, ep model.Endpoint) (model.Endpoint, error) {
	n := d.get(ep.NetworkID)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bridge == 0 {
		return ep, fault.NotFound("network %s is not present on this node", ep.NetworkName)
	}
	for _, s := range n.spec.Subnets {
		if s.Prefix.Addr().Is6() {
			ep.GatewayV6 = s.Gateway
		} else {
			ep.Gateway = s.Gateway
		}
	}
	if ep.MAC == (model.MAC{}) {
		ep.MAC = model.MACFromAddr(ep.Addr.Addr())
	}
	sandbox, err := kernel.Open(ep.Sandbox)
	if errdefs.IsNotFound(err) {
		return ep, fault.NotFound("sandbox of endpoint %s (%s): %w", ep.Name, ep.ID, err)
	}
	if err != nil {
		return ep, err
	}
	defer func() { _ = sandbox.Close() }()
	name, made, err := link.EnsureVeth(d.host, sandbox, link.Veth{
		Name: vethName(ep.ID), Bridge: n.bridge, IfName: ep.IfName, IfPrefix: n.settings.ifPrefix, MTU: n.settings.mtu,
		MAC: ep.MAC, Addrs: addrs(ep), Isolated: !n.settings.icc && !d.rulesSeeFrames(),
		// A container that asks for its own published port: see rulesSeeFrames.
		Hairpin: true,
	})
	if err != nil {
		return ep, err
	}
	ep.IfName = name
	joined := &endpoint{Endpoint: ep}
	n.endpoints[ep.ID] = joined
	if err := d.adoptPorts(n, joined); err != nil {
		delete(n.endpoints, ep.ID)
		if made {
			err = errors.Join(err, link.Remove(d.host, vethName(ep.ID)))
		}
		return ep, err
	}
	return joined.Endpoint, nil
}

// adoptPorts publishes what an earlier driver published, at the same ports.
func (d *Driver) adoptPorts(n *network, ep *endpoint) error {
	for _, p := range ep.Ports {
		r, err := d.reserve(p)
		if err != nil {
			// The rules redirect all the same.
			d.log.Warn("published port is not held", "endpoint_id", ep.ID, "port", p.HostPort, "err", err)
			continue
		}
		r.serve(d.log, d.host, target(ep.Endpoint, p.Port))
		ep.reserved = append(ep.reserved, r)
	}
	if len(ep.Ports) == 0 {
		return nil
	}
	return d.writeRules(n)
}

func addrs(ep model.Endpoint) []netip.Prefix {
	return slices.DeleteFunc([]netip.Prefix{ep.Addr, ep.AddrV6}, func(p netip.Prefix) bool { return !p.IsValid() })
}

// Leave unplugs an endpoint and ends its published ports. Neither it nor its
// sandbox nor the network need be there any more.
func (d *Driver) Leave(_ context.Context, networkID, endpointID string) error {
	n := d.get(networkID)
	n.mu.Lock()
	defer n.mu.Unlock()
	ep := n.endpoints[endpointID]
	err := link.Remove(d.host, vethName(endpointID))
	if ep == nil {
		return err
	}
	delete(n.endpoints, endpointID)
	return errors.Join(err, d.unpublish(n, ep))
}

// Publish makes exactly these ports of an endpoint reachable on the host and
// says where they are. When one of them can't be, none is.
func (d *Driver) Publish(_ context.Context, networkID, endpointID string, wanted []model.PortBinding) ([]model.PublishedPort, error) {
	n := d.get(networkID)
	n.mu.Lock()
	defer n.mu.Unlock()
	ep := n.endpoints[endpointID]
	if ep == nil {
		return nil, fault.NotFound("endpoint %s is not on network %s", endpointID, networkID)
	}
	if err := d.unpublish(n, ep); err != nil || len(wanted) == 0 {
		return nil, err
	}
	for _, w := range wanted {
		if err := n.publish(d, ep, w); err != nil {
			return nil, errors.Join(err, d.unpublish(n, ep))
		}
	}
	if err := d.writeRules(n); err != nil {
		return nil, errors.Join(err, d.unpublish(n, ep))
	}
	return slices.Clone(ep.Ports), nil
}

// publish reserves the port of one binding, on each address it means.
func (n *network) publish(d *Driver, ep *endpoint, w model.PortBinding) error {
	if n.settings.routed4 && !ep.AddrV6.IsValid() {
		ep.Ports = append(ep.Ports, model.PublishedPort{Port: w.Port})
		return nil
	}
	reserved, err := d.reserveAny(w, n.hostAddrs(w, ep))
	if errors.Is(err, unix.EADDRINUSE) {
		err = d.name(err, w)
	}
	if err != nil {
		return fmt.Errorf("driver failed programming external connectivity on endpoint %s (%s): %w", ep.Name, ep.ID, err)
	}
	for _, r := range reserved {
		r.serve(d.log, d.host, target(ep.Endpoint, w.Port))
		ep.Ports = append(ep.Ports, r.port)
	}
	ep.reserved = append(ep.reserved, reserved...)
	return nil
}

// hostAddrs gives the addresses of the host a binding means: every one of
// both families, where it names none.
func (n *network) hostAddrs(w model.PortBinding, ep *endpoint) []netip.Addr {
	switch {
	case w.HostIP.IsValid() && !w.HostIP.IsUnspecified():
		return []netip.Addr{w.HostIP}
	case w.HostIP.IsValid() && w.HostIP.Is6():
		return []netip.Addr{netip.IPv6Unspecified()}
	case w.HostIP.IsValid():
		return []netip.Addr{netip.IPv4Unspecified()}
	case n.settings.hostBinding.IsValid() && !n.settings.hostBinding.IsUnspecified():
		return []netip.Addr{n.settings.hostBinding}
	case w.Proto == "sctp" && !ep.AddrV6.IsValid():
		return []netip.Addr{netip.IPv4Unspecified()}
	}
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// unpublish ends the published ports of ep, and the flows through them.
func (d *Driver) unpublish(n *network, ep *endpoint) error {
	if len(ep.Ports) == 0 {
		return nil
	}
	err := release(ep.reserved)
	ep.Ports, ep.reserved = nil, nil
	err = errors.Join(err, d.writeRules(n))
	for _, a := range addrs(ep.Endpoint) {
		// A datagram of a known flow would not meet the new rules.
		err = errors.Join(err, kernel.ForgetFlows(d.host, a.Addr()))
	}
	return err
}

// target is where a published port leads.
func target(ep model.Endpoint, p model.Port) netip.AddrPort {
	return netip.AddrPortFrom(ep.Addr.Addr(), p.Port)
}
