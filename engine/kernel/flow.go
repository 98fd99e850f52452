package kernel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ForgetFlows makes the connection tracking of ns forget the flows that lead
// to addr after translation. Nothing to forget is fine.
func ForgetFlows(ns *Namespace, addr netip.Addr) error {
	return forget(ns, addr, &netlink.ConntrackFilter{})
}

// ForgetDatagrams does the same for UDP alone.
func ForgetDatagrams(ns *Namespace, addr netip.Addr) error {
	filter := &netlink.ConntrackFilter{}
	if err := filter.AddProtocol(unix.IPPROTO_UDP); err != nil {
		return fmt.Errorf("forget flows to %s: %w", addr, err)
	}
	return forget(ns, addr, filter)
}

func forget(ns *Namespace, addr netip.Addr, filter *netlink.ConntrackFilter) error {
	family := netlink.InetFamily(unix.AF_INET)
	if addr.Is6() {
		family = unix.AF_INET6
	}
	if err := filter.AddIP(netlink.ConntrackReplySrcIP, addr.AsSlice()); err != nil {
		return fmt.Errorf("forget flows to %s: %w", addr, err)
	}
	return Do(ns, func() error {
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, filter); err != nil {
			return fmt.Errorf("forget flows to %s: %w", addr, err)
		}
		return nil
	})
}
