package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers used by every match and by DNAT, each in its own rule.
const (
	regAddr = 1
	regPort = 2
)

// Where addresses are in the IP headers, RFC 791 and RFC 8200.
const (
	srcV4, dstV4 = 12, 16
	srcV6, dstV6 = 8, 24
)

// InFrom matches packets that came in by the device.
func InFrom(device string) Rule { return name(expr.MetaKeyIIFNAME, expr.CmpOpEq, device) }

// OutBy matches packets that go out by the device.
func OutBy(device string) Rule { return name(expr.MetaKeyOIFNAME, expr.CmpOpEq, device) }

// OutNotBy matches packets that go out by any other device.
func OutNotBy(device string) Rule { return name(expr.MetaKeyOIFNAME, expr.CmpOpNeq, device) }

// InFromIndex is InFrom by the device's index, which costs less and does not
// hold for another device of that name.
func InFromIndex(device int) Rule { return index(expr.MetaKeyIIF, device) }

// OutByIndex is OutBy likewise.
func OutByIndex(device int) Rule { return index(expr.MetaKeyOIF, device) }

func index(key expr.MetaKey, device int) Rule {
	return of(
		&expr.Meta{Key: key, Register: regAddr},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: binary.NativeEndian.AppendUint32(nil, uint32(device))}, //nolint:gosec // positive
	)
}

func name(key expr.MetaKey, op expr.CmpOp, device string) Rule {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, device)
	return of(
		&expr.Meta{Key: key, Register: regAddr},
		&expr.Cmp{Op: op, Register: regAddr, Data: padded},
	)
}

// From matches a source within p.
func From(p netip.Prefix) Rule { return within(p, srcV4, srcV6) }

// To matches a destination within p.
func To(p netip.Prefix) Rule { return within(p, dstV4, dstV6) }

// ToAddr matches one destination.
func ToAddr(a netip.Addr) Rule { return To(netip.PrefixFrom(a, a.BitLen())) }

// ToMasked matches destinations that have the bits of value that mask has.
func ToMasked(value, mask netip.Addr) Rule {
	offset := uint32(dstV4)
	if value.Is6() {
		offset = dstV6
	}
	return When(Family(value), masked(offset, value.AsSlice(), mask.AsSlice()))
}

// within matches the address at one of two offsets, by family.
func within(p netip.Prefix, v4, v6 uint32) Rule {
	return When(Family(p.Addr()), from(p, v4, v6))
}

// from does the same where the family is known.
func from(p netip.Prefix, v4, v6 uint32) Rule {
	p = p.Masked()
	offset := v4
	if p.Addr().Is6() {
		offset = v6
	}
	addr := p.Addr().AsSlice()
	mask := make([]byte, len(addr))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return masked(offset, addr, mask)
}

// masked matches an address at an offset, of which mask has the bits that count.
func masked(offset uint32, addr, mask []byte) Rule {
	size := uint32(len(addr)) //nolint:gosec // 4 or 16
	return of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: regAddr, DestRegister: regAddr, Len: size, Mask: mask, Xor: make([]byte, len(addr))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: addr},
	)
}

// Family matches packets of an address's family.
func Family(a netip.Addr) Rule {
	return of(
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: regAddr},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: []byte{family(a)}},
	)
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}

// Transport matches packets of a protocol to a port of it. proto is one of
// IPPROTO_TCP, IPPROTO_UDP and IPPROTO_SCTP, which have the port in one place.
func Transport(proto byte, port uint16) Rule {
	return When(Protocol(proto), of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: bigEndian(port)},
	))
}

// Protocol matches packets of a protocol above IP.
func Protocol(proto byte) Rule {
	return of(
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: regAddr},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: []byte{proto}},
	)
}

func bigEndian(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// ToThisHost matches a destination that is an address of this namespace.
func ToThisHost() Rule {
	return of(
		&expr.Fib{Register: regAddr, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
	)
}

// Bits of a conntrack state (linux/netfilter/nf_conntrack_common.h).
const (
	ctInvalid     = 1 << 0
	ctEstablished = 1 << 1
	ctRelated     = 1 << 2
	ctNew         = 1 << 3
	ctUntracked   = 1 << 6
	ctStatusDNAT  = 1 << 5
)

// Answers matches packets of flows that were let through before, and what
// belongs to them.
func Answers() Rule { return bits(expr.CtKeySTATE, ctEstablished|ctRelated) }

// AnswersOrUntracked matches Answers and what NoTrack has exempted.
func AnswersOrUntracked() Rule { return bits(expr.CtKeySTATE, ctEstablished|ctRelated|ctUntracked) }

// NoTrack exempts the packet from connection tracking. It is for chains that
// come before that, of PriorityRaw.
func NoTrack() Rule { return of(&expr.Notrack{}) }

// Redirected matches packets of flows whose destination was changed (DNAT).
func Redirected() Rule { return bits(expr.CtKeySTATUS, ctStatusDNAT) }

// NotRedirected matches packets of the other flows; what is of no flow, it
// matches as little as Redirected does.
func NotRedirected() Rule { return test(expr.CtKeySTATUS, ctStatusDNAT, expr.CmpOpEq) }

// bits matches if any of mask's bits is set.
func bits(key expr.CtKey, mask uint32) Rule { return test(key, mask, expr.CmpOpNeq) }

// test compares the bits that mask has with none.
func test(key expr.CtKey, mask uint32, none expr.CmpOp) Rule {
	return of(
		&expr.Ct{Key: key, Register: regAddr},
		&expr.Bitwise{SourceRegister: regAddr, DestRegister: regAddr, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, mask), Xor: make([]byte, 4)},
		&expr.Cmp{Op: none, Register: regAddr, Data: make([]byte, 4)},
	)
}

// Accept ends the chain in favor of the packet.
func Accept() Rule { return of(&expr.Verdict{Kind: expr.VerdictAccept}) }

// Drop ends the packet.
func Drop() Rule { return of(&expr.Verdict{Kind: expr.VerdictDrop}) }

// Return goes back to the chain a jump came from.
func Return() Rule { return of(&expr.Verdict{Kind: expr.VerdictReturn}) }

// Jump goes on in another chain.
func Jump(chain string) Rule { return of(&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}) }

// Masquerade gives a flow the address of the device it leaves by as its source.
func Masquerade() Rule { return of(&expr.Masq{}) }

// KeepSource lets a flow have the source it has: no chain after this one is
// asked.
func KeepSource(a netip.Addr) Rule {
	offset, size := uint32(srcV4), uint32(4)
	if a.Is6() {
		offset, size = srcV6, 16
	}
	return When(Family(a), of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(family(a)), RegAddrMin: regAddr},
	))
}

// Redirect sends a flow to another address and port.
func Redirect(to netip.AddrPort) Rule {
	return of(
		&expr.Immediate{Register: regAddr, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: regPort, Data: bigEndian(to.Port())},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: uint32(family(to.Addr())),
			RegAddrMin: regAddr, RegProtoMin: regPort, Specified: true,
		},
	)
}

// RedirectAddr sends a flow to another address; the port stays as it is.
func RedirectAddr(to netip.Addr) Rule {
	return of(
		&expr.Immediate{Register: regAddr, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(family(to)), RegAddrMin: regAddr},
	)
}

// Refuse ends the packet and tells its sender that the host is out of reach.
func Refuse() Rule {
	return of(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_HOST_UNREACH})
}

// RefusePort ends the packet and tells its sender that nobody listens.
func RefusePort() Rule {
	return of(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH})
}

// Reset ends the packet, of TCP, and its sender's attempt to connect.
func Reset() Rule { return of(&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}) }

// Spread sends flows to the addresses, one or more of one family, in turn; the
// port stays as it is.
func Spread(to []netip.Addr) Rule {
	return Rule{func(w *writer) []expr.Any {
		set := w.slots(to)
		return []expr.Any{
			&expr.Numgen{Register: regAddr, Modulus: uint32(len(to)), Type: unix.NFT_NG_INCREMENTAL}, //nolint:gosec // a number of tasks
			&expr.Lookup{SourceRegister: regAddr, DestRegister: regAddr, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(family(to[0])), RegAddrMin: regAddr},
		}
	}}
}

// slots adds a map from 0, 1, ... to the addresses.
func (w *writer) slots(to []netip.Addr) *nftables.Set {
	w.sets++
	set := &nftables.Set{
		Table: w.table, ID: w.sets, Name: fmt.Sprintf("__map%d", w.sets), Anonymous: true, Constant: true, IsMap: true,
		KeyType: nftables.TypeInteger, DataType: nftables.TypeIPAddr,
	}
	set.KeyType.Bytes = 4
	if to[0].Is6() {
		set.DataType = nftables.TypeIP6Addr
	}
	elements := make([]nftables.SetElement, len(to))
	for i, a := range to {
		elements[i] = nftables.SetElement{Key: binary.NativeEndian.AppendUint32(nil, uint32(i)), Val: a.AsSlice()}
	}
	if err := w.conn.AddSet(set, elements); err != nil && w.err == nil {
		w.err = err
	}
	return set
}
