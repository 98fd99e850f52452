package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// fwdDevice is NFTA_FWD_SREG_DEV (linux/netfilter/nf_tables.h).
const fwdDevice = 1

// ForwardRest has frames that get to the end of a chain leave by another device,
// past the bridge theirs is a port of. The chain is of a table with a Device,
// and there. A kernel that can't (CONFIG_NFT_FWD_NETDEV) lets them go on.
func (c *Conn) ForwardRest(table, chain string, device int) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: c.ns.Fd()})
	if err != nil {
		return fmt.Errorf("open nftables in %s: %w", c.ns.Path(), err)
	}
	index := binary.NativeEndian.AppendUint32(nil, uint32(device)) //nolint:gosec // positive
	rule := attributes(
		text(unix.NFTA_RULE_TABLE, table),
		text(unix.NFTA_RULE_CHAIN, chain),
		nested(unix.NFTA_RULE_EXPRESSIONS, slices.Concat(
			step("immediate", number32(unix.NFTA_IMMEDIATE_DREG, regAddr),
				nested(unix.NFTA_IMMEDIATE_DATA, attributes(netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: index}))),
			step("fwd", number32(fwdDevice, regAddr)),
		)),
	)
	err = batch(conn, unix.NFPROTO_NETDEV, unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, rule)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("forward from chain %s of nftables table %s in %s: %w", chain, table, c.ns.Path(), err)
	}
	return nil
}
