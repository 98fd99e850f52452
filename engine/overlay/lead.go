package overlay

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/nft"
)

// leg is a port of the bridge by which the host itself is on the network, to
// reach tasks at their aliases (model.Aliases).
type leg struct {
	port string
	node netip.Prefix // the node's address on the network
}

func (l *leg) mac() model.MAC { return model.MACFromAddr(l.node.Addr()).Leg() }

// legChain is the chain of the tables of the leg and of the device to other
// nodes.
const legChain = "leg"

// Lead leads frames between the host's leg and tasks: it makes the destination
// of what comes from the leg, which is in the alias it is for. These frames, and
// all others that come from other nodes for a task, pass the bridge by. port is
// the leg's, node the node's address on the network. It may be repeated.
func (d *Driver) Lead(networkID, port string, node netip.Prefix) error {
	n, err := d.lockPresent(networkID)
	if err != nil {
		return err
	}
	defer d.unlock(networkID, n)
	n.leg = &leg{port: port, node: node}
	errs := []error{n.lead()}
	for _, ep := range n.endpoints {
		errs = append(errs, n.guard(ep))
	}
	return errors.Join(errs...)
}

// lead writes the leg's tables. Without a leg it deletes those an earlier one
// left at the devices to other nodes, which send to devices that may be gone:
// what comes there goes by the bridge.
func (n *network) lead() error {
	if !n.spec.Ingress {
		return nil
	}
	rules, err := n.tables()
	if err != nil {
		return err
	}
	port, err := n.legPort()
	if err != nil {
		return err
	}
	if port == 0 {
		var errs []error
		for i := range n.segments {
			vxlan := vxlanName(n.spec.ID, i)
			errs = append(errs, rules.DeleteOf(vxlan, vxlan))
		}
		return errors.Join(errs...)
	}
	s := n.segment(n.leg.node.Addr())
	near, err := n.near(s)
	if err != nil {
		return err
	}
	vxlan := vxlanName(n.spec.ID, slices.Index(n.segments, s))
	a := model.AliasesOf(n.leg.node)
	there := nft.Chain{Name: legChain, Kind: nft.Filter, Hook: nft.Ingress, Rules: []nft.Rule{
		nft.When(nft.Carrying(unix.ETH_P_IP), nft.SendToAlias(nft.TargetV4, a.TaskMask(), a.Base())),
		nft.When(nft.Carrying(unix.ETH_P_IPV6), nft.SendToAlias(nft.TaskV6, ^uint32(0), 0)),
	}}
	back := nft.Chain{Name: legChain, Kind: nft.Filter, Hook: nft.Ingress}
	inward := near
	inward.Elements = append(slices.Clip(near.Elements), nft.Element{Key: nft.Key(n.leg.mac()), Index: port})
	return errors.Join(
		rules.Replace(nft.Table{Name: n.leg.port, Device: n.leg.port, Sets: []nft.Set{near}, Chains: []nft.Chain{there}}),
		rules.ForwardBy(n.leg.port, legChain, near),
		rules.ForwardRest(n.leg.port, legChain, s.vxlan),
		rules.Replace(nft.Table{Name: vxlan, Device: vxlan, Sets: []nft.Set{inward}, Chains: []nft.Chain{back}}),
		rules.ForwardBy(vxlan, legChain, inward),
	)
}

// legPort gives the index of the leg's port; 0: there is none.
func (n *network) legPort() (int, error) {
	if n.leg == nil || n.segment(n.leg.node.Addr()) == nil {
		return 0, nil
	}
	return link.Index(n.ns, n.leg.port)
}

// near is the devices of a segment's tasks that are on this node.
func (n *network) near(s *segment) (nft.Set, error) {
	near := nft.Set{Name: "near", Key: []nft.Type{nft.MACAddr}, Value: nft.Device}
	for _, ep := range n.endpoints {
		if !guarded(n.spec, ep) || n.segment(ep.Addr.Addr()) != s {
			continue
		}
		device, err := link.Index(n.ns, vethName(ep.ID))
		if err != nil {
			return nft.Set{}, err
		}
		if device != 0 {
			near.Elements = append(near.Elements, nft.Element{Key: nft.Key(ep.MAC), Index: device})
		}
	}
	return near, nil
}
