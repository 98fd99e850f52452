package control

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	"weft/engine/fault"
)

// systemAddr chooses the address to advertise: the machine's only one, or
// Docker's refusal to choose. Links without a kind (hardware, in netlink's
// terms) are looked at first; where there is none, as in a container whose
// interfaces are veths, every link that is not the engine's own.
func (n *Node) systemAddr() (netip.Addr, error) {
	links, err := net.Interfaces()
	if err != nil {
		return netip.Addr{}, err
	}
	virtual := virtualLinks()
	var hardware, others []candidate
	for _, l := range links {
		if l.Flags&net.FlagUp == 0 || l.Flags&net.FlagLoopback != 0 || n.cfg.OwnLink(l.Name) {
			continue
		}
		addrs, err := addrsOf(l)
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if !a.IsGlobalUnicast() {
				continue
			}
			c := candidate{link: l.Name, addr: a}
			if !virtual[l.Index] {
				hardware = append(hardware, c)
			}
			others = append(others, c)
		}
	}
	if len(hardware) > 0 {
		return onlyAddr(hardware)
	}
	return onlyAddr(others)
}

type candidate struct {
	link string
	addr netip.Addr
}

// onlyAddr applies dockerd's rule: one address per family on a link, IPv4
// before IPv6, and one link.
func onlyAddr(all []candidate) (netip.Addr, error) {
	var order []string
	v4, v6 := map[string]netip.Addr{}, map[string]netip.Addr{}
	for _, c := range all {
		family := v4
		if c.addr.Is6() {
			family = v6
		}
		if have, ok := family[c.link]; ok {
			return netip.Addr{}, fault.Invalid("could not choose an IP address to advertise since this system has multiple addresses on interface %s (%s and %s)", c.link, have, c.addr)
		}
		if !v4[c.link].IsValid() && !v6[c.link].IsValid() {
			order = append(order, c.link)
		}
		family[c.link] = c.addr
	}
	var chosen candidate
	for _, link := range order {
		a := v4[link]
		if !a.IsValid() {
			a = v6[link]
		}
		if chosen.addr.IsValid() {
			return netip.Addr{}, fault.Invalid("could not choose an IP address to advertise since this system has multiple addresses on different interfaces (%s on %s and %s on %s)", chosen.addr, chosen.link, a, link)
		}
		chosen = candidate{link, a}
	}
	if !chosen.addr.IsValid() {
		return netip.Addr{}, errNoAddr
	}
	return chosen.addr, nil
}

// rtnetlink's attributes that tell a link's kind (linux/if_link.h).
const (
	iflaLinkInfo = 18
	iflaInfoKind = 1
)

// virtualLinks gives the indexes of links that have a kind (veth, bridge,
// vxlan, ...). Without rtnetlink none is known to have one.
func virtualLinks() map[int]bool {
	found := map[int]bool{}
	raw, err := syscall.NetlinkRIB(syscall.RTM_GETLINK, syscall.AF_UNSPEC)
	if err != nil {
		return found
	}
	msgs, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return found
	}
	for _, m := range msgs {
		if m.Header.Type != syscall.RTM_NEWLINK {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			continue
		}
		for _, a := range attrs {
			if a.Attr.Type == iflaLinkInfo && hasKind(a.Value) {
				found[linkIndex(m.Data)] = true
			}
		}
	}
	return found
}

// hasKind looks for a kind among the attributes nested in a link's info.
func hasKind(nested []byte) bool {
	for len(nested) >= 4 {
		size := int(binary.NativeEndian.Uint16(nested))
		if size < 4 || size > len(nested) {
			return false
		}
		if binary.NativeEndian.Uint16(nested[2:]) == iflaInfoKind {
			return true
		}
		nested = nested[min((size+3)&^3, len(nested)):]
	}
	return false
}

// linkIndex reads ifi_index of struct ifinfomsg.
func linkIndex(msg []byte) int {
	if len(msg) < 8 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(msg[4:]))) //nolint:gosec // an index is an int32 in the kernel's struct
}
