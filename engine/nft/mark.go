package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
)

// Where the addresses are in an Ethernet header, their last four bytes: of an
// endpoint's MAC they are its IPv4 address (model.MACFromAddr).
const (
	toMAC   = 2
	fromMAC = 6 + 2
	lastMAC = 4
)

// New matches the first packet of a flow.
func New() Rule { return bits(expr.CtKeySTATE, ctNew) }

// Invalid matches packets that are of no flow and begin none.
func Invalid() Rule { return bits(expr.CtKeySTATE, ctInvalid) }

// Replying matches packets to who began the flow.
func Replying() Rule {
	return of(
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: regAddr},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: []byte{ctReply}},
	)
}

// ctReply is IP_CT_DIR_REPLY (linux/netfilter/nf_conntrack_tuple_common.h).
const ctReply = 1

// SetFlowMark gives the flow a mark.
func SetFlowMark(mark uint32) Rule {
	return of(
		&expr.Immediate{Register: regAddr, Data: binary.NativeEndian.AppendUint32(nil, mark)},
		&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: regAddr},
	)
}

// FlowMarked matches flows with a mark, whichever.
func FlowMarked() Rule {
	return of(
		&expr.Ct{Key: expr.CtKeyMARK, Register: regAddr},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regAddr, Data: make([]byte, 4)},
	)
}

// FlowMark matches flows with this mark.
func FlowMark(mark uint32) Rule {
	return of(
		&expr.Ct{Key: expr.CtKeyMARK, Register: regAddr},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: binary.NativeEndian.AppendUint32(nil, mark)},
	)
}

// MarkFlowBySender gives the flow the last four bytes of the sender's MAC
// address as its mark.
func MarkFlowBySender() Rule {
	return of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseLLHeader, Offset: fromMAC, Len: lastMAC},
		&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: regAddr},
	)
}

// MarkAsFlow gives the packet its flow's mark.
func MarkAsFlow() Rule {
	return of(
		&expr.Ct{Key: expr.CtKeyMARK, Register: regAddr},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regAddr},
	)
}

// Marked matches packets with a mark, whichever.
func Marked() Rule {
	return of(
		&expr.Meta{Key: expr.MetaKeyMARK, Register: regAddr},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regAddr, Data: make([]byte, 4)},
	)
}

// SendToMark makes the packet's mark the last four bytes of the MAC address
// its frame goes to. It is for Egress.
func SendToMark() Rule {
	return of(
		&expr.Meta{Key: expr.MetaKeyMARK, Register: regAddr},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: regAddr,
			Base: expr.PayloadBaseLLHeader, Offset: toMAC, Len: lastMAC,
		},
	)
}

// SendToAlias makes the last four bytes of the MAC address a frame goes to those
// at an offset in its IP header, of which mask counts, and base, which has none
// of mask's bits, besides. It is for tables with a Device.
func SendToAlias(offset, mask, base uint32) Rule {
	return of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: lastMAC},
		&expr.Bitwise{
			SourceRegister: regAddr, DestRegister: regAddr, Len: lastMAC,
			Mask: binary.BigEndian.AppendUint32(nil, mask), Xor: binary.BigEndian.AppendUint32(nil, base),
		},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: regAddr,
			Base: expr.PayloadBaseLLHeader, Offset: toMAC, Len: lastMAC,
		},
	)
}

// Ends of the addresses in the IP headers that SendToAlias is for (RFC 791 and
// RFC 8200).
const (
	SourceV4 = srcV4
	TargetV4 = dstV4
	NodeV6   = srcV6 + 8  // of an alias that is the source
	TaskV6   = dstV6 + 12 // of one that is the destination
)

// Source gives a flow another source address.
func Source(a netip.Addr) Rule {
	return of(
		&expr.Immediate{Register: regAddr, Data: a.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(family(a)), RegAddrMin: regAddr},
	)
}
