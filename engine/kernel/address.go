package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Address is an address of a namespace's and the interface that has it.
type Address struct {
	Addr      netip.Addr
	Interface string
}

// Addresses gives the addresses of a namespace but those that mean one only
// together with a link (RFC 4291, section 2.5.6).
func Addresses(ns *Namespace) ([]Address, error) {
	h, err := ns.Netlink()
	if err != nil {
		return nil, err
	}
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the devices of %s: %w", ns.Path(), err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the addresses of %s: %w", ns.Path(), err)
	}
	var out []Address
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if addr = addr.Unmap(); ok && (addr.Is4() || !addr.IsLinkLocalUnicast()) {
			out = append(out, Address{Addr: addr, Interface: names[a.LinkIndex]})
		}
	}
	return out, nil
}
