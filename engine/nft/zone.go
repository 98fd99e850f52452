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
	err = batch(conn, unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, rule)
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("zones in chain %s of nftables table %s in %s: %w", chain, table, c.ns.Path(), err)
	}
	return nil
}

// batch is a transaction of one message (linux/netfilter/nfnetlink.h).
func batch(conn *netlink.Conn, kind uint16, flags netlink.HeaderFlags, body []byte) error {
	header := func(family byte, resource uint16) []byte {
		return append([]byte{family, unix.NFNETLINK_V0}, bigEndian(resource)...)
	}
	mark := func(kind netlink.HeaderType) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request}, Data: header(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)}
	}
	sent, err := conn.SendMessages([]netlink.Message{
		mark(unix.NFNL_MSG_BATCH_BEGIN),
		{
			Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | netlink.Acknowledge | flags},
			Data:   append(header(unix.NFPROTO_INET, 0), body...),
		},
		mark(unix.NFNL_MSG_BATCH_END),
	})
	if err != nil {
		return err
	}
	got, err := conn.Receive()
	if err != nil {
		return err
	}
	return netlink.Validate(sent[1], got)
}

func attributes(list ...netlink.Attribute) []byte {
	b, err := netlink.MarshalAttributes(list)
	if err != nil { // only for one that is larger than 64 KiB
		return nil
	}
	return b
}

func nested(kind uint16, data []byte) netlink.Attribute {
	return netlink.Attribute{Type: unix.NLA_F_NESTED | kind, Data: data}
}

func text(kind uint16, s string) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: append([]byte(s), 0)}
}

func number32(kind uint16, n uint32) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: append(bigEndian(uint16(n>>16)), bigEndian(uint16(n))...)} //nolint:gosec // both halves
}

func payload(register, base, offset, size uint32) []netlink.Attribute {
	return []netlink.Attribute{
		number32(unix.NFTA_PAYLOAD_DREG, register), number32(unix.NFTA_PAYLOAD_BASE, base),
		number32(unix.NFTA_PAYLOAD_OFFSET, offset), number32(unix.NFTA_PAYLOAD_LEN, size),
	}
}

// step is one expression of a rule.
func step(name string, list ...netlink.Attribute) []byte {
	return attributes(nested(unix.NFTA_LIST_ELEM, attributes(text(unix.NFTA_EXPR_NAME, name), nested(unix.NFTA_EXPR_DATA, attributes(list...)))))
}
