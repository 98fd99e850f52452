package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"weft/engine/model"
)

// NotSentBy matches frames that come from another MAC address. Like all matches
// of this file it is for tables with a Device.
func NotSentBy(m model.MAC) Rule {
	return of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: uint32(len(m))},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regAddr, Data: m[:]},
	)
}

// SentTo matches frames that go to a MAC address.
func SentTo(m model.MAC) Rule {
	return of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseLLHeader, Offset: 0, Len: uint32(len(m))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: m[:]},
	)
}

// Carrying matches frames of a protocol (unix.ETH_P_IP and its like).
func Carrying(etherType uint16) Rule {
	return of(
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: regAddr},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: binary.BigEndian.AppendUint16(nil, etherType)},
	)
}

// PacketFrom matches frames with an IP packet whose source is within p.
func PacketFrom(p netip.Prefix) Rule {
	kind := uint16(unix.ETH_P_IP)
	if p.Addr().Is6() {
		kind = unix.ETH_P_IPV6
	}
	return When(Carrying(kind), from(p, srcV4, srcV6))
}

// FromMasked matches frames with an IP packet whose source has the bits of value
// that mask has.
func FromMasked(value, mask netip.Addr) Rule {
	kind, offset := uint16(unix.ETH_P_IP), uint32(srcV4)
	if value.Is6() {
		kind, offset = unix.ETH_P_IPV6, srcV6
	}
	return When(Carrying(kind), masked(offset, value.AsSlice(), mask.AsSlice()))
}

// Where ARP has its sender's addresses, for Ethernet and IPv4 (RFC 826).
const (
	arpSenderMAC  = 8
	arpSenderAddr = 14
)

// Kinds of messages of neighbor discovery (RFC 4861, section 4).
const (
	RouterAdvertisement   = 134
	neighborAdvertisement = 136
	NeighborRedirect      = 137
)

// advertisedTarget is where an advertisement has the address it is about.
const advertisedTarget = 8

// ARPFrom matches ARP whose sender claims these addresses.
func ARPFrom(m model.MAC, a netip.Addr) Rule {
	return When(Carrying(unix.ETH_P_ARP), network(arpSenderMAC, m[:]), network(arpSenderAddr, a.AsSlice()))
}

// Discovery matches messages of neighbor discovery of a kind, also behind other
// headers.
func Discovery(kind byte) Rule {
	return When(Carrying(unix.ETH_P_IPV6), Protocol(unix.IPPROTO_ICMPV6), of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: []byte{kind}},
	))
}

// AdvertisesOther matches advertisements of neighbors with another address.
func AdvertisesOther(a netip.Addr) Rule {
	target := a.AsSlice()
	return When(Discovery(neighborAdvertisement), of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseTransportHeader, Offset: advertisedTarget, Len: uint32(len(target))}, //nolint:gosec // 16
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regAddr, Data: target},
	))
}

// network matches bytes at an offset behind the frame's header.
func network(offset uint32, data []byte) Rule {
	return of(
		&expr.Payload{DestRegister: regAddr, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(data))}, //nolint:gosec // a few
		&expr.Cmp{Op: expr.CmpOpEq, Register: regAddr, Data: data},
	)
}
