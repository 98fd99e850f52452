package overlay_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// udpV6 is a datagram to a port nobody has.
func udpV6(from, to netip.Addr, text string) []byte {
	return netnstest.Datagram(netip.AddrPortFrom(from, 4444), netip.AddrPortFrom(to, 80), text)
}

// advertisement says that a neighbor is at a MAC address now.
func advertisement(from, to, neighbor netip.Addr, mac model.MAC, next ...byte) []byte {
	p := append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, neighbor.AsSlice()...)
	return netnstest.PacketV6(from, to, unix.IPPROTO_ICMPV6, append(append(p, 2, 1), mac[:]...), next...)
}

// puts puts an IPv6 packet in a frame on the wire of a container.
func (c *container) puts(tb testing.TB, from, to model.MAC, packet []byte) {
	tb.Helper()
	netnstest.Send(tb, c.ns, c.IfName, netnstest.Frame(to, from, unix.ETH_P_IPV6, packet))
}

// watch opens a socket that has all IPv6 packets that come to a namespace, to
// whichever MAC address.
func watch(tb testing.TB, ns *kernel.Namespace) (fd int) {
	tb.Helper()
	fd = netnstest.PacketSocket(tb, ns, unix.ETH_P_IPV6)
	tb.Cleanup(func() { must(tb, unix.Close(fd)) })
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	must(tb, unix.SetNonblock(fd, false))
	must(tb, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait))
	return fd
}

// until gives the names of the packets, of those in names, that come before
// the last one does.
func until(tb testing.TB, fd int, names map[string]string, last []byte) (came []string) {
	tb.Helper()
	buf := make([]byte, 2048)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			tb.Fatalf("what is honest does not arrive: %v", err)
		}
		if string(buf[:n]) == string(last) {
			return came
		}
		if name := names[string(buf[:n])]; name != "" {
			came = append(came, name)
		}
	}
	tb.Fatal("what is honest does not arrive")
	return nil
}

// guarded is an ingress network of two nodes, with three tasks.
type guarded struct {
	nodes           []*node
	places          []netip.Prefix
	evil, near, far *container // the last on the second node
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	nw := ingress()
	g := &guarded{nodes: nodes(t, 2), places: []netip.Prefix{netip.MustParsePrefix("10.3.0.2/24"), netip.MustParsePrefix("10.3.0.3/24")}}
	one, two := g.nodes[0], g.nodes[1]
	for _, n := range g.nodes {
		n.ensure(t, nw)
	}
	g.evil, g.near, g.far = one.task(t, nw, "10.3.0.5"), one.task(t, nw, "10.3.0.6"), two.task(t, nw, "10.3.0.7")
	introduce(t, nw, map[*node][]*container{one: {g.evil, g.near}, two: {g.far}})
	for i, n := range g.nodes {
		n.plug(t, nw, g.places[i])
		g.nodes[1-i].meet(t, nw, n, g.places[i])
	}
	return g
}

// alias gives that of a task for a node.
func (g *guarded) alias(node int, task *container) netip.Addr {
	return model.AliasesOf(g.places[node]).V6(g.places[node].Addr(), task.Addr.Addr())
}

// A task sends nothing over IPv6 under another address than its own, nor says
// that it has another's, to no task and no host. What is honest is sent after
// that, and comes alone.
func TestGuardV6(t *testing.T) {
	g := newGuarded(t)
	evil, others := g.evil, []*container{g.near, g.far}
	own, mac := evil.AddrV6.Addr(), evil.MAC
	all := model.MAC{0x33, 0x33, 0, 0, 0, 1}
	everybody, local := netip.MustParseAddr("ff02::1"), netip.MustParseAddr("fe80::5")
	type place struct {
		name      string
		ns        *kernel.Namespace
		mac       model.MAC
		addr, own netip.Addr   // the latter is what evil sends from
		forged    []netip.Addr // what it can't send from
	}
	var places []place
	for _, c := range others {
		places = append(places, place{c.Name, c.ns, c.MAC, c.AddrV6.Addr(), own, []netip.Addr{
			g.near.AddrV6.Addr(), g.far.AddrV6.Addr(), netip.MustParseAddr("fd03::1"), netip.MustParseAddr("2001:db8::66"), netip.MustParseAddr("::1"),
		}})
	}
	for i, n := range g.nodes {
		places = append(places, place{n.Name, n.NS, model.MACFromAddr(g.places[i].Addr()).Leg(), netip.MustParseAddr("2001:db8::1"), g.alias(i, evil), []netip.Addr{
			g.alias(i, g.near), g.alias(i, g.far), g.near.AddrV6.Addr(), netip.MustParseAddr("2001:db8::66"),
		}})
	}
	for _, p := range places {
		t.Run("to "+p.name, func(t *testing.T) {
			fd, names := watch(t, p.ns), map[string]string{}
			try := func(name string, from, to model.MAC, packet []byte) {
				names[string(packet)] = name
				evil.puts(t, from, to, packet)
			}
			for _, from := range p.forged {
				try("from "+from.String(), mac, p.mac, udpV6(from, p.addr, "forged"))
				try("from "+from.String()+" and its MAC address", g.near.MAC, p.mac, udpV6(from, p.addr, "more forged"))
			}
			try("from another MAC address", g.near.MAC, p.mac, udpV6(p.own, p.addr, "forged"))
			for _, other := range others {
				victim := other.AddrV6.Addr()
				for _, from := range []netip.Addr{own, local, netip.IPv6Unspecified(), victim} {
					name := "an advertisement of " + victim.String() + " from " + from.String()
					try(name, mac, p.mac, advertisement(from, p.addr, victim, mac))
					try(name+" to all", mac, all, advertisement(from, everybody, victim, mac))
				}
			}
			honest := udpV6(p.own, p.addr, "honest")
			evil.puts(t, mac, p.mac, honest)
			for _, name := range until(t, fd, names, honest) {
				t.Errorf("%s: %s arrives", p.name, name)
			}
			if p.own == own {
				advertised := advertisement(own, p.addr, own, mac)
				evil.puts(t, mac, p.mac, advertised)
				if came := until(t, fd, names, advertised); len(came) > 0 {
					t.Errorf("later than what is honest come %v", came)
				}
			}
		})
	}
}

// An advertisement behind other headers is one.
func TestGuardV6Headers(t *testing.T) {
	g := newGuarded(t)
	reach(t, g.near, g.far) // who knows its neighbor from then
	victim, to := g.far.AddrV6.Addr(), g.near.AddrV6.Addr()
	for _, headers := range [][]byte{{unix.IPPROTO_HOPOPTS}, {unix.IPPROTO_DSTOPTS}, {unix.IPPROTO_HOPOPTS, unix.IPPROTO_DSTOPTS}} {
		fd := watch(t, g.near.ns)
		forged := advertisement(g.evil.AddrV6.Addr(), to, victim, g.evil.MAC, headers...)
		g.evil.puts(t, g.evil.MAC, g.near.MAC, forged)
		honest := udpV6(g.evil.AddrV6.Addr(), to, "honest")
		g.evil.puts(t, g.evil.MAC, g.near.MAC, honest)
		if came := until(t, fd, map[string]string{string(forged): "forged"}, honest); len(came) > 0 {
			t.Errorf("headers %v: an advertisement of another's address arrives", headers)
		}
		if out := netnstest.Exec(t, g.near.ns, "ip", "neigh", "show", victim.String()); strings.Contains(out, g.evil.MAC.String()) {
			t.Errorf("headers %v: a task is believed that has its neighbor's address: %s", headers, out)
		}
	}
}
