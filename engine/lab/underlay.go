package lab

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
)

// bridgeName is the underlay's switch. No host can have this name, which has
// an upper-case letter.
const bridgeName = "Switch"

// eth is a host's link to the underlay.
const eth = "eth0"

// ensureUnderlay makes the underlay if it is not there, as after a reboot of
// the machine.
func (l *Lab) ensureUnderlay(mtu int) error {
	ns, err := kernel.Open(l.Underlay())
	if errdefs.IsNotFound(err) {
		// Without its mount the file is what a reboot left.
		if err := kernel.Remove(l.Underlay()); err != nil {
			return fmt.Errorf("make the underlay: %w", err)
		}
		ns, err = kernel.Create(l.Underlay())
	}
	if err != nil {
		return fmt.Errorf("make the underlay: %w", err)
	}
	if err := ns.Close(); err != nil {
		return fmt.Errorf("make the underlay: %w", err)
	}
	if err := l.inUnderlay(func(_ *kernel.Namespace, h *netlink.Handle) error { return ensureBridge(h, mtu) }); err != nil {
		return err
	}
	return l.ensureCuts()
}

func ensureBridge(h *netlink.Handle, mtu int) error {
	if _, err := h.LinkByName(bridgeName); err == nil {
		return nil
	}
	snoop := false // a switch that floods multicast, so that nothing depends on a querier
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = bridgeName, mtu
	bridge := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snoop}
	if err := h.LinkAdd(bridge); err != nil {
		return kernelLacks("bridge", fmt.Errorf("make the underlay's bridge: %w", err))
	}
	if err := h.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bring the underlay's bridge up: %w", err)
	}
	return nil
}

// plug connects a host to the underlay: one end of a veth pair is a port of
// the bridge, named after the host, the other eth0 in the namespaces of pid.
func (l *Lab) plug(host Host, mtu, pid int) error {
	return l.inUnderlay(func(_ *kernel.Namespace, h *netlink.Handle) error {
		// A host that was killed takes its links along, but not at once.
		if err := deleteLink(h, host.Name); err != nil {
			return err
		}
		bridge, err := h.LinkByName(bridgeName)
		if err != nil {
			return fmt.Errorf("find the underlay's bridge: %w", err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.MasterIndex = host.Name, mtu, bridge.Attrs().Index
		port := &netlink.Veth{
			LinkAttrs: attrs, PeerName: eth, PeerNamespace: netlink.NsPid(pid),
			PeerMTU: uint32(mtu), PeerHardwareAddr: hardwareAddr(l.Name, host.Name), //nolint:gosec // at most maxMTU
		}
		if err := h.LinkAdd(port); err != nil {
			return kernelLacks("veth", fmt.Errorf("connect %s to the underlay: %w", host.Name, err))
		}
		if err := h.LinkSetUp(port); err != nil {
			return fmt.Errorf("bring the port of %s up: %w", host.Name, err)
		}
		return nil
	})
}

// unplug removes a host's veth pair, if it is there.
func (l *Lab) unplug(host string) error {
	err := l.inUnderlay(func(_ *kernel.Namespace, h *netlink.Handle) error { return deleteLink(h, host) })
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

func deleteLink(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	var absent netlink.LinkNotFoundError
	if errors.As(err, &absent) {
		return nil
	}
	if err == nil {
		err = h.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) { // gone in between
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}

// removeUnderlay removes the underlay's links, then its namespace. The links
// first: a namespace is taken apart some time after its last user is gone.
func (l *Lab) removeUnderlay() error {
	err := l.inUnderlay(func(_ *kernel.Namespace, h *netlink.Handle) error {
		links, err := h.LinkList()
		if err != nil {
			return fmt.Errorf("list the underlay's links: %w", err)
		}
		for _, link := range links {
			if link.Attrs().Name != "lo" {
				err = errors.Join(err, deleteLink(h, link.Attrs().Name))
			}
		}
		return err
	})
	if errdefs.IsNotFound(err) {
		err = nil
	}
	return errors.Join(err, kernel.Remove(l.Underlay()))
}

// inUnderlay calls f with the underlay's namespace and netlink in it. It fails
// with NotFound if there is no underlay.
func (l *Lab) inUnderlay(f func(*kernel.Namespace, *netlink.Handle) error) error {
	ns, err := kernel.Open(l.Underlay())
	if err != nil {
		return fmt.Errorf("open the underlay of lab %s: %w", l.Name, err)
	}
	defer ns.Close() //nolint:errcheck // only read
	h, err := ns.Netlink()
	if err != nil {
		return fmt.Errorf("open netlink in the underlay: %w", err)
	}
	return f(ns, h)
}

// kernelLacks turns the kernel's ways to say that it has no such kind of
// object into an Unsupported error.
func kernelLacks(what string, err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return fault.Unsupported("this kernel has no %s: %w", what, err)
	}
	return err
}
