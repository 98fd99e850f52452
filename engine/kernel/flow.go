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
	family := netlink.InetFamily(unix.AF_INET)
	if addr.Is6() {
		family = unix.AF_INET6
	}
	filter := &netlink.ConntrackFilter{}
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
