package link

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"weft/engine/kernel"
	"weft/engine/model"
)

// Bridge is the switch of one segment on one node, and its router: the
// gateway addresses are the bridge's own.
type Bridge struct {
	Name  string
	MTU   int
	MAC   model.MAC // fixed, or the bridge would change it with its ports
	Addrs []netip.Prefix
}

// EnsureBridge makes ns have the bridge, up.
func EnsureBridge(ns *kernel.Namespace, spec Bridge) (dev Device, err error) {
	h, err := ns.Netlink()
	if err != nil {
		return dev, err
	}
	dev.Name = spec.Name
	l, err := find(h, spec.Name)
	if err != nil {
		return dev, err
	}
	if l != nil && !bridgeMatches(l, spec) {
		if err := Remove(ns, spec.Name); err != nil {
			return dev, err
		}
		l = nil
	}
	if l == nil {
		if l, err = addBridge(h, spec); err != nil {
			return dev, err
		}
		dev.Made = true
		defer func() {
			if err != nil {
				err = errors.Join(err, Remove(ns, spec.Name))
			}
		}()
	}
	dev.Index = l.Attrs().Index
	if err := setMTU(h, l, spec.MTU); err != nil {
		return dev, err
	}
	if err := setAddrs(h, l, spec.Addrs); err != nil {
		return dev, err
	}
	return dev, up(h, l)
}

func bridgeMatches(l netlink.Link, spec Bridge) bool {
	return l.Type() == "bridge" && bytes.Equal(l.Attrs().HardwareAddr, spec.MAC.HardwareAddr())
}

func addBridge(h *netlink.Handle, spec Bridge) (netlink.Link, error) {
	a := attrs(spec.Name, spec.MTU)
	a.HardwareAddr = spec.MAC.HardwareAddr()
	// Neighbor solicitations are multicast. Snooping without a querier would
	// forget who listens to them.
	snooping := false
	// With a default VLAN the bridge would hold each static entry twice.
	noVLAN := uint16(0)
	br := &netlink.Bridge{LinkAttrs: a, MulticastSnooping: &snooping, VlanDefaultPVID: &noVLAN}
	if err := h.LinkAdd(br); err != nil {
		return nil, fmt.Errorf("make bridge %s: %w", spec.Name, err)
	}
	return h.LinkByName(spec.Name)
}
