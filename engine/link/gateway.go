package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// SetGateways gives a sandbox its default routes, through gateways reached by
// one of its interfaces. A zero address takes the family's route away.
func SetGateways(sandbox *kernel.Namespace, ifName string, v4, v6 netip.Addr) error {
	h, err := sandbox.Netlink()
	if err != nil {
		return err
	}
	for _, gw := range []struct {
		addr   netip.Addr
		family int
	}{{v4, unix.AF_INET}, {v6, unix.AF_INET6}} {
		if !gw.addr.IsValid() {
			if err := dropDefault(h, gw.family); err != nil {
				return fmt.Errorf("take the default route from %s: %w", sandbox.Path(), err)
			}
			continue
		}
		l, err := h.LinkByName(ifName)
		if err != nil {
			return fmt.Errorf("default route of %s: look up %s: %w", sandbox.Path(), ifName, err)
		}
		route := &netlink.Route{LinkIndex: l.Attrs().Index, Gw: gw.addr.AsSlice(), Family: gw.family}
		if gw.family == unix.AF_INET6 {
			// Replacing an IPv6 route by one through another device adds it.
			if err := dropDefault(h, gw.family); err != nil {
				return fmt.Errorf("take the default route from %s: %w", sandbox.Path(), err)
			}
		}
		if err := h.RouteReplace(route); err != nil {
			return fmt.Errorf("default route of %s via %s: %w", sandbox.Path(), gw.addr, err)
		}
	}
	return nil
}

func dropDefault(h *netlink.Handle, family int) error {
	routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return err
	}
	for i := range routes {
		if d := routes[i].Dst; d != nil {
			if ones, _ := d.Mask.Size(); ones != 0 {
				continue
			}
		}
		if err := h.RouteDel(&routes[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// Routed gives the destinations ns has routes to, but the default.
func Routed(ns *kernel.Namespace) ([]netip.Prefix, error) {
	h, err := ns.Netlink()
	if err != nil {
		return nil, err
	}
	routes, err := h.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the routes of %s: %w", ns.Path(), err)
	}
	var out []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 0 {
			out = append(out, netip.PrefixFrom(addr.Unmap(), ones))
		}
	}
	return out, nil
}
