package mesh

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"weft/engine/nft"
)

// Observed is what the kernel does with a port.
type Observed struct {
	Chain string       // that its flows go by: algorithm, numbers of tasks, options
	V4    []netip.Addr // tasks by their numbers, IPv4
	V6    []netip.Addr
}

// Task gives the one a client's flows get, the zero address where that is left
// to their turn or to chance.
func (o Observed) Task(client netip.Addr) netip.Addr {
	list := o.V4
	if client.Is6() {
		list = o.V6
	}
	switch {
	case len(list) == 1:
		return list[0]
	case len(list) > 1 && o.Algorithm() == SourceHash:
		return list[bySource(client, len(list))]
	}
	return netip.Addr{}
}

// Algorithm gives how a flow gets its task.
func (o Observed) Algorithm() Algorithm {
	name, _, _ := strings.Cut(o.Chain, "-")
	return Algorithm(name)
}

// Masquerade reports whether tasks see the node's address.
func (o Observed) Masquerade() bool { return strings.Contains(o.Chain, masqueradeSuffix) }

// Observe reads what the kernel does with each port that it knows.
func (n *Node) Observe() (map[Port]Observed, error) {
	v4, v6 := slotsSet(nft.AddrV4), slotsSet(nft.AddrV6)
	have, err := n.rules.List(nft.Table{Name: tableName, Sets: []nft.Set{servicesSet(), v4, v6}})
	if err != nil {
		return nil, err
	}
	out := map[Port]Observed{}
	for _, e := range have.Elements[servicesSet().Name] {
		out[portOf(e.Key)] = Observed{Chain: e.Chain, V4: []netip.Addr{}, V6: []netip.Addr{}}
	}
	for _, s := range []nft.Set{v4, v6} {
		list := have.Elements[s.Name]
		slices.SortFunc(list, func(a, b nft.Element) int { return cmp.Compare(number(a), number(b)) })
		for _, e := range list {
			o, ok := out[portOf(e.Key)]
			if !ok {
				continue // nothing leads there
			}
			if s.Value == nft.AddrV4 {
				o.V4 = append(o.V4, e.Value)
			} else {
				o.V6 = append(o.V6, e.Value)
			}
			out[portOf(e.Key)] = o
		}
	}
	return out, nil
}

// number gives that of a task's slot.
func number(e nft.Element) uint32 { return binary.NativeEndian.Uint32([]byte(e.Key[2*partSize:])) }

// Observe reads at which ports the host's flows go to the ingress sandbox, and
// at which of its addresses: none is all.
func (h *Host) Observe() (map[Port][]netip.Addr, error) {
	sets := []nft.Set{portsSet(), boundSet(nft.AddrV4), boundSet(nft.AddrV6)}
	have, err := h.rules.List(nft.Table{Name: tableName, Sets: sets})
	if err != nil {
		return nil, err
	}
	out := map[Port][]netip.Addr{}
	for _, s := range sets[1:] {
		for _, e := range have.Elements[s.Name] {
			if a, ok := netip.AddrFromSlice([]byte(e.Key[2*partSize:])); ok {
				out[portOf(e.Key)] = append(out[portOf(e.Key)], a)
			}
		}
	}
	for _, e := range have.Elements[portsSet().Name] {
		out[portOf(e.Key)] = nil
	}
	return out, nil
}
