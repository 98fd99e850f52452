package overlay

import (
	"net/netip"

	"weft/engine/fault"
	"weft/engine/link"
	"weft/engine/model"
)

const (
	minMTU = 68    // IPv4 (RFC 791)
	maxMTU = 65535 // of a veth device, and of IP
)

// MinMTUv6 is the least MTU of a network that carries IPv6, in bytes (RFC 8200,
// section 5).
const MinMTUv6 = 1280

// taskMTU gives the MTU tasks see on an underlay of that MTU, and whether that
// is less than the network asked for. asked 0 means what the underlay allows.
func taskMTU(underlay int, vtep netip.Addr, asked int) (mtu int, capped bool) {
	overhead := link.OverheadV4
	if vtep.Is6() {
		overhead = link.OverheadV6
	}
	allowed := min(underlay-overhead, maxMTU)
	if asked > 0 && asked <= allowed {
		return asked, false
	}
	return allowed, asked > 0
}

func checkMTU(nw model.Network, mtu int) error {
	least, family := minMTU, "IPv4"
	for _, s := range nw.Segments() {
		if s.HasV6() {
			least, family = MinMTUv6, "IPv6"
		}
	}
	if mtu >= least {
		return nil
	}
	return fault.Invalid("network %s: its MTU would be %d, and %s needs %d: raise the underlay's MTU or the network's "+
		"(--opt com.docker.network.driver.mtu)", nw.Name, mtu, family, least)
}
