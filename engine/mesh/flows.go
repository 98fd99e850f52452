package mesh

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// Flow is one that a node carries.
type Flow struct {
	Client netip.AddrPort
	Task   netip.AddrPort
	State  string        // of TCP, as conntrack(8) names it
	Left   time.Duration // until it is forgotten, if nothing passes
}

// Flows gives those to a published port, by client.
func (n *Node) Flows(p Port) ([]Flow, error) {
	var out []Flow
	err := kernel.Do(n.sandbox, func() error {
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			list, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
			if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
				return err
			}
			for _, f := range list {
				if f.Forward.Protocol == p.Proto && f.Forward.DstPort == p.Published && !f.Reverse.SrcIP.Equal(f.Forward.DstIP) {
					out = append(out, flowOf(f))
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the flows to %s: %w", p, err)
	}
	slices.SortFunc(out, func(a, b Flow) int { return cmp.Or(a.Client.Compare(b.Client), a.Task.Compare(b.Task)) })
	return out, nil
}

func flowOf(f *netlink.ConntrackFlow) Flow {
	out := Flow{
		Client: addrPort(f.Forward.SrcIP, f.Forward.SrcPort), Task: addrPort(f.Reverse.SrcIP, f.Reverse.SrcPort),
		Left: time.Duration(f.TimeOut) * time.Second,
	}
	if tcp, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP); ok && int(tcp.State) < len(tcpStates()) {
		out.State = tcpStates()[tcp.State]
	}
	return out
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}

// tcpStates are those of enum tcp_conntrack.
func tcpStates() []string {
	return []string{"none", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2"}
}
