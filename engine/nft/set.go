package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"weft/engine/model"
)

// Type is what one part of a set's key, or a map's value, is.
type Type int

// The types. ChainName is for values only: packets go on there and do not come
// back.
const (
	Proto Type = iota + 1 // IP protocol number
	PortNumber
	Index // 32 bits
	AddrV4
	AddrV6
	MACAddr
	ChainName
	AddrPortV4 // for values
	AddrPortV6 // likewise
	Device     // likewise
)

// Set is a named set of keys or, with a Value, a map from them.
type Set struct {
	Name     string
	Key      []Type // of its parts, in order
	Value    Type   // 0: a set
	Elements []Element
}

// Element is a key and, in a map, what it leads to.
type Element struct {
	Key   string // made by Key
	Value netip.Addr
	Port  uint16 // of AddrPortV4 and AddrPortV6
	Chain string
	Index int // of Device: the device's
}

// Key joins the parts of a key: a byte for Proto, uint16, uint32,
// netip.Addr and model.MAC for the others. It is comparable, for callers to count by.
func Key(parts ...any) string {
	var b []byte
	pad := func() { // each of several parts has registers of its own
		for len(parts) > 1 && len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	for _, p := range parts {
		switch v := p.(type) {
		case byte:
			b = append(b, v)
		case uint16:
			b = append(b, bigEndian(v)...)
		case uint32:
			b = binary.NativeEndian.AppendUint32(b, v)
		case netip.Addr:
			b = append(b, v.AsSlice()...)
		case model.MAC:
			b = append(b, v[:]...)
		}
		pad()
	}
	return string(b)
}

// chunk is how many elements go in one message, whose attributes are bounded
// by 64 KiB.
const chunk = 500

func (s Set) kernel(t *nftables.Table) *nftables.Set {
	set := &nftables.Set{Table: t, Name: s.Name, IsMap: s.Value != 0, KeyType: s.Key[0].kernel()}
	if len(s.Key) > 1 {
		parts := make([]nftables.SetDatatype, len(s.Key))
		for i, k := range s.Key {
			parts[i] = k.kernel()
		}
		set.KeyType, set.Concatenation = nftables.MustConcatSetType(parts...), true
	}
	if s.Value != 0 {
		set.DataType = s.Value.kernel()
	}
	return set
}

func (t Type) kernel() nftables.SetDatatype {
	switch t {
	case Proto:
		return nftables.TypeInetProto
	case PortNumber:
		return nftables.TypeInetService
	case AddrV4:
		return nftables.TypeIPAddr
	case AddrV6:
		return nftables.TypeIP6Addr
	case MACAddr:
		return nftables.TypeEtherAddr
	case ChainName:
		return nftables.TypeVerdict
	case Device:
		return nftables.TypeIFIndex
	case AddrPortV4:
		return nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	case AddrPortV6:
		return nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeInetService)
	case Index:
	}
	// Of the types nft(8) can show it is the one of that size.
	return nftables.TypeMark
}

func (w *writer) set(s Set) {
	if err := w.conn.AddSet(s.kernel(w.table), nil); err != nil && w.err == nil {
		w.err = err
	}
}

// elements adds or deletes, by one of the connection's methods.
func (w *writer) elements(do func(*nftables.Set, []nftables.SetElement) error, s Set, list []Element) {
	set := s.kernel(w.table)
	for part := range slices.Chunk(list, chunk) {
		out := make([]nftables.SetElement, len(part))
		for i, e := range part {
			out[i].Key = []byte(e.Key)
			switch {
			case s.Value == ChainName:
				out[i].VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.Chain}
			case s.Value == AddrPortV4 || s.Value == AddrPortV6:
				out[i].Val = []byte(Key(e.Value, e.Port))
			case s.Value == Device:
				out[i].Val = indexOf(e.Index)
			case s.Value != 0:
				out[i].Val = e.Value.AsSlice()
			}
		}
		if err := do(set, out); err != nil && w.err == nil {
			w.err = err
		}
	}
}

// Change is what becomes of one set of a table.
type Change struct {
	Set         Set // its Elements don't count
	Remove, Add []Element
}

// Change changes elements of the table's sets, after adding chains that are
// not there yet. It costs by what changes, however much else there is.
func (c *Conn) Change(table string, chains []Chain, changes []Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &writer{conn: c.conn, table: &nftables.Table{Name: table, Family: nftables.TableFamilyINet}}
	for _, ch := range chains {
		w.chain(ch)
	}
	for _, ch := range changes {
		w.elements(w.conn.SetDeleteElements, ch.Set, ch.Remove)
	}
	for _, ch := range changes {
		w.elements(w.conn.SetAddElements, ch.Set, ch.Add)
	}
	if err := errors.Join(w.err, w.conn.Flush()); err != nil {
		return fmt.Errorf("change nftables table %s in %s: %w", table, c.ns.Path(), err)
	}
	return nil
}

// firstPart is the register of a key's first part, the others follow: each
// has 32 bits (NFT_REG32_00). regResult does not overlap with up to four.
const (
	firstPart  = unix.NFT_REG32_00
	regResult  = unix.NFT_REG_2
	resultWord = unix.NFT_REG32_04 // the same, in registers of 32 bits
)

// Part gives one part of a key from the packet, in a register.
type Part func(register uint32) []expr.Any

// PacketProto is the protocol above IP.
func PacketProto() Part {
	return func(r uint32) []expr.Any { return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r}} }
}

// PacketPort is the port the packet goes to.
func PacketPort() Part {
	return func(r uint32) []expr.Any {
		return []expr.Any{&expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}
	}
}

// PacketTo is the IPv4 or IPv6 address the packet goes to.
func PacketTo(a Type) Part {
	offset, size := uint32(dstV4), uint32(4)
	if a == AddrV6 {
		offset, size = dstV6, 16
	}
	return func(r uint32) []expr.Any {
		return []expr.Any{&expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
	}
}

// Turn is 0, 1, … n-1 for one packet after the other that gets there.
func Turn(n int) Part { return number(n, unix.NFT_NG_INCREMENTAL) }

// Chance is any of 0 to n-1.
func Chance(n int) Part { return number(n, unix.NFT_NG_RANDOM) }

func number(n int, kind uint32) Part {
	return func(r uint32) []expr.Any {
		return []expr.Any{&expr.Numgen{Register: r, Modulus: uint32(n), Type: kind}} //nolint:gosec // a number of tasks
	}
}

// BySource is one of 0 to n-1, always the same for a client's address.
func BySource(a Type, n int) Part {
	offset, size := uint32(srcV4), uint32(4)
	if a == AddrV6 {
		offset, size = srcV6, 16
	}
	return func(r uint32) []expr.Any {
		return []expr.Any{
			&expr.Payload{DestRegister: regResult, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
			&expr.Hash{SourceRegister: regResult, DestRegister: r, Length: size, Modulus: uint32(n), Seed: HashSeed}, //nolint:gosec // a number of tasks
		}
	}
}

// HashSeed is BySource's, the same everywhere: the hosts of a swarm choose alike.
const HashSeed = 0x77656674

func load(parts []Part) []expr.Any {
	var out []expr.Any
	for i, p := range parts {
		out = append(out, p(firstPart+uint32(i))...)
	}
	return out
}

// In matches packets whose parts are in a set.
func In(s Set, parts ...Part) Rule {
	return of(append(load(parts), &expr.Lookup{SourceRegister: firstPart, SetName: s.Name})...)
}

// NotIn matches the others.
func NotIn(s Set, parts ...Part) Rule {
	return of(append(load(parts), &expr.Lookup{SourceRegister: firstPart, SetName: s.Name, Invert: true})...)
}

// GoBy goes on in the chain a map has for the packet; without one, after the
// rule.
func GoBy(s Set, parts ...Part) Rule {
	return of(append(load(parts), &expr.Lookup{SourceRegister: firstPart, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: s.Name})...)
}

// SendBy sends flows to the address a map has for the packet, and the port if it
// has one; else that stays as it is.
func SendBy(s Set, parts ...Part) Rule {
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: regResult}
	switch s.Value {
	case AddrV6:
		nat.Family = unix.NFPROTO_IPV6
	case AddrPortV4:
		nat.RegProtoMin, nat.Specified = resultWord+1, true
	case AddrPortV6:
		nat.Family, nat.RegProtoMin, nat.Specified = unix.NFPROTO_IPV6, resultWord+4, true
	default: // AddrV4
	}
	return of(append(load(parts),
		&expr.Lookup{SourceRegister: firstPart, DestRegister: regResult, IsDestRegSet: true, SetName: s.Name}, nat)...)
}
