package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// bridgeName is the underlay's switch. No host can have this name, which has
// an upper-case letter.
const bridgeName = "Switch"

// eth is a host's link to the underlay.
const eth = "eth0"

// ensureUnderlay makes the underlay if it is not there, as after a reboot of
// the machine.
func (l *Lab) ensureUnderlay(mtu int) error {
	held, err := isNamespace(l.Underlay())
	if err != nil {
		return err
	}
	if !held {
		if err := newNamespace(l.Underlay()); err != nil {
			return err
		}
	}
	if err := l.inUnderlay(func(h *netlink.Handle, _ netns.NsHandle) error { return ensureBridge(h, mtu) }); err != nil {
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
	return l.inUnderlay(func(h *netlink.Handle, _ netns.NsHandle) error {
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
	held, err := isNamespace(l.Underlay())
	if err != nil || !held {
		return err
	}
	return l.inUnderlay(func(h *netlink.Handle, _ netns.NsHandle) error { return deleteLink(h, host) })
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
	path := l.Underlay()
	held, err := isNamespace(path)
	if err != nil {
		return err
	}
	if held {
		err = l.inUnderlay(func(h *netlink.Handle, _ netns.NsHandle) error {
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
		if unmountErr := unix.Unmount(path, unix.MNT_DETACH); unmountErr != nil {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", path, unmountErr))
		}
	}
	if rmErr := os.Remove(path); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return err
}

// inUnderlay calls f with netlink in the underlay and with its namespace.
func (l *Lab) inUnderlay(f func(*netlink.Handle, netns.NsHandle) error) error {
	ns, err := netns.GetFromPath(l.Underlay())
	if err != nil {
		return fmt.Errorf("open the underlay of lab %s: %w", l.Name, err)
	}
	defer ns.Close() //nolint:errcheck // only read
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in the underlay: %w", err)
	}
	defer h.Close()
	return f(h, ns)
}

// isNamespace reports whether a namespace is mounted at path.
func isNamespace(path string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", path, err)
	}
	return st.Type == unix.NSFS_MAGIC, nil
}

// newNamespace makes a network namespace that lives as long as its mount.
func newNamespace(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make the underlay: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make the underlay: %w", err)
	}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		return fmt.Errorf("make the underlay's namespace: %w", err)
	}
	return nil
}

// kernelLacks turns the kernel's ways to say that it has no such kind of
// object into an Unsupported error.
func kernelLacks(what string, err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return fault.Unsupported("this kernel has no %s: %w", what, err)
	}
	return err
}
