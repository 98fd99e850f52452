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
// taken out of service have no names, but their service keeps its own: its
// virtual IP goes with the last of them. The ingress network has no names.
func NewZone(nw model.Network, records []model.Record) *Zone {
	z := &Zone{
		network: strings.ToLower(nw.Name), addrs: make(map[string]*answer, 3*len(records)),
		names: make(map[netip.Addr]string, len(records)),
	}
	if nw.Ingress {
		return z
	}
	six := derivesV6(nw)
	suffix := "." + nw.Name + "."
	for _, r := range records {
		service := pair{r.VIP, six(r.VIP)}
		if r.Disabled {
			if r.VIP.IsValid() {
				z.addService(r, service)
			}
			continue
		}
		own := pair{r.Addr, r.AddrV6}
		if !own.v6.IsValid() {
			own.v6 = six(r.Addr)
		}
		z.add(r.Name, own)
		z.point(r.Name, suffix, own)
		for _, name := range r.TaskAliases {
			z.add(name, own)
		}
		if !r.VIP.IsValid() {
			service = own
		}
		z.addService(r, service)
		z.addTask(r, own)
	}
	for _, a := range z.addrs {
		a.v4, a.v6 = distinct(a.v4), distinct(a.v6)
	}
	return z
}

// addService says what the names of a record's service mean.
func (z *Zone) addService(r model.Record, p pair) {
	if r.ServiceName == "" {
		return
	}
	z.add(r.ServiceName, p)
	for _, name := range r.Aliases {
		z.add(name, p)
	}
}

// addTask adds a container to its service's.
func (z *Zone) addTask(r model.Record, own pair) {
	if r.ServiceName == "" {
		return
	}
	z.add("tasks."+r.ServiceName, own)
	for _, name := range r.Aliases {
		z.add("tasks."+name, own)
	}
}

// point leads from a container's addresses to its name.
func (z *Zone) point(name, suffix string, own pair) {
	if name == "" {
		return
	}
	full := name + suffix
	for _, a := range []netip.Addr{own.v4, own.v6} {
		if a.IsValid() {
			z.names[a] = full
		}
	}
}

// pair is the addresses of one thing; either may be invalid.
type pair struct{ v4, v6 netip.Addr }

// derivesV6 gives what an overlay's IPv4 address has for an IPv6 one: none, on
// networks without.
func derivesV6(nw model.Network) func(netip.Addr) netip.Addr {
	segments := nw.Segments()
	if nw.Scope != model.ScopeSwarm || !slices.ContainsFunc(segments, model.Segment.HasV6) {
		return func(netip.Addr) netip.Addr { return netip.Addr{} }
	}
	return func(v4 netip.Addr) netip.Addr {
		for _, s := range segments {
			if s.V4.Prefix.Contains(v4) {
				return s.AddrV6(v4).Addr()
			}
		}
		return netip.Addr{}
	}
}

func (z *Zone) add(name string, p pair) {
	if name == "" {
		return
	}
	name = strings.ToLower(name)
	a := z.addrs[name]
	if a == nil {
		a = &answer{}
		z.addrs[name] = a
	}
	a.v4, a.v6 = appended(a.v4, p.v4), appended(a.v6, p.v6)
}

// appended adds an address that there is and that is not the last: a virtual
// IP comes once for every task.
func appended(list []netip.Addr, a netip.Addr) []netip.Addr {
	if !a.IsValid() || (len(list) > 0 && list[len(list)-1] == a) {
		return list
	}
	return append(list, a)
}

// distinct drops what is there twice.
func distinct(list []netip.Addr) []netip.Addr {
	if len(list) < 2 {
		return list
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// find gives what a name means: itself, on the first of the networks that has
// it, else without the end that is the name of a network. There may be dots in
// names of either kind: a.b.c is a.b on the network c before it is a on b.c.
func find(zones []*Zone, name string) *answer {
	for _, z := range zones {
		if a := z.addrs[name]; a != nil {
			return a
		}
	}
	for i := strings.LastIndexByte(name, '.'); i > 0; i = strings.LastIndexByte(name[:i], '.') {
		for _, z := range zones {
			if z.network != name[i+1:] {
				continue
			}
			if a := z.addrs[name[:i]]; a != nil {
				return a
			}
		}
	}
	return nil
}

// sample gives n of the addresses, or all, others and in another order each
// time: clients that take the first one spread.
func sample(addrs []netip.Addr, n int) []netip.Addr {
	out := slices.Clone(addrs)
	n = min(n, len(out))
	for i := range n {
		j := i + rand.IntN(len(out)-i) //nolint:gosec // not a secret
		out[i], out[j] = out[j], out[i]
	}
	return out[:n]
}
