package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ForgetFlows makes the connection tracking of ns forget the flows that lead
// to one of the addresses after translation. Nothing to forget is fine.
func ForgetFlows(ns *Namespace, addrs ...netip.Addr) error { return forget(ns, addrs, 0) }

// ForgetDatagrams does the same for UDP alone.
func ForgetDatagrams(ns *Namespace, addrs ...netip.Addr) error {
	return forget(ns, addrs, unix.IPPROTO_UDP)
}

// forget deletes flows of a protocol, or of all for 0. The kernel is asked for
// all of a family's flows once.
func forget(ns *Namespace, addrs []netip.Addr, proto uint8) error {
	families := map[netlink.InetFamily]map[netip.Addr]bool{}
	for _, a := range addrs {
		family := netlink.InetFamily(unix.AF_INET)
		if a.Is6() {
			family = unix.AF_INET6
		}
		if families[family] == nil {
			families[family] = map[netip.Addr]bool{}
		}
		families[family][a] = true
	}
	if len(families) == 0 {
		return nil
	}
	return Do(ns, func() error {
		s, err := nl.Subscribe(unix.NETLINK_NETFILTER)
		if err != nil {
			return fmt.Errorf("open connection tracking: %w", err)
		}
		defer s.Close()
		for family, list := range families {
			if err := forgetFamily(s, family, list, proto); err != nil {
				return fmt.Errorf("forget flows to %v: %w", addrs, err)
			}
		}
		return nil
	})
}

func forgetFamily(s *nl.NetlinkSocket, family netlink.InetFamily, addrs map[netip.Addr]bool, proto uint8) error {
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return err
	}
	for _, f := range flows {
		server, _ := netip.AddrFromSlice(f.Reverse.SrcIP)
		if !addrs[server.Unmap()] || (proto != 0 && f.Reverse.Protocol != proto) || over(f) {
			continue
		}
		if err := deleteFlow(s, f); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// tcpTimeWait is a state of TCP flows (linux/netfilter/nf_conntrack_tcp.h).
const tcpTimeWait = 7

// over reports whether both sides have ended a flow: the kernel makes it anew,
// translation and all, when its ports are used again, which it does not do for
// one that was cut. A busy node has thousands.
func over(f *netlink.ConntrackFlow) bool {
	tcp, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP)
	return ok && tcp.State == tcpTimeWait
}

// Attributes of a tuple's addresses (linux/netfilter/nfnetlink_conntrack.h).
const (
	tupleSrcV6 = 3
	tupleDstV6 = 4
)

// deleteFlow names the flow by where its answers come from. By its beginning,
// as the library does, and even by its ID, it can be taken for one that has
// begun from the same port since: the kernel gives that the memory of this one.
func deleteFlow(s *nl.NetlinkSocket, f *netlink.ConntrackFlow) error {
	req := nl.NewNetlinkRequest(int(netlink.ConntrackTable)<<8|nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}
	req.AddData(&nl.Nfgenmsg{NfgenFamily: f.FamilyType, Version: nl.NFNETLINK_V0})
	src, dst := nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if f.FamilyType == unix.AF_INET6 {
		src, dst = tupleSrcV6, tupleDstV6
	}
	reply := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_REPLY, nil)
	addresses := reply.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
	addresses.AddRtAttr(src, ofFamily(f.Reverse.SrcIP, f.FamilyType))
	addresses.AddRtAttr(dst, ofFamily(f.Reverse.DstIP, f.FamilyType))
	ports := reply.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	ports.AddRtAttr(nl.CTA_PROTO_NUM, []byte{f.Reverse.Protocol})
	ports.AddRtAttr(nl.CTA_PROTO_SRC_PORT, nl.BEUint16Attr(f.Reverse.SrcPort))
	ports.AddRtAttr(nl.CTA_PROTO_DST_PORT, nl.BEUint16Attr(f.Reverse.DstPort))
	req.AddData(reply)
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}

func ofFamily(ip net.IP, family uint8) []byte {
	if family == unix.AF_INET {
		return ip.To4()
	}
	return ip.To16()
}
