package overlay

import (
	"errors"
	"net/netip"

	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/nft"
)

// guard lets an endpoint send nothing under other addresses than its own. What
// goes from one of its aliases (model.Aliases) is an answer, and is given its
// destination here: the leg of the host that is in the alias. It is
// for tasks on the ingress network, where nothing else is of use and clients'
// flows are at stake: what a task answers to is told by the sender of frames,
// and nodes find tasks by asking for their address. The table is in the
// network's namespace, which no container reaches.
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
	chain := nft.Chain{Name: "own", Kind: nft.Filter, Hook: nft.Ingress, Rules: []nft.Rule{
		nft.When(nft.NotSentBy(ep.MAC), nft.Drop()),
		nft.When(nft.FromMasked(alias[0], mask[0]), nft.SendToAlias(back, aliases.NodeMask(), aliases.Base()), nft.Accept()),
		nft.When(nft.PacketFrom(own(ep.Addr.Addr())), nft.Accept()),
		nft.When(nft.ARPFrom(ep.MAC, ep.Addr.Addr()), nft.Accept()),
	}}
	if ep.AddrV6.IsValid() {
		chain.Rules = append(chain.Rules,
			nft.When(nft.FromMasked(alias[1], mask[1]), nft.SendToAlias(nft.NodeV6, ^uint32(0), 0), nft.Accept()),
			nft.When(nft.AdvertisesOther(ep.AddrV6.Addr()), nft.Drop()))
		for _, from := range []netip.Prefix{own(ep.AddrV6.Addr()), netip.MustParsePrefix("fe80::/10"), own(netip.IPv6Unspecified())} {
			chain.Rules = append(chain.Rules, nft.When(nft.PacketFrom(from), nft.Accept()))
		}
	}
	chain.Rules = append(chain.Rules, nft.Drop())
	device := vethName(ep.ID)
	return rules.Replace(nft.Table{Name: device, Device: device, Chains: []nft.Chain{chain}})
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
