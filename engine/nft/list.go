package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Listing is what the kernel has of a table.
type Listing struct {
	Elements map[string][]Element // by set
	Rules    map[string]int       // how many, by chain
}

// List reads the sets that t names and counts the rules of all its chains; t's
// own elements and chains don't count. What is not there is not in the listing:
// of a table that is not there it is empty.
func (c *Conn) List(t Table) (Listing, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := Listing{Elements: map[string][]Element{}, Rules: map[string]int{}}
	if err := c.list(t, out); err != nil {
		return Listing{}, fmt.Errorf("list nftables table %s in %s: %w", t.Name, c.ns.Path(), err)
	}
	return out, nil
}

// list asks for what is there first: of what is not, the library's errors say
// nothing one could tell.
func (c *Conn) list(t Table, out Listing) error {
	tables, err := c.conn.ListTablesOfFamily(t.family())
	if err != nil {
		return err
	}
	at := slices.IndexFunc(tables, func(k *nftables.Table) bool { return k.Name == t.Name })
	if at < 0 {
		return nil
	}
	sets, err := c.conn.GetSets(tables[at])
	if err != nil {
		return err
	}
	for _, s := range t.Sets {
		if !slices.ContainsFunc(sets, func(k *nftables.Set) bool { return k.Name == s.Name }) {
			continue
		}
		list, err := c.conn.GetSetElements(s.kernel(tables[at]))
		if err != nil {
			return err
		}
		if out.Elements[s.Name], err = elementsOf(s, list); err != nil {
			return err
		}
	}
	chains, err := c.conn.ListChainsOfTableFamily(t.family())
	if err != nil {
		return err
	}
	for _, ch := range chains {
		if ch.Table.Name != t.Name {
			continue
		}
		rules, err := c.conn.GetRules(tables[at], ch)
		if err != nil {
			return err
		}
		out.Rules[ch.Name] = len(rules)
	}
	return nil
}

func elementsOf(s Set, list []nftables.SetElement) ([]Element, error) {
	out := make([]Element, 0, len(list))
	for _, e := range list {
		el := Element{Key: string(e.Key)}
		switch s.Value {
		case 0:
		case ChainName:
			var err error
			if el.Chain, err = chainIn(e.Val); err != nil {
				return nil, err
			}
		case AddrPortV4, AddrPortV6:
			el.Value, el.Port = addrPortIn(s.Value, e.Val)
		default:
			el.Value, _ = netip.AddrFromSlice(e.Val)
		}
		out = append(out, el)
	}
	return out, nil
}

// addrPortIn reads what Key has joined.
func addrPortIn(kind Type, b []byte) (netip.Addr, uint16) {
	size := 4
	if kind == AddrPortV6 {
		size = 16
	}
	if len(b) < size+2 {
		return netip.Addr{}, 0
	}
	a, _ := netip.AddrFromSlice(b[:size])
	return a, binary.BigEndian.Uint16(b[size:])
}

// chainIn gives the chain a verdict leads to, from its attributes.
func chainIn(verdict []byte) (string, error) {
	ad, err := netlink.NewAttributeDecoder(verdict)
	if err != nil {
		return "", err
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_VERDICT_CHAIN {
			return ad.String(), nil
		}
	}
	return "", ad.Err()
}

// Generation gives a number that every transaction of anybody's in the
// namespace raises by one (nft_net.base_seq in net/netfilter/nf_tables_api.c).
func (c *Conn) Generation() (uint32, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: c.ns.Fd()})
	if err != nil {
		return 0, fmt.Errorf("open nftables in %s: %w", c.ns.Path(), err)
	}
	answers, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN), Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	err = errors.Join(err, conn.Close())
	for _, m := range answers {
		const header = 4 // struct nfgenmsg
		ad, bad := netlink.NewAttributeDecoder(m.Data[min(header, len(m.Data)):])
		if bad != nil {
			return 0, bad
		}
		ad.ByteOrder = binary.BigEndian
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				return ad.Uint32(), ad.Err()
			}
		}
	}
	if err == nil {
		err = errors.New("no answer")
	}
	return 0, fmt.Errorf("generation of nftables in %s: %w", c.ns.Path(), err)
}
