package link

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
)

// tunDevice is where TAP devices are made and opened
// (Documentation/networking/tuntap.rst).
const tunDevice = "/dev/net/tun"

// Tap is a TAP device for a virtual machine, joined to another device of the
// same namespace: each frame that comes in by one goes out by the other.
type Tap struct {
	Name  string
	Owner int // UID of who may open it besides root
	MTU   int
	Peer  string
}

// EnsureTap makes ns have the device, up and persistent, and joins it to its
// peer. A name another device has is a Conflict; it is Unsupported where there
// are no TAP devices or no way to redirect frames.
func EnsureTap(ns *kernel.Namespace, spec Tap) (err error) {
	if err := checkIfName(spec.Name); err != nil {
		return err
	}
	have, err := HasTap(ns, spec.Name)
	if err != nil {
		return err
	}
	if !have {
		if err := CheckTap(ns, spec.Name); err != nil {
			return err
		}
		if err := kernel.Do(ns, func() error { return makeTap(ns, spec) }); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, Remove(ns, spec.Name))
			}
		}()
	}
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	// The machine behind it has the addresses, this host speaks to nobody.
	if err := kernel.SetSysctls(ns, interfaceSysctls(spec.Name, nil, false)...); err != nil {
		return err
	}
	tap, err := h.LinkByName(spec.Name)
	if err != nil {
		return fmt.Errorf("look up device %s: %w", spec.Name, err)
	}
	peer, err := h.LinkByName(spec.Peer)
	if err != nil {
		return fmt.Errorf("look up device %s: %w", spec.Peer, err)
	}
	if err := setMTU(h, tap, spec.MTU); err != nil {
		return err
	}
	if err := errors.Join(redirect(h, tap, peer), redirect(h, peer, tap)); err != nil {
		return err
	}
	return up(h, tap)
}

// CheckTap reports what speaks against a new TAP device of that name in ns.
func CheckTap(ns *kernel.Namespace, name string) error {
	if name == "" {
		return fault.Invalid("the TAP device needs a name")
	}
	if err := checkIfName(name); err != nil {
		return err
	}
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	l, err := find(h, name)
	if err != nil {
		return err
	}
	if l != nil {
		return fault.Conflict("device %s exists already: choose another name, or delete it with `ip link delete %s`", name, name)
	}
	fd, err := openTun()
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func openTun() (int, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fault.Unsupported("open %s: %w: TAP devices need the kernel's tun module (modprobe tun) and the right to use that device", tunDevice, err)
	}
	return fd, nil
}

// makeTap works in the namespace of its thread, which the device is made in.
func makeTap(ns *kernel.Namespace, spec Tap) error {
	fd, err := openTun()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq(spec.Name)
	if err != nil {
		return fault.Invalid("TAP device %q: %w", spec.Name, err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("make TAP device %s: %w", spec.Name, err)
	}
	// Marked ours before it outlives the descriptor: a crash leaves none that
	// nobody knows of.
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	l, err := h.LinkByName(spec.Name)
	if err != nil {
		return fmt.Errorf("look up device %s: %w", spec.Name, err)
	}
	if err := h.LinkSetGroup(l, Group); err != nil {
		return fmt.Errorf("mark device %s: %w", spec.Name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, spec.Owner); err != nil {
		return fmt.Errorf("let user %d use TAP device %s: %w", spec.Owner, spec.Name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("keep TAP device %s: %w", spec.Name, err)
	}
	return nil
}

// HasTap reports whether ns has a TAP device of ours of that name.
func HasTap(ns *kernel.Namespace, name string) (bool, error) {
	h, err := ns.Netlink()
	if err != nil {
		return false, err
	}
	l, err := find(h, name)
	if err != nil || l == nil {
		return false, err
	}
	tap, ok := l.(*netlink.Tuntap)
	return ok && tap.Mode == netlink.TUNTAP_MODE_TAP && tap.Attrs().Group == Group, nil
}

// ingressQdisc is where frames that come in pass by (tc(8)).
var ingressQdisc = netlink.MakeHandle(0xffff, 0)

// redirect sends every frame that comes in by one device out by another. What
// is so already stays untouched.
func redirect(h *netlink.Handle, from, to netlink.Link) error {
	ok, err := redirected(h, from, to)
	if err != nil || ok {
		return err
	}
	qdisc := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: from.Attrs().Index, Handle: ingressQdisc, Parent: netlink.HANDLE_INGRESS}}
	if err := h.QdiscDel(qdisc); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) { // there is none
		return fmt.Errorf("drop the old redirection of %s: %w", from.Attrs().Name, err)
	}
	if err := h.QdiscAdd(qdisc); err != nil {
		return unredirected(from, to, err)
	}
	filter := &netlink.U32{ // without a selector it matches everything
		FilterAttrs: netlink.FilterAttrs{LinkIndex: from.Attrs().Index, Parent: ingressQdisc, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions: []netlink.Action{&netlink.MirredAction{
			ActionAttrs: netlink.ActionAttrs{Action: netlink.TC_ACT_STOLEN}, MirredAction: netlink.TCA_EGRESS_REDIR, Ifindex: to.Attrs().Index,
		}},
	}
	if err := h.FilterAdd(filter); err != nil {
		return unredirected(from, to, err)
	}
	return nil
}

func unredirected(from, to netlink.Link, err error) error {
	return fault.Unsupported("redirect frames of %s to %s: %w: the kernel needs sch_ingress, cls_u32 and act_mirred",
		from.Attrs().Name, to.Attrs().Name, err)
}

func redirected(h *netlink.Handle, from, to netlink.Link) (bool, error) {
	filters, err := h.FilterList(from, ingressQdisc)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) { // no such qdisc
		return false, nil
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return false, fmt.Errorf("list the redirections of %s: %w", from.Attrs().Name, err)
	}
	for _, f := range filters {
		u32, ok := f.(*netlink.U32)
		if !ok {
			continue
		}
		for _, a := range u32.Actions {
			if m, ok := a.(*netlink.MirredAction); ok && m.Ifindex == to.Attrs().Index && m.MirredAction == netlink.TCA_EGRESS_REDIR {
				return true, nil
			}
		}
	}
	return false, nil
}

// MTU gives that of a device.
func MTU(ns *kernel.Namespace, name string) (int, error) {
	h, err := ns.Netlink()
	if err != nil {
		return 0, err
	}
	l, err := h.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("look up device %s: %w", name, err)
	}
	return l.Attrs().MTU, nil
}
