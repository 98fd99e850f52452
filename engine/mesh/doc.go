// Package mesh is the data plane of published ports: a port answers on every
// host of the swarm, whichever hosts its tasks are on, and the task sees the
// client's own address.
//
// There are two ways. The straight one is for TCP and for tasks that are to see
// the client and can answer at an alias (model.Aliases): the host's table
// (Host) gives the flow a task, by an alias of that, and sends it by a leg of
// the host's own in the ingress network. The alias has the node in it, so the
// answer finds back.
//
// All other flows pass three namespaces, each with a table of this package's:
//
//   - The host's (Host): a flow to a published port at one of the host's
//     addresses is sent over a link of its own to the node's ingress sandbox.
//   - The ingress sandbox's (Node): there the flow gets one of the tasks, at
//     its address on the ingress network and at the published port, which is
//     what Docker's nodes send and expect too.
//   - The task's (Task): the published port becomes the task's own, and answers
//     go back to the node the flow came by.
//
// The last is what lets the source address be. The frames of a flow come from
// the MAC address of the node's ingress endpoint, 02:42 and its IPv4 address.
// These four bytes become the flow's mark; answers get the mark, take a route
// of their own for it, and on their way out the mark becomes the destination of
// the frame. So a task knows nothing of nodes and need not be told of them.
//
// Two clients that are alike in address and port may come by two nodes: one
// host behind both, or containers whose addresses are the same on every host.
// Their flows are kept apart by their aliases, and those by the sandbox by
// conntrack zones, made of the sender's MAC address as well.
package mesh

import (
	"crypto/sha256"
	"fmt"
	"net/netip"

	"weft/engine/nft"
)

const tableName = "weft-mesh"

// Port is a published port.
type Port struct {
	Proto     byte // IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP
	Published uint16
}

// String gives Docker's form, as in 8080/tcp.
func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Published, Proto(p.Proto)) }

func (p Port) key() string { return nft.Key(p.Proto, p.Published) }

// PrefixV6 gives the IPv6 subnet that goes with an ingress network's IPv4
// subnet of that rank: a unique local one (RFC 4193) every node derives alike.
func PrefixV6(networkID string, rank int) netip.Prefix {
	sum := sha256.Sum256([]byte(networkID))
	a := [16]byte{0: 0xfd}
	copy(a[1:10], sum[:])
	a[11] = byte(rank) //nolint:gosec // a few
	return netip.PrefixFrom(netip.AddrFrom16(a), 96)
}
