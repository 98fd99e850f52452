package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/model"
)

// fwdDevice is NFTA_FWD_SREG_DEV (linux/netfilter/nf_tables.h).
const fwdDevice = 1

// ForwardRest has frames that get to the end of a chain leave by another device,
// past the bridge theirs is a port of. The chain is of a table with a Device,
// and there. A kernel that can't (CONFIG_NFT_FWD_NETDEV) lets them go on.
func (c *Conn) ForwardRest(table, chain string, device int) error {
	return c.forward(table, chain, step("immediate",
		number32(unix.NFTA_IMMEDIATE_DREG, regAddr),
		nested(unix.NFTA_IMMEDIATE_DATA, attributes(netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: indexOf(device)})),
	))
}

// ForwardBy does the same by the device that a map of the table, from MAC
// addresses to devices, has for where the frame goes. Others go on.
func (c *Conn) ForwardBy(table, chain string, s Set) error {
	return c.forward(table, chain, slices.Concat(
		step("payload", payload(regAddr, unix.NFT_PAYLOAD_LL_HEADER, 0, uint32(len(model.MAC{})))...),
		step("lookup",
			text(unix.NFTA_LOOKUP_SET, s.Name),
			number32(unix.NFTA_LOOKUP_SREG, regAddr), number32(unix.NFTA_LOOKUP_DREG, regAddr),
		),
	))
}

// forward appends a rule whose steps leave a device's index in regAddr.
func (c *Conn) forward(table, chain string, steps []byte) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: c.ns.Fd()})
	if err != nil {
		return fmt.Errorf("open nftables in %s: %w", c.ns.Path(), err)
	}
	rule := attributes(
		text(unix.NFTA_RULE_TABLE, table),
		text(unix.NFTA_RULE_CHAIN, chain),
		nested(unix.NFTA_RULE_EXPRESSIONS, slices.Concat(steps, step("fwd", number32(fwdDevice, regAddr)))),
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

// indexOf is a device's index as the kernel has it.
func indexOf(device int) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(device)) //nolint:gosec // positive
}
