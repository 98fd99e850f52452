package model

import (
	"encoding/binary"
	"net/netip"
)

// AliasesV4 and AliasesV6 have the aliases of tasks on the ingress network, for
// the hosts of its nodes alone: each is made of the node's address and the
// task's, so that a packet to one says whom it is for and one from it whom it
// answers. IPv4's are of the class nobody routes (RFC 1112, section 4), IPv6's
// unique local ones (RFC 4193).
func AliasesV4() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{aliasClass}), 32-aliasBits)
}

// AliasesV6 is AliasesV4 for IPv6.
func AliasesV6() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom16(aliasNetV6()), 64) }

const (
	aliasClass = 0xf0
	aliasBits  = 28 // of an IPv4 alias, for both addresses
)

func aliasNetV6() [16]byte { return [16]byte{0xfd, 0x77, 0x65, 0x66, 0, 0x74, 0, 1} }

// Aliases makes those of one ingress network, from its IPv4 subnet.
type Aliases struct{ subnet netip.Prefix }

// AliasesOf gives the aliases of the subnet that p is an address of.
func AliasesOf(p netip.Prefix) Aliases { return Aliases{p.Masked()} }

// Shift is how many of an IPv4 alias's last bits are the task's, a multiple of
// 8; the node's precede them.
func (a Aliases) Shift() int { return max((32-a.subnet.Bits()+7)/8*8, 8) }

// Base is what the subnet's addresses begin with.
func (a Aliases) Base() uint32 { return number(a.subnet.Addr()) }

// NodeMask has the bits of a node's place in the subnet, for those that fit.
func (a Aliases) NodeMask() uint32 { return 1<<max(aliasBits-a.Shift(), 0) - 1 }

// TaskMask has the bits of a task's.
func (a Aliases) TaskMask() uint32 { return ^uint32(0) >> a.subnet.Bits() }

// V4 gives the alias of a task for a node, the zero address where one of them
// is not in the subnet, or that is so large that the node's place in it does not
// fit.
func (a Aliases) V4(node, task netip.Addr) netip.Addr {
	place := number(node) ^ a.Base()
	if !a.subnet.Contains(node) || !a.subnet.Contains(task) || place > a.NodeMask() || a.NodeMask() == 0 {
		return netip.Addr{}
	}
	return addr4(aliasClass<<24 | place<<a.Shift() | (number(task) ^ a.Base()))
}

// V6 gives the alias for IPv6 of a task, both by their IPv4 addresses.
func (a Aliases) V6(node, task netip.Addr) netip.Addr {
	out := aliasNetV6()
	binary.BigEndian.PutUint32(out[8:], number(node))
	binary.BigEndian.PutUint32(out[12:], number(task))
	return netip.AddrFrom16(out)
}

// Task gives the IPv4 address of the task that an alias is for, the zero
// address for what is none.
func (a Aliases) Task(alias netip.Addr) netip.Addr {
	switch {
	case AliasesV4().Contains(alias):
		return addr4(number(alias)&a.TaskMask() ^ a.Base())
	case AliasesV6().Contains(alias):
		b := alias.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.Addr{}
}

// Own gives what a task's aliases have in common: the bits of value that mask
// has, for any node.
func (a Aliases) Own(task netip.Addr) (value, mask [2]netip.Addr) {
	v6, m6 := aliasNetV6(), [16]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 12: 0xff, 0xff, 0xff, 0xff}
	binary.BigEndian.PutUint32(v6[12:], number(task))
	low := ^uint32(0) >> (32 - a.Shift())
	value = [2]netip.Addr{addr4(aliasClass<<24 | (number(task) ^ a.Base())), netip.AddrFrom16(v6)}
	return value, [2]netip.Addr{addr4(aliasClass<<24 | low), netip.AddrFrom16(m6)}
}

// Leg gives the MAC address of the leg that a node's host has in the ingress
// network itself, from that of the node's sandbox.
func (m MAC) Leg() MAC {
	m[1] = 0x43
	return m
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}
