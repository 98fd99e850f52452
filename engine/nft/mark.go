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

// Source gives a flow another source address.
func Source(a netip.Addr) Rule {
	return of(
		&expr.Immediate{Register: regAddr, Data: a.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(family(a)), RegAddrMin: regAddr},
	)
}
