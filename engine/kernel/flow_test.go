package kernel_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// flowTo gives a flow of one client's port that a server answers.
func flowTo(server string, state uint8) *netlink.ConntrackFlow {
	addr := netip.MustParseAddr(server)
	client, service, family := net.IP{198, 51, 100, 9}, net.IP{192, 0, 2, 1}, uint8(unix.AF_INET)
	if addr.Is6() {
		client, service, family = net.ParseIP("2001:db8::9"), net.ParseIP("2001:db8::1"), unix.AF_INET6
	}
	f := &netlink.ConntrackFlow{
		FamilyType: family, TimeOut: 100,
		Forward: netlink.IPTuple{Protocol: unix.IPPROTO_TCP, SrcIP: client, SrcPort: 41000, DstIP: service, DstPort: 80},
		Reverse: netlink.IPTuple{Protocol: unix.IPPROTO_TCP, SrcIP: addr.AsSlice(), SrcPort: 80, DstIP: client, DstPort: 41000},
	}
	f.ProtoInfo = &netlink.ProtoInfoTCP{State: state}
	return f
}

// States of flows, of enum tcp_conntrack.
const (
	tcpEstablished = 3
	tcpTimeWait    = 7
)

func TestForget(t *testing.T) {
	ns := create(t)
	add := func(f *netlink.ConntrackFlow) {
		t.Helper()
		must(t, kernel.Do(ns, func() error {
			return netlink.ConntrackCreate(netlink.ConntrackTable, netlink.InetFamily(f.FamilyType), f)
		}))
	}
	there := func(family int) (out []string) {
		t.Helper()
		must(t, kernel.Do(ns, func() error {
			list, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.InetFamily(family))
			for _, f := range list {
				out = append(out, f.Reverse.SrcIP.String())
			}
			return err
		}))
		return out
	}
	for family, servers := range map[int][2]string{unix.AF_INET: {"10.0.0.7", "10.0.0.8"}, unix.AF_INET6: {"fd00::7", "fd00::8"}} {
		gone, next := netip.MustParseAddr(servers[0]), netip.MustParseAddr(servers[1])
		add(flowTo(servers[0], tcpEstablished))
		must(t, kernel.ForgetFlows(ns, next))
		if got := there(family); len(got) != 1 {
			t.Fatalf("another server's flow is gone: %v", got)
		}
		must(t, kernel.ForgetFlows(ns, gone))
		if got := there(family); len(got) != 0 {
			t.Fatalf("left: %v", got)
		}
		// The client's port has a new flow by the time the old one's turn comes.
		add(flowTo(servers[1], tcpEstablished))
		if err := kernel.DeleteFlow(ns, flowTo(servers[0], tcpEstablished)); !errors.Is(err, unix.ENOENT) {
			t.Errorf("a flow that is no more: %v", err)
		}
		if got := there(family); len(got) != 1 {
			t.Errorf("the new flow went with the old one: %v", got)
		}
		must(t, kernel.ForgetFlows(ns, next))
		add(flowTo(servers[0], tcpTimeWait))
		must(t, kernel.ForgetFlows(ns, gone))
		if got := there(family); len(got) != 1 {
			t.Errorf("a flow that is over was worth a request: %v", got)
		}
	}
}
