package overlay

import (
	"context"
	"errors"
	"net/netip"

	"weft/engine/model"
)

// ApplyPeers takes events of the network's peer table in; the last one of an
// endpoint wins. Endpoints behind this node's own VTEP are not remote and are
// left out. Of several endpoints that claim one address, the one with the
// smallest ID has it, on every node. It is NotFound when the network is not
// present.
func (d *Driver) ApplyPeers(_ context.Context, networkID string, changes []model.PeerChange) error {
	n, err := d.lockPresent(networkID)
	if err != nil {
		return err
	}
	defer d.unlock(networkID, n)
	usable := make([]model.PeerChange, 0, len(changes))
	for _, c := range changes {
		p, ok := d.usable(n, c.Peer)
		usable = append(usable, model.PeerChange{Peer: p, Delete: c.Delete || !ok})
	}
	var errs []error
	for _, s := range n.segments {
		c := s.table.Apply(s.events(usable))
		errs = append(errs, n.program(s, c))
		d.reportRivals(n, s, usable)
	}
	return errors.Join(errs...)
}

// events gives what changes mean for one segment: an endpoint in another one
// is not in this one any more, and news of an address end what was adopted.
func (s *segment) events(changes []model.PeerChange) []model.PeerChange {
	out := make([]model.PeerChange, 0, len(changes))
	for _, c := range changes {
		a := c.Peer.Addr.Addr()
		if id := synthetic + a.String(); a.IsValid() {
			if _, ok := s.table.Get(id); ok {
				out = append(out, model.PeerChange{Peer: model.Peer{EndpointID: id}, Delete: true})
			}
		}
		c.Delete = c.Delete || !s.V4.Prefix.Contains(a)
		out = append(out, c)
	}
	return out
}

// SetPeers makes peers the network's whole set of remote endpoints and brings
// the kernel's entries there, whatever they were. It is NotFound when the
// network is not present.
func (d *Driver) SetPeers(_ context.Context, networkID string, peers []model.Peer) error {
	n, err := d.lockPresent(networkID)
	if err != nil {
		return err
	}
	defer d.unlock(networkID, n)
	bySegment := map[*segment][]model.Peer{}
	for _, p := range peers {
		if p, ok := d.usable(n, p); ok {
			s := n.segment(p.Addr.Addr())
			bySegment[s] = append(bySegment[s], p)
		}
	}
	var errs []error
	for _, s := range n.segments {
		s.table.Set(bySegment[s])
		errs = append(errs, n.repair(s))
	}
	return errors.Join(errs...)
}

// usable completes a peer and says whether it is a remote endpoint that can be
// reached from here. Rows come from other nodes: a wrong one is passed over.
func (d *Driver) usable(n *network, p model.Peer) (model.Peer, bool) {
	p.VTEP = p.VTEP.Unmap()
	if p.VTEP == d.vtep {
		return p, false
	}
	if p.MAC == (model.MAC{}) && p.Addr.Addr().Is4() {
		p.MAC = model.MACFromAddr(p.Addr.Addr())
	}
	var why string
	switch {
	case !p.VTEP.IsValid() || p.VTEP.IsUnspecified() || p.VTEP.IsMulticast():
		why = "its VTEP is not a host's address"
	case p.VTEP.Is4() != d.vtep.Is4():
		why = "its VTEP is of the other IP version"
	case n.segment(p.Addr.Addr()) == nil:
		why = "its address is in no subnet of the network"
	case p.MAC[0]&1 != 0:
		why = "its MAC is a multicast address"
	default:
		return p, true
	}
	d.log.Warn("peer passed over", "network_id", n.spec.ID, "endpoint_id", p.EndpointID,
		"peer_addr", p.Addr, "vtep", p.VTEP, "reason", why)
	return p, false
}

// reportRivals tells of addresses that several endpoints claim.
func (d *Driver) reportRivals(n *network, s *segment, changes []model.PeerChange) {
	seen := map[netip.Addr]bool{}
	for _, c := range changes {
		a := c.Peer.Addr.Addr()
		if c.Delete || seen[a] {
			continue
		}
		seen[a] = true
		if ids := s.table.Claimants(a); len(ids) > 1 {
			d.log.Warn("address claimed by several endpoints", "network_id", n.spec.ID,
				"peer_addr", a, "endpoint_id", ids[0], "passed_over", ids[1:])
		}
	}
}
