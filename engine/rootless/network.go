package rootless

import (
	"fmt"
	"net"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
)

// NodeLink is the link of the network inside that has its address: the one a
// swarm's node is known by. Nothing is behind it.
const NodeLink = "node0"

// nodeAddr is RFC 7600's "IPv4 dummy address": nobody else's, anywhere.
func nodeAddr() *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 0, 8), Mask: net.CIDRMask(32, 32)}}
}

// newNetwork makes a network namespace in which nothing but this machine can
// be reached.
func newNetwork() (*kernel.Namespace, error) {
	var ns *kernel.Namespace
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: there is no way back, and the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			ns, err = kernel.Current()
		}
		made <- err
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	h, err := ns.Netlink()
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = NodeLink
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return nil, fault.Internal("make link %s: %w", NodeLink, err)
	}
	for _, name := range []string{"lo", NodeLink} {
		link, err := h.LinkByName(name)
		if err == nil && name == NodeLink {
			err = h.AddrAdd(link, nodeAddr())
		}
		if err == nil {
			err = h.LinkSetUp(link)
		}
		if err != nil {
			return nil, fault.Internal("bring link %s up: %w", name, err)
		}
	}
	return ns, nil
}
