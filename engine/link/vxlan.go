package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/model"
)

// What VXLAN adds to a frame's payload on the underlay: Ethernet 14, VXLAN 8,
// UDP 8 and the outer IP header (RFC 7348, section 5).
const (
	OverheadV4 = 14 + 8 + 8 + 20
	OverheadV6 = 14 + 8 + 8 + 40
)

// ErrVNIBusy says that a VXLAN device with the same VNI and port exists, in
// whatever namespace, over the same underlay.
var ErrVNIBusy = errors.New("the VNI is in use on this host")

// VXLAN is a segment's tunnel end on one node. It is a port of a bridge, sends
// from Local, learns nothing, and answers ARP and neighbor solicitations for
// the remote endpoints it was told about.
type VXLAN struct {
	Name   string
	VNI    model.VNI
	Local  netip.Addr
	Port   uint16
	MTU    int
	Bridge int // index of the bridge in the same namespace
}

// EnsureVXLAN makes ns have the device, up, with its underlay socket in host.
// It fails with ErrVNIBusy, or with a Conflict when the UDP port is taken.
func EnsureVXLAN(host, ns *kernel.Namespace, spec VXLAN) (dev Device, err error) {
	h, err := ns.Netlink()
	if err != nil {
		return dev, err
	}
	dev.Name = spec.Name
	l, err := find(h, spec.Name)
	if err != nil {
		return dev, err
	}
	if l != nil && !vxlanMatches(l, spec) {
		if err := Remove(ns, spec.Name); err != nil {
			return dev, err
		}
		l = nil
	}
	if l == nil {
		if l, err = addVXLAN(host, ns, spec); err != nil {
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
	if err := plug(h, l, spec.Bridge); err != nil {
		return dev, err
	}
	return dev, explainPort(up(h, l), spec.Port)
}

// plug makes l a port of the bridge that does not learn: where remote
// endpoints are is told, and a forged frame must not move them.
func plug(h *netlink.Handle, l netlink.Link, bridge int) error {
	if l.Attrs().MasterIndex != bridge {
		if err := h.LinkSetMasterByIndex(l, bridge); err != nil {
			return fmt.Errorf("plug %s into its bridge: %w", l.Attrs().Name, err)
		}
	}
	if port, err := h.LinkGetProtinfo(l); err == nil && !port.Learning {
		return nil // setting it again would restart the port's timers
	}
	if err := h.LinkSetLearning(l, false); err != nil {
		return fmt.Errorf("turn learning off on the bridge port %s: %w", l.Attrs().Name, err)
	}
	return nil
}

func vxlanMatches(l netlink.Link, spec VXLAN) bool {
	vx, ok := l.(*netlink.Vxlan)
	if !ok {
		return false
	}
	local, _ := netip.AddrFromSlice(vx.SrcAddr)
	return vx.VxlanId == int(spec.VNI) && vx.Port == int(spec.Port) && local.Unmap() == spec.Local &&
		vx.Proxy && vx.L2miss && vx.L3miss && !vx.Learning
}

// addVXLAN makes the device from within host but already in ns: the kernel
// takes the underlay socket's namespace from the request and the device's from
// its attribute, as when it is made in host and moved, without the waits that
// a move costs and without a name that could clash in host.
func addVXLAN(host, ns *kernel.Namespace, spec VXLAN) (netlink.Link, error) {
	from, err := host.Netlink()
	if err != nil {
		return nil, err
	}
	in, err := ns.Netlink()
	if err != nil {
		return nil, err
	}
	a := attrs(spec.Name, spec.MTU)
	a.Namespace = netlink.NsFd(ns.Fd())
	vx := vxlan(a, spec.VNI, spec.Local, spec.Port)
	if err := from.LinkAdd(vx); errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make VXLAN device %s with VNI %d on port %d: %w", spec.Name, spec.VNI, spec.Port, ErrVNIBusy)
	} else if err != nil {
		return nil, fmt.Errorf("make VXLAN device %s with VNI %d: %w", spec.Name, spec.VNI, err)
	}
	return in.LinkByName(spec.Name)
}

func vxlan(a netlink.LinkAttrs, vni model.VNI, local netip.Addr, port uint16) *netlink.Vxlan {
	return &netlink.Vxlan{
		LinkAttrs: a, VxlanId: int(vni), SrcAddr: local.AsSlice(), Port: int(port),
		Proxy: true, L2miss: true, L3miss: true,
	}
}

func explainPort(err error, port uint16) error {
	if !errors.Is(err, unix.EADDRINUSE) {
		return err
	}
	return fault.Conflict("UDP port %d, which carries the overlay networks' traffic, is in use on this host: stop what uses it "+
		"(ss -ulnp 'sport = :%d') or choose another with --data-path-port: %w", port, port, err)
}

const (
	// probePrefix begins the names of CheckPort's devices.
	probePrefix = "wvxp"
	maxVNI      = 1<<24 - 1
	probeTries  = 16
)

// CheckPort finds out whether VXLAN can use the UDP port in host, by a device
// that lives for a moment. VXLAN devices share a port among themselves, other
// engines' included; anything else on it is a Conflict that names the fix.
func CheckPort(host *kernel.Namespace, local netip.Addr, port uint16) error {
	h, err := host.Netlink()
	if err != nil {
		return err
	}
	// From the top, where allocators don't get to. Another engine may be
	// checking as well.
	for vni := model.VNI(maxVNI); vni > maxVNI-probeTries; vni-- {
		name := fmt.Sprintf("%s%06x", probePrefix, uint32(vni))
		vx := vxlan(attrs(name, 0), vni, local, port)
		err := h.LinkAdd(vx)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return fmt.Errorf("make a VXLAN device to check UDP port %d: %w", port, err)
		}
		return errors.Join(explainPort(up(h, vx), port), Remove(host, name))
	}
	return fault.Internal("check UDP port %d: %d VNIs from %d down are in use", port, probeTries, maxVNI)
}

// RemoveProbes deletes what a CheckPort left in host that was killed.
func RemoveProbes(host *kernel.Namespace) error {
	list, err := List(host)
	errs := []error{err}
	for _, l := range list {
		if l.Kind == "vxlan" && l.VNI > maxVNI-probeTries && l.Name == fmt.Sprintf("%s%06x", probePrefix, l.VNI) {
			errs = append(errs, Remove(host, l.Name))
		}
	}
	return errors.Join(errs...)
}
