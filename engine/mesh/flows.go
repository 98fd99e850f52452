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
	"weft/engine/model"
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
	return flows(n.sandbox, p, func(f *netlink.ConntrackFlow) bool { return !f.Reverse.SrcIP.Equal(f.Forward.DstIP) })
}

// Flows gives those that go straight to a task.
func (h *Host) Flows(p Port) ([]Flow, error) {
	a := model.AliasesOf(h.Network.Addr)
	list, err := flows(h.Namespace, p, func(f *netlink.ConntrackFlow) bool {
		alias, _ := netip.AddrFromSlice(f.Reverse.SrcIP)
		return a.Task(alias.Unmap()).IsValid()
	})
	for i := range list {
		list[i].Task = netip.AddrPortFrom(a.Task(list[i].Task.Addr()), list[i].Task.Port())
	}
	return list, err
}

// flows gives those to a published port that are the mesh's, by client.
func flows(ns *kernel.Namespace, p Port, mesh func(*netlink.ConntrackFlow) bool) ([]Flow, error) {
	var out []Flow
	err := kernel.Do(ns, func() error {
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			list, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
			if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
				return err
			}
			for _, f := range list {
				if f.Forward.Protocol == p.Proto && f.Forward.DstPort == p.Published && mesh(f) {
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
