package swarmtest

import (
	"net/netip"
	"slices"
	"strconv"
)

const (
	vxlanOption = "com.docker.network.driver.overlay.vxlanid_list"
	firstVXLAN  = 4096
)

// network is a network of the swarm. It is kept by tasks that were attached to
// it, even when it has been removed.
type network struct {
	meta
	name                                         string
	ingress, attachable, internal, ipv4Off, ipv6 bool
	driver                                       string // as asked for
	options, labels                              map[string]string
	given                                        []subnet // as asked for

	wait      int // steps until it is allocated
	allocated bool
	vxlan     int
	subnets   []subnet
	used      map[netip.Addr]bool
	last      netip.Addr
	nodeAddrs map[*node]netip.Prefix // of the nodes themselves
}

// subnet is one IPAM configuration. Docker keeps no auxiliary addresses for a
// network of the swarm.
type subnet struct {
	subnet, ipRange, gateway string
}

func (n subnet) json(rangeKey string) object {
	o := object{"Subnet": n.subnet}
	if n.ipRange != "" {
		o[rangeKey] = n.ipRange
	}
	if n.gateway != "" {
		o["Gateway"] = n.gateway
	}
	return o
}

// newNetwork makes a network of a request to create one.
func (s *Swarm) newNetwork(req object) *network {
	n := &network{
		meta: s.newMeta(), name: str(req, "Name"), wait: s.cfg.pace.Allocate,
		ingress: boolean(req, "Ingress"), attachable: boolean(req, "Attachable"),
		internal: boolean(req, "Internal"), ipv6: boolean(req, "EnableIPv6"), driver: str(req, "Driver"),
		options: stringMap(req, "Options"), labels: stringMap(req, "Labels"),
		used: map[netip.Addr]bool{}, nodeAddrs: map[*node]netip.Prefix{},
	}
	if v4, given := req["EnableIPv4"].(bool); given {
		n.ipv4Off = !v4
	}
	for _, c := range objects(child(req, "IPAM"), "Config") {
		n.given = append(n.given, subnet{str(c, "Subnet"), str(c, "IPRange"), str(c, "Gateway")})
	}
	return n
}

// ingress gives the swarm's ingress network, or nil.
func (s *Swarm) ingress() *network {
	i := slices.IndexFunc(s.networks, func(n *network) bool { return n.ingress })
	if i < 0 {
		return nil
	}
	return s.networks[i]
}

// allocateNetwork gives a network its subnets. One whose subnet overlaps
// another's is never allocated while the other exists: Docker says so in its
// log only.
func (s *Swarm) allocateNetwork(n *network) {
	if n.allocated {
		return
	}
	if n.wait--; n.wait > 0 {
		return
	}
	given := n.given
	if len(given) == 0 {
		given = []subnet{{}}
	}
	n.subnets = nil
	for _, g := range given {
		if g.subnet == "" {
			g.subnet = s.freeSubnet()
		}
		prefix, err := netip.ParsePrefix(g.subnet)
		if err != nil || s.overlaps(prefix) {
			n.subnets = nil
			return
		}
		g.subnet = prefix.Masked().String()
		if g.gateway == "" {
			g.gateway = prefix.Masked().Addr().Next().String()
		}
		n.subnets = append(n.subnets, g)
	}
	n.allocated = true
	for n.vxlan = firstVXLAN; s.vxlanTaken(n); n.vxlan++ {
	}
	if n.ingress {
		for _, m := range s.nodes {
			n.nodeAddr(m)
		}
	}
	s.touch(&n.meta)
}

func (s *Swarm) vxlanTaken(n *network) bool {
	return slices.ContainsFunc(s.networks, func(o *network) bool { return o != n && o.allocated && o.vxlan == n.vxlan })
}

func (s *Swarm) overlaps(prefix netip.Prefix) bool {
	for _, n := range s.networks {
		for _, u := range n.subnets {
			if p, err := netip.ParsePrefix(u.subnet); err == nil && p.Overlaps(prefix) {
				return true
			}
		}
	}
	return false
}

// freeSubnet gives the first subnet of the swarm's pool that is free.
func (s *Swarm) freeSubnet() string {
	pool := netip.MustParsePrefix(s.cfg.pool)
	for addr := pool.Addr(); pool.Contains(addr); {
		prefix := netip.PrefixFrom(addr, s.cfg.subnetSize)
		if !s.overlaps(prefix) {
			return prefix.String()
		}
		addr = lastAddr(prefix).Next()
	}
	return ""
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// take gives the next free address of a network: an address given back is
// taken again as late as possible.
func (n *network) take() (netip.Prefix, bool) {
	config := n.subnets[0]
	whole := netip.MustParsePrefix(config.subnet)
	from := whole
	if p, err := netip.ParsePrefix(config.ipRange); err == nil {
		from = p.Masked()
	}
	end := lastAddr(from)
	if !n.last.IsValid() {
		n.last = end
	}
	start := n.last
	for addr := start; ; {
		if addr == end {
			addr = from.Addr()
		} else {
			addr = addr.Next()
		}
		if n.free(addr, whole) {
			n.used[addr] = true
			n.last = addr
			return netip.PrefixFrom(addr, whole.Bits()), true
		}
		if addr == start {
			return netip.Prefix{}, false
		}
	}
}

// nodeAddr gives the address of a node's own endpoint, which balances load.
func (n *network) nodeAddr(m *node) netip.Prefix {
	if addr, given := n.nodeAddrs[m]; given {
		return addr
	}
	n.nodeAddrs[m], _ = n.take()
	return n.nodeAddrs[m]
}

func (n *network) free(addr netip.Addr, whole netip.Prefix) bool {
	return !n.used[addr] && addr != whole.Addr() && addr != lastAddr(whole) && addr.String() != n.subnets[0].gateway
}

func (n *network) giveBack(addr netip.Prefix) { delete(n.used, addr.Addr()) }

// driverOptions are a network's options as its driver has them.
func (n *network) driverOptions() map[string]string {
	m := orEmpty(n.options)
	m[vxlanOption] = strconv.Itoa(n.vxlan)
	return m
}
