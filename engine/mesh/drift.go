package mesh

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"weft/engine/kernel"
	"weft/engine/nft"
)

// Drift is a difference between what Set has written and what the kernel has.
type Drift struct {
	Port Port // zero: all ports are concerned
	What string
}

// Drift compares the kernel with what Set has written, and reads only. Before
// the first Set there is nothing to compare.
func (n *Node) Drift() ([]Drift, error) {
	if !n.written {
		return nil, nil
	}
	settings, err := sysctlDrift(n.sandbox, nodeSysctls(n.network))
	if err != nil {
		return nil, err
	}
	// Nobody else is to write here, so that there is seldom anything to read.
	now, err := n.rules.Generation()
	if err != nil || (now == n.generation && now != 0) {
		return settings, err
	}
	out, err := tableDrift(n.rules, n.table(map[string]bool{}))
	if err == nil && len(out) == 0 {
		n.generation = now
	}
	return append(settings, out...), err
}

// Rewrite brings the kernel back to what Set has written.
func (n *Node) Rewrite() error {
	if err := kernel.SetSysctls(n.sandbox, nodeSysctls(n.network)...); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	n.written = false
	list := make([]Service, 0, len(n.services))
	for _, s := range n.services {
		list = append(list, s)
	}
	return n.Set(list)
}

// Drift compares the kernel with what Connect and Set have made, and reads
// only. Before the first Set there is nothing to compare.
func (h *Host) Drift() ([]Drift, error) {
	if !h.written {
		return nil, nil
	}
	var out []Drift
	linked, err := up(h.Namespace, uplinkOutside)
	if err != nil {
		return nil, err
	}
	settings := h.sysctls()
	if !linked {
		out = append(out, Drift{What: "the link " + uplinkOutside + " to the ingress sandbox is missing or down"})
		settings = settings[:0]
	}
	wrong, err := sysctlDrift(h.Namespace, settings)
	if err != nil {
		return nil, err
	}
	leg, err := h.legDrift()
	if err != nil {
		return nil, err
	}
	out = slices.Concat(out, wrong, leg)
	now, err := h.rules.Generation()
	if err != nil || (now == h.generation && now != 0) {
		return out, err
	}
	rules, err := tableDrift(h.rules, h.table(map[string]bool{}))
	if err == nil && len(rules) == 0 {
		h.generation = now
	}
	return append(out, rules...), err
}

// up reports whether a link is there and up.
func up(ns *kernel.Namespace, name string) (bool, error) {
	nl, err := ns.Netlink()
	if err != nil {
		return false, err
	}
	l, err := nl.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up %s: %w", name, err)
	}
	return l.Attrs().OperState == netlink.OperUp, nil
}

// Rewrite brings the kernel back to what Connect and Set have made.
func (h *Host) Rewrite(sandbox *kernel.Namespace) error {
	if err := h.Connect(sandbox); err != nil {
		return err
	}
	h.written = false
	return h.write(nil, nil)
}

// sysctlDrift gives the settings that are not as they should be.
func sysctlDrift(ns *kernel.Namespace, want []kernel.Sysctl) ([]Drift, error) {
	var out []Drift
	for _, s := range want {
		have, err := kernel.GetSysctl(ns, s.Key)
		if err != nil {
			return nil, err
		}
		if have != s.Value {
			out = append(out, Drift{What: fmt.Sprintf("sysctl %s is %s, should be %s", s.Key, have, s.Value)})
		}
	}
	return out, nil
}

// tableDrift compares a table with the kernel's. Chains that t does not have
// may be there: nothing leads to them.
func tableDrift(rules *nft.Conn, t nft.Table) ([]Drift, error) {
	have, err := rules.List(t)
	if err != nil {
		return nil, err
	}
	if len(have.Rules) == 0 {
		return []Drift{{What: fmt.Sprintf("nftables table %s is missing", t.Name)}}, nil
	}
	var out []Drift
	for _, ch := range t.Chains {
		if n := have.Rules[ch.Name]; n != len(ch.Rules) {
			out = append(out, Drift{What: fmt.Sprintf("nftables chain %s has %d rules, should have %d", ch.Name, n, len(ch.Rules))})
		}
	}
	for _, s := range t.Sets {
		out = append(out, setDrift(s, have.Elements[s.Name])...)
	}
	slices.SortFunc(out, func(a, b Drift) int {
		return cmp.Or(cmp.Compare(a.Port.Published, b.Port.Published), cmp.Compare(a.Port.Proto, b.Port.Proto), cmp.Compare(a.What, b.What))
	})
	return out, nil
}

func setDrift(s nft.Set, have []nft.Element) []Drift {
	var out []Drift
	differ := func(key, format string, args ...any) {
		d := Drift{What: fmt.Sprintf("nftables set %s: ", s.Name) + fmt.Sprintf(format, args...)}
		if len(s.Key) > 1 {
			d.Port = portOf(key)
		}
		out = append(out, d)
	}
	there := make(map[string]nft.Element, len(have))
	for _, e := range have {
		there[e.Key] = e
	}
	for _, want := range s.Elements {
		got, ok := there[want.Key]
		delete(there, want.Key)
		switch {
		case !ok:
			differ(want.Key, "%s is missing", leads(s, want))
		case got != want:
			differ(want.Key, "%s, should be %s", leads(s, got), leads(s, want))
		}
	}
	for key, e := range there {
		differ(key, "%s is too much", leads(s, e))
	}
	return out
}

// leads names an element for people: what it is for and where it leads.
func leads(s nft.Set, e nft.Element) string {
	if len(s.Key) == 1 {
		a, _ := netip.AddrFromSlice([]byte(e.Key))
		return a.String()
	}
	name := portOf(e.Key).String()
	if len(s.Key) > 2 {
		if s.Key[2] == nft.Index {
			name += fmt.Sprintf(" no. %d", number(e))
		} else if a, ok := netip.AddrFromSlice([]byte(e.Key[2*partSize:])); ok {
			name += " at " + a.String()
		}
	}
	switch {
	case e.Chain != "":
		name += " -> " + e.Chain
	case e.Port != 0:
		name += " -> " + netip.AddrPortFrom(e.Value, e.Port).String()
	case e.Value.IsValid():
		name += " -> " + e.Value.String()
	}
	return name
}

// partSize is the room of a key's part (nft.Key).
const partSize = 4

// portOf reads what Port.key has written.
func portOf(key string) Port {
	return Port{Proto: key[0], Published: binary.BigEndian.Uint16([]byte(key[partSize:]))}
}
