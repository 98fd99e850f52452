package nft

import (
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What the library has no words for is written by hand, one rule at a time.

// batch is a transaction of one message (linux/netfilter/nfnetlink.h).
func batch(conn *netlink.Conn, family byte, kind uint16, flags netlink.HeaderFlags, body []byte) error {
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
			Data:   append(header(family, 0), body...),
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
