package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// Capabilities says what this process may do and what its kernel can do. Nil
// means it works; an error is a fault (Forbidden for a missing privilege,
// Unsupported for a missing feature) whose text names the fix.
type Capabilities struct {
	Privileges error // CAP_NET_ADMIN and CAP_SYS_ADMIN
	Namespaces error // network namespaces
	Bridge     error
	Veth       error
	VXLAN      error
	IPv6       error
	NFTables   error
	ESP        error // IPsec in the kernel, with AES-GCM
}

// Overlay is nil when overlay networks can work; else it says all that is
// missing for them.
func (c Capabilities) Overlay() error {
	if c.Privileges != nil {
		return c.Privileges // the others fail for want of it
	}
	return errors.Join(c.Namespaces, c.Bridge, c.Veth, c.VXLAN)
}

// Probe finds out by trying, in a namespace made for it, which is gone
// afterwards. Where the privileges are missing nothing is tried and every
// field holds that error.
func Probe(ctx context.Context) Capabilities {
	if err := errors.Join(ctx.Err(), privileges()); err != nil {
		return all(err)
	}
	var c Capabilities
	err := elsewhere(func() error { return explainNamespaces(unix.Unshare(unix.CLONE_NEWNET)) }, func() error {
		c = probeHere(ctx)
		return nil
	})
	if err != nil {
		return all(err)
	}
	return c
}

func all(err error) Capabilities {
	return Capabilities{
		Privileges: err, Namespaces: err, Bridge: err, Veth: err,
		VXLAN: err, IPv6: err, NFTables: err, ESP: err,
	}
}

// probeHere tries everything in the calling thread's namespace.
func probeHere(ctx context.Context) Capabilities {
	var c Capabilities
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return all(fault.Unsupported("open netlink: %w", err))
	}
	defer routes.Close()
	link := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	c.Bridge = explainLink("bridge", "CONFIG_BRIDGE",
		routes.LinkAdd(&netlink.Bridge{LinkAttrs: link("br")}))
	c.Veth = explainLink("veth", "CONFIG_VETH",
		routes.LinkAdd(&netlink.Veth{LinkAttrs: link("va"), PeerName: "vb"}))
	c.VXLAN = explainLink("vxlan", "CONFIG_VXLAN",
		routes.LinkAdd(&netlink.Vxlan{LinkAttrs: link("vx"), VxlanId: 1, Port: 4789}))
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		c.IPv6 = fault.Unsupported("this kernel has no IPv6: boot it without ipv6.disable=1 or use a kernel with CONFIG_IPV6: %w", err)
	}
	c.NFTables = explainNFTables(probeNFTables())
	c.ESP = explainESP(probeESP())
	if err := ctx.Err(); err != nil {
		return all(err)
	}
	return c
}

// probeNFTables asks nftables for its generation, which creates nothing.
func probeNFTables() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	s := &batchSocket{fd: fd, buf: make([]byte, 4096)}
	defer s.close()
	var b Batch
	const getGeneration = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN
	b.Begin(getGeneration, 0, make([]byte, 4)) // struct nfgenmsg
	failures, err := s.exchange(&b, 0, 1)
	if len(failures) > 0 {
		return failures[0].Err
	}
	return err
}

// probeESP adds one security association to the namespace made for the probe.
func probeESP() error {
	h, err := netlink.NewHandle(unix.NETLINK_XFRM)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.XfrmStateAdd(&netlink.XfrmState{
		Src: net.IPv4(127, 0, 0, 1), Dst: net.IPv4(127, 0, 0, 2),
		Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TRANSPORT, Spi: 256,
		Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 20), ICVLen: 64},
	})
}

func privileges() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read the capabilities of this process: %w", err)
	}
	return explainPrivileges(uint64(data[1].Effective)<<32 | uint64(data[0].Effective))
}

func explainPrivileges(effective uint64) error {
	const needed = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	if effective&needed == needed {
		return nil
	}
	return fault.Forbidden("weft engine needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN): run it with sudo")
}

func explainNamespaces(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ENOSPC) {
		return fault.Unavailable("no network namespace can be made: the limit of namespaces is reached (sysctl user.max_net_namespaces): %w", err)
	}
	return fault.Unsupported("this kernel or its sandbox allows no network namespaces: use a kernel with CONFIG_NET_NS and allow unshare(CLONE_NEWNET): %w", err)
}

func explainLink(kind, config string, err error) error {
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		name := kind
		if kind == "vxlan" {
			name = "VXLAN"
		}
		return fault.Unsupported("this kernel has no %s: load the %s module (modprobe %s) or use a kernel with %s", name, kind, kind, config)
	}
	return fault.Unsupported("this kernel refuses a %s device: %w", kind, err)
}

func explainNFTables(err error) error {
	if err == nil {
		return nil
	}
	return fault.Unsupported("this kernel has no nftables: load the nf_tables module (modprobe nf_tables) or use a kernel with CONFIG_NF_TABLES: %w", err)
}

func explainESP(err error) error {
	if err == nil {
		return nil
	}
	return fault.Unsupported("this kernel has no ESP: load the esp4 module (modprobe esp4) or use a kernel with CONFIG_INET_ESP and CONFIG_CRYPTO_GCM: %w", err)
}
