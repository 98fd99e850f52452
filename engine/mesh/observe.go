package mesh

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"weft/engine/model"
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
	return observe(n.rules, nodeLayout(), func(_ nft.Type, a netip.Addr) netip.Addr { return a })
}

// observe reads a table in which task knows who is at a place.
func observe(rules *nft.Conn, l layout, task func(family nft.Type, place netip.Addr) netip.Addr) (map[Port]Observed, error) {
	v4, v6 := slotsSet(l.v4), slotsSet(l.v6)
	have, err := rules.List(nft.Table{Name: tableName, Sets: []nft.Set{servicesSet(), v4, v6}})
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
			if s.Name == v4.Name {
				o.V4 = append(o.V4, task(nft.AddrV4, e.Value))
			} else {
				o.V6 = append(o.V6, task(nft.AddrV6, e.Value))
			}
			out[portOf(e.Key)] = o
		}
	}
	return out, nil
}

// ObserveStraight reads what the kernel does with flows that go straight to
// their tasks, by the ports it knows for them.
func (h *Host) ObserveStraight() (map[Port]Observed, error) {
	if !h.plugged() {
		return map[Port]Observed{}, nil
	}
	return observe(h.rules, h.hostLayout(), func(family nft.Type, alias netip.Addr) netip.Addr {
		task := model.AliasesOf(h.Network.Addr).Task(alias)
		if family == nft.AddrV6 && task.IsValid() {
			return h.Network.V6Of(task)
		}
		return task
	})
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
