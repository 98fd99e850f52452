package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
)

// Group is the device group (IFLA_GROUP) of the devices this package makes: the
// bytes of "weft".
const Group = 0x77656674

// MaxName is how many bytes a device's name may have (IFNAMSIZ less its NUL).
const MaxName = unix.IFNAMSIZ - 1

// Device is what Ensure leaves in the kernel.
type Device struct {
	Name  string
	Index int  // in its namespace
	Made  bool // by this call; false when it was there
}

func attrs(name string, mtu int) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU, a.Group = name, mtu, Group
	return a
}

// find gives the device of that name, or nil when there is none.
func find(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("look up device %s: %w", name, err)
	}
	return l, nil
}

// Index gives that of the device of that name, 0 when there is none.
func Index(ns *kernel.Namespace, name string) (int, error) {
	h, err := ns.Netlink()
	if err != nil {
		return 0, err
	}
	l, err := find(h, name)
	if l == nil {
		return 0, err
	}
	return l.Attrs().Index, nil
}

// Remove deletes the device of that name; there being none is fine.
func Remove(ns *kernel.Namespace, name string) error {
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	l, err := find(h, name)
	if l == nil {
		return err
	}
	// ENODEV: it went meanwhile, as a veth does with the sandbox of its peer.
	if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete device %s: %w", name, err)
	}
	return nil
}

// RemoveAll deletes every device of the Group in ns at once.
func RemoveAll(ns *kernel.Namespace) error {
	var b kernel.Batch
	b.Begin(unix.RTM_DELLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC).Serialize())
	b.Attr(unix.IFLA_GROUP, nl.Uint32Attr(Group))
	failures, err := ns.Send(&b)
	if err == nil && len(failures) > 0 {
		err = failures[0].Err
	}
	// ENODEV: none in the group.
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete the devices of group %#x in %s: %w", Group, ns.Path(), err)
	}
	return nil
}

// Info describes a device found in a namespace.
type Info struct {
	Name  string
	Kind  string // bridge, vxlan, veth, ...
	Group uint32 // see Group
	VNI   uint32 // of a VXLAN device
	Port  uint16 // of a VXLAN device
}

// List gives the devices of ns, as far as the kernel can list them while
// others change.
func List(ns *kernel.Namespace) ([]Info, error) {
	h, err := ns.Netlink()
	if err != nil {
		return nil, err
	}
	links, err := h.LinkList()
	for try := 1; errors.Is(err, netlink.ErrDumpInterrupted) && try < dumpTries; try++ {
		links, err = h.LinkList()
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the devices of %s: %w", ns.Path(), err)
	}
	out := make([]Info, len(links))
	for i, l := range links {
		out[i] = Info{Name: l.Attrs().Name, Kind: l.Type(), Group: l.Attrs().Group}
		if vx, ok := l.(*netlink.Vxlan); ok {
			out[i].VNI, out[i].Port = uint32(vx.VxlanId), uint16(vx.Port) //nolint:gosec // 24 and 16 bits on the wire
		}
	}
	return out, nil
}

// dumpTries is how often a listing is begun anew that the kernel calls
// interrupted by a change.
const dumpTries = 5

// Underlay is the device of a host that has a VTEP's address.
type Underlay struct {
	Name string
	MTU  int
}

// FindUnderlay finds the device of ns that has addr; found is false when none has.
func FindUnderlay(ns *kernel.Namespace, addr netip.Addr) (u Underlay, found bool, err error) {
	h, err := ns.Netlink()
	if err != nil {
		return u, false, err
	}
	list, err := h.AddrList(nil, family(addr))
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return u, false, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); !ok || ip.Unmap() != addr {
			continue
		}
		l, err := h.LinkByIndex(a.LinkIndex)
		if err != nil {
			return u, false, fmt.Errorf("look up the device of %s: %w", addr, err)
		}
		return Underlay{Name: l.Attrs().Name, MTU: l.Attrs().MTU}, true, nil
	}
	return u, false, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}

// setMTU changes the MTU of a live device where it differs.
func setMTU(h *netlink.Handle, l netlink.Link, mtu int) error {
	if l.Attrs().MTU == mtu {
		return nil
	}
	if err := h.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("set MTU %d of %s: %w", mtu, l.Attrs().Name, err)
	}
	return nil
}

// setAddrs gives l the addresses it does not have. Others are left alone: a
// container may well have given itself one.
func setAddrs(h *netlink.Handle, l netlink.Link, want []netip.Prefix) error {
	list, err := h.AddrList(l, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	have := map[netip.Prefix]bool{}
	for _, a := range list {
		ip, _ := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		have[netip.PrefixFrom(ip.Unmap(), bits)] = true
	}
	for _, p := range want {
		if have[p] {
			continue
		}
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			// Addresses come from an allocator; detecting duplicates would
			// only keep this one unusable for a second.
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrReplace(l, addr); err != nil {
			return fmt.Errorf("give %s address %s: %w", l.Attrs().Name, p, err)
		}
	}
	return nil
}

func up(h *netlink.Handle, l netlink.Link) error {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring %s up: %w", l.Attrs().Name, err)
	}
	return nil
}

// Up brings the device of that name up; lo, say.
func Up(ns *kernel.Namespace, name string) error {
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	l, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("look up device %s: %w", name, err)
	}
	return up(h, l)
}

const (
	// settleTime is far more than the kernel needs on a machine that works at all.
	settleTime = 5 * time.Second
	settlePoll = time.Millisecond
)

// Ready waits until traffic for and through a device that is up gets along.
// The kernel notices its carrier in the background; until then a bridge does
// not forward to that port, a packet sent is dropped, and IPv6 addresses are
// not yet the host's own. A connection made at once would lose its first
// packet, and with it a second.
func Ready(ns *kernel.Namespace, index int, addrs []netip.Prefix) error {
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	deadline := time.NewTimer(settleTime)
	defer deadline.Stop()
	for {
		waitingFor, err := unready(h, index, addrs)
		if err != nil || waitingFor == "" {
			return err
		}
		poll := time.NewTimer(settlePoll)
		select {
		case <-poll.C:
		case <-deadline.C:
			poll.Stop()
			return fault.Unavailable("device %d in %s does not get ready: %s", index, ns.Path(), waitingFor)
		}
	}
}

func unready(h *netlink.Handle, index int, addrs []netip.Prefix) (string, error) {
	l, err := h.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("look up device %d: %w", index, err)
	}
	if s := l.Attrs().OperState; s != netlink.OperUp && s != netlink.OperUnknown {
		return fmt.Sprintf("%s is %s", l.Attrs().Name, s), nil
	}
	for _, a := range addrs {
		if a.Addr().Is4() {
			continue
		}
		routes, err := h.RouteGet(a.Addr().AsSlice())
		if err != nil || len(routes) == 0 || routes[0].Type != unix.RTN_LOCAL {
			return fmt.Sprintf("address %s is not local yet", a), nil //nolint:nilerr // no route at all is not ready, too
		}
	}
	return "", nil
}
