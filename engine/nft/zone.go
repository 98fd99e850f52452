package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ZoneBySender gives flows to the ports of a set a conntrack zone of their
// own by who sent their frames, in the direction from the client only: the
// last two bytes of the MAC address. Flows of one client through two senders,
// which are alike but for that, are two flows then; answers have no zone, so
// the kernel gives the second flow another source port if it has to.
//
// It appends one rule to a chain that is there, of packets of one device. The
// library that writes the others has no word for the direction of a zone
// (NFTA_CT_DIRECTION).
func (c *Conn) ZoneBySender(table, chain string, ports Set) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: c.ns.Fd()})
	if err != nil {
		return fmt.Errorf("open nftables in %s: %w", c.ns.Path(), err)
	}
	rule := attributes(
		text(unix.NFTA_RULE_TABLE, table),
		text(unix.NFTA_RULE_CHAIN, chain),
		nested(unix.NFTA_RULE_EXPRESSIONS, slices.Concat(
			step("meta", number32(unix.NFTA_META_KEY, unix.NFT_META_L4PROTO), number32(unix.NFTA_META_DREG, firstPart)),
			step("payload", payload(firstPart+1, unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2)...),
			step("lookup", text(unix.NFTA_LOOKUP_SET, ports.Name), number32(unix.NFTA_LOOKUP_SREG, firstPart)),
			step("payload", payload(regAddr, unix.NFT_PAYLOAD_LL_HEADER, fromMAC+2, 2)...),
			step("ct", number32(unix.NFTA_CT_KEY, unix.NFT_CT_ZONE), number32(unix.NFTA_CT_SREG, regAddr),
				netlink.Attribute{Type: unix.NFTA_CT_DIRECTION, Data: []byte{0}}),
		)),
	)
	err = batch(conn, unix.NFPROTO_INET, unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, rule)
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("zones in chain %s of nftables table %s in %s: %w", chain, table, c.ns.Path(), err)
	}
	return nil
}
