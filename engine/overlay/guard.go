package overlay

import (
	"errors"
	"net/netip"
	"slices"

	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/nft"
)

// guard lets an endpoint send nothing under other addresses than its own. What
// goes from one of its aliases (model.Aliases) is an answer, and is given its
// destination here: the leg of the host that is in the alias. It is for tasks on
// the ingress network, where nothing else is of use and clients' flows are at
// stake: what a task answers to is told by the sender of frames, and nodes find
// tasks by asking for their address. The table is in the network's namespace,
// which no container reaches.
func (n *network) guard(ep model.Endpoint) error {
	if !guarded(n.spec, ep) {
		return nil
	}
	rules, err := n.tables()
	if err != nil {
		return err
	}
	aliases := model.AliasesOf(ep.Addr)
	alias, mask := aliases.Own(ep.Addr.Addr())
	own := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
	back := uint32(nft.SourceV4 - aliases.Shift()/8) //nolint:gosec // at least 8
	forward := nft.Chain{Name: "forward"}
	nearby := nft.Chain{Name: "nearby"}
	var vxlan, port int
	if n.leg != nil {
		forward.Rules = []nft.Rule{nft.When(nft.SentTo(n.leg.mac()), nft.Jump(nearby.Name))}
		if port, err = n.legPort(); err != nil {
			return err
		}
		if s := n.segment(ep.Addr.Addr()); s != nil {
			vxlan = s.vxlan
		}
	}
	answer := func(i int, to nft.Rule) []nft.Rule {
		from := nft.FromMasked(alias[i], mask[i])
		return []nft.Rule{nft.When(from, to, nft.Jump(forward.Name)), nft.When(from, nft.Accept())}
	}
	chain := nft.Chain{Name: "own", Kind: nft.Filter, Hook: nft.Ingress, Rules: slices.Concat(
		[]nft.Rule{nft.When(nft.NotSentBy(ep.MAC), nft.Drop())},
		answer(0, nft.SendToAlias(back, aliases.NodeMask(), aliases.Base())),
		[]nft.Rule{
			nft.When(nft.PacketFrom(own(ep.Addr.Addr())), nft.Accept()),
			nft.When(nft.ARPFrom(ep.MAC, ep.Addr.Addr()), nft.Accept()),
		},
	)}
	if ep.AddrV6.IsValid() {
		chain.Rules = append(chain.Rules, answer(1, nft.SendToAlias(nft.NodeV6, ^uint32(0), 0))...)
		chain.Rules = append(chain.Rules, nft.When(nft.AdvertisesOther(ep.AddrV6.Addr()), nft.Drop()))
		for _, kind := range []byte{nft.RouterAdvertisement, nft.NeighborRedirect} { // it is no router
			chain.Rules = append(chain.Rules, nft.When(nft.Discovery(kind), nft.Drop()))
		}
		for _, from := range []netip.Prefix{own(ep.AddrV6.Addr()), netip.MustParsePrefix("fe80::/10"), own(netip.IPv6Unspecified())} {
			chain.Rules = append(chain.Rules, nft.When(nft.PacketFrom(from), nft.Accept()))
		}
	}
	chain.Rules = append(chain.Rules, nft.Drop())
	device := vethName(ep.ID)
	err = rules.Replace(nft.Table{Name: device, Device: device, Chains: []nft.Chain{nearby, forward, chain}})
	if err == nil && port != 0 {
		err = rules.ForwardRest(device, nearby.Name, port)
	}
	if err == nil && vxlan != 0 && port != 0 {
		err = rules.ForwardRest(device, forward.Name, vxlan)
	}
	return err
}

// guarded reports whether an endpoint is a task's on the ingress network. The
// node's own place sends what its clients have sent.
func guarded(nw model.Network, ep model.Endpoint) bool { return nw.Ingress && len(ep.Ingress) > 0 }

// tables gives the connection to the namespace's nftables.
func (n *network) tables() (*nft.Conn, error) {
	if n.rules == nil {
		var err error
		if n.rules, err = nft.Open(n.ns); err != nil {
			return nil, err
		}
	}
	return n.rules, nil
}

// closeTables lets go of them.
func (n *network) closeTables() error {
	if n.rules == nil {
		return nil
	}
	err := n.rules.Close()
	n.rules = nil
	return err
}

// deleteGuard deletes the table an earlier driver may have made for a device.
func deleteGuard(ns *kernel.Namespace, device string) error {
	rules, err := nft.Open(ns)
	if err != nil {
		return err
	}
	return errors.Join(rules.DeleteOf(device, device), rules.Close())
}

// unguard removes an endpoint's device with its table.
func (n *network) unguard(ep model.Endpoint) error {
	device := vethName(ep.ID)
	if err := link.Remove(n.ns, device); err != nil || !guarded(n.spec, ep) {
		return err
	}
	rules, err := n.tables()
	if err != nil {
		return err
	}
	return rules.DeleteOf(device, device)
}
