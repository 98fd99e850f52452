package dns

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"weft/engine/model"
)

// Zone is what the names on one network mean. It does not change; who learns
// of a change makes another one.
type Zone struct {
	network string
	addrs   map[string]*answer    // by name in lower case
	names   map[netip.Addr]string // of containers
}

// answer is the addresses of one name, by family.
type answer struct{ v4, v6 []netip.Addr }

// NewZone gives the names of a network, as Docker has them
// (libnetwork/service_common.go): a container's own names mean its address; a
// service's mean its virtual IP, or where it has none the addresses of its
// tasks, which are those of tasks.SERVICE as well. Containers that are being
// taken out of service have no names.
func NewZone(nw model.Network, records []model.Record) *Zone {
	z := &Zone{network: strings.ToLower(nw.Name), addrs: map[string]*answer{}, names: map[netip.Addr]string{}}
	for _, r := range records {
		if r.Disabled {
			continue
		}
		own := both(nw, r.Addr, r.AddrV6)
		z.add(r.Name, own)
		for _, name := range r.TaskAliases {
			z.add(name, own)
		}
		for _, a := range own {
			if r.Name != "" {
				z.names[a] = r.Name + "." + nw.Name + "."
			}
		}
		if r.ServiceName == "" {
			continue
		}
		service := own
		if r.VIP.IsValid() {
			service = both(nw, r.VIP, netip.Addr{})
		}
		for _, name := range append([]string{r.ServiceName}, r.Aliases...) {
			z.add(name, service)
			z.add("tasks."+name, own)
		}
	}
	return z
}

// both gives an address and the IPv6 one that goes with it: the one given, or
// on an overlay the one that derives from it.
func both(nw model.Network, v4, v6 netip.Addr) []netip.Addr {
	if !v6.IsValid() {
		if seg, ok := nw.Segment(v4); ok && nw.Scope == model.ScopeSwarm {
			v6 = seg.AddrV6(v4).Addr()
		}
	}
	return slices.DeleteFunc([]netip.Addr{v4, v6}, func(a netip.Addr) bool { return !a.IsValid() })
}

func (z *Zone) add(name string, addrs []netip.Addr) {
	if name == "" {
		return
	}
	name = strings.ToLower(name)
	a := z.addrs[name]
	if a == nil {
		a = &answer{}
		z.addrs[name] = a
	}
	for _, addr := range addrs {
		list := &a.v4
		if addr.Is6() {
			list = &a.v6
		}
		if !slices.Contains(*list, addr) {
			*list = append(*list, addr)
		}
	}
}

// lookup gives what a name means, also when it ends in the network's own.
func (z *Zone) lookup(name string) *answer {
	if a := z.addrs[name]; a != nil {
		return a
	}
	if bare, ok := strings.CutSuffix(name, "."+z.network); ok {
		return z.addrs[bare]
	}
	return nil
}

// shuffled gives the addresses in an order of its own each time, so that
// clients that take the first one spread.
func shuffled(addrs []netip.Addr) []netip.Addr {
	out := slices.Clone(addrs)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] }) //nolint:gosec // not a secret
	return out
}
