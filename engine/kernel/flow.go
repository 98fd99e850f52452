package kernel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ForgetFlows makes the connection tracking of ns forget the flows that lead
// to one of the addresses after translation. Nothing to forget is fine.
func ForgetFlows(ns *Namespace, addrs ...netip.Addr) error { return forget(ns, addrs, 0) }

// ForgetDatagrams does the same for UDP alone.
func ForgetDatagrams(ns *Namespace, addrs ...netip.Addr) error {
	return forget(ns, addrs, unix.IPPROTO_UDP)
}

// forget deletes flows of a protocol, or of all for 0. The kernel is asked for
// all of a family's flows once.
func forget(ns *Namespace, addrs []netip.Addr, proto uint8) error {
	filters := map[netlink.InetFamily][]netlink.CustomConntrackFilter{}
	for _, addr := range addrs {
		family := netlink.InetFamily(unix.AF_INET)
		if addr.Is6() {
			family = unix.AF_INET6
		}
		f := &netlink.ConntrackFilter{}
		err := f.AddIP(netlink.ConntrackReplySrcIP, addr.AsSlice())
		if err == nil && proto != 0 {
			err = f.AddProtocol(proto)
		}
		if err != nil {
			return fmt.Errorf("forget flows to %s: %w", addr, err)
		}
		filters[family] = append(filters[family], f)
	}
	if len(filters) == 0 {
		return nil
	}
	return Do(ns, func() error {
		for family, list := range filters {
			if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, list...); err != nil {
				return fmt.Errorf("forget flows to %v: %w", addrs, err)
			}
		}
		return nil
	})
}
