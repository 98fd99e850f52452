package mesh_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/netnstest"
)

const (
	aliasAddr   = "240.0.101.7" // of the task, for the first node
	aliasAddrV6 = "fd77:6566:74:1:a00:65:a00:7"
	hostAddrV6  = "2001:db8::1"
	clientV6    = "2001:db8::9"
)

// newStraightHost is a host that is plugged into the ingress network itself.
func newStraightHost(t testing.TB, at mesh.Place) *host {
	t.Helper()
	b := newHost(t)
	// The overlay driver's guard does this for tasks.
	netnstest.Exec(t, b.network, "nft", "add table netdev g; add chain netdev g own { type filter hook ingress device task priority 0; };"+
		"add rule netdev g own ip saddr & 240.0.0.255 == 240.0.0.7 ether daddr set 02:43:0a:00:00:65;"+
		"add rule netdev g own ip6 saddr & ffff:ffff:ffff:ffff::ffff:ffff == fd77:6566:74:1::a00:7 ether daddr set 02:43:0a:00:00:65")
	for ns, addr := range map[*kernel.Namespace]string{b.ns: hostAddrV6, b.client: clientV6} {
		netnstest.Exec(t, ns, "ip", "addr", "add", addr+"/64", "dev", "eth0", "nodad")
	}
	must(t, b.host.Close())
	b.open(t, at, b.network)
	if err := b.host.Indirect(); err != nil {
		t.Fatal(err)
	}
	return b
}

// target has the task's own port in a service, so that its flows go straight.
func target(s *mesh.Service) { s.Backends[0].Target = 80 }

// way gives how the host's flow to a published port goes: straight, by the
// ingress sandbox, or not at all.
func (b *host) way(t *testing.T, proto byte) string {
	t.Helper()
	list, err := b.host.Flows(mesh.Port{Proto: proto, Published: 8080})
	must(t, err)
	if len(list) > 0 {
		if got := list[0].Task.String(); got != taskAddr+":80" {
			t.Errorf("the flow's task is %s", got)
		}
		return "straight"
	}
	if list, err = b.node.Flows(mesh.Port{Proto: proto, Published: 8080}); err == nil && len(list) > 0 {
		return "by the sandbox"
	}
	must(t, err)
	return "none"
}

// forgetAll ends all flows of the bed.
func (b *host) forgetAll(t *testing.T) {
	t.Helper()
	for _, ns := range []*kernel.Namespace{b.ns, b.nodes[0], b.task} {
		must(t, kernel.Do(ns, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }))
	}
}

// Flows of TCP go straight to tasks that answer at their aliases, and others by
// the ingress sandbox; either way the task sees the client.
func TestStraight(t *testing.T) {
	b := newStraightHost(t, firstNode())
	for _, c := range []struct {
		name     string
		change   func(*mesh.Service)
		tcp, udp string
	}{
		{"a task of this engine's", target, "straight", "by the sandbox"},
		{"one that listens at one address", func(*mesh.Service) {}, "by the sandbox", "by the sandbox"},
		{"one of two is Docker's", func(s *mesh.Service) {
			target(s)
			s.Backends = append(s.Backends, mesh.Backend{Addr: s.Backends[0].Addr, AddrV6: s.Backends[0].AddrV6, Target: 80, Foreign: true})
			s.Algorithm = mesh.Random // the two are one
		}, "by the sandbox", "by the sandbox"},
		{"again", target, "straight", "by the sandbox"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.forgetAll(t)
			b.publish(t, c.change)
			if strings.HasPrefix(c.name, "one of two") {
				if _, err := b.ask("tcp"); err != nil { // it sees the node
					t.Fatal(err)
				}
			} else {
				b.answers(t)
			}
			if got := b.way(t, unix.IPPROTO_TCP); got != c.tcp {
				t.Errorf("TCP goes %s, not %s", got, c.tcp)
			}
			if got := b.way(t, unix.IPPROTO_UDP); got != c.udp && !strings.HasPrefix(c.name, "one of two") {
				t.Errorf("UDP goes %s, not %s", got, c.udp)
			}
		})
	}
	for _, c := range []struct{ name, to, want string }{
		{"IPv6", "[" + hostAddrV6 + "]:8080", clientV6},
		{"the host's own", hostAddr + ":8080", hostAddr},
		{"the host's loopback address", "127.0.0.1:8080", hostAddr},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.forgetAll(t)
			from := b.ns
			if c.name == "IPv6" {
				from = b.client
			}
			who, err := who(from, c.to)
			if err != nil || !strings.Contains(who, c.want) {
				t.Errorf("the task saw %q, want %s: %v", who, c.want, err)
			}
			if got := b.way(t, unix.IPPROTO_TCP); got != "straight" {
				t.Errorf("it goes %s", got)
			}
		})
	}
}

// A flow that goes straight is forgotten after the service's idle time, too.
func TestStraightIdle(t *testing.T) {
	b := newStraightHost(t, firstNode())
	for _, c := range []struct{ idle, least, most time.Duration }{
		{700 * time.Second, 600 * time.Second, 700 * time.Second},
		{0, 961 * time.Second, 30 * 24 * time.Hour},
	} {
		b.forgetAll(t)
		b.publish(t, func(s *mesh.Service) {
			target(s)
			s.Idle = c.idle
		})
		conn := b.hold(t)
		within(t, c.least, c.most, func() time.Duration {
			list, err := b.host.Flows(mesh.Port{Proto: unix.IPPROTO_TCP, Published: 8080})
			must(t, err)
			if len(list) != 1 || list[0].State != "established" {
				return 0
			}
			return list[0].Left
		})
		must(t, conn.Close())
	}
}

// A task learns that a part of the way to a client takes smaller packets than it
// sends.
func TestStraightPathMTU(t *testing.T) {
	b := newStraightHost(t, firstNode())
	answer := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	netnstest.Serve(t, b.task, ":81", func(c net.Conn) { _, _ = c.Write(answer) })
	port := mesh.Port{Proto: unix.IPPROTO_TCP, Published: 8081}
	s := mesh.Service{Port: port, Backends: []mesh.Backend{{Addr: netip.MustParseAddr(taskAddr), AddrV6: netip.MustParseAddr(taskAddrV6), Target: 81}}}
	must(t, b.host.Set([]mesh.Listen{{Port: port, Service: s}}))
	// The client's end says nothing of it.
	netnstest.Exec(t, b.ns, "ip", "link", "set", "eth0", "mtu", "1300")
	for _, to := range []string{hostAddr, hostAddrV6} {
		must(t, kernel.Do(b.client, func() error {
			c, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(t.Context(), "tcp", net.JoinHostPort(to, "8081"))
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, answer) {
				t.Errorf("%s: %d bytes of %d: %v", to, len(got), len(answer), err)
			}
			return nil
		}))
	}
}

// who asks for the task's view of the client over TCP.
func who(from *kernel.Namespace, to string) (answer string, err error) {
	err = kernel.Do(from, func() error {
		c, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(context.Background(), "tcp", to)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := fmt.Fprint(c, "who?"); err != nil {
			return err
		}
		buf := make([]byte, 128)
		n, err := c.Read(buf)
		answer = string(buf[:n])
		return err
	})
	return answer, err
}

// What the straight way is made of is put right, and where somebody has the
// aliases' addresses it is done without.
func TestStraightDrift(t *testing.T) {
	b := newStraightHost(t, firstNode())
	b.publish(t, target)
	b.answers(t)
	for _, c := range []struct{ name, do, want string }{
		{"a task's place is lost", "nft delete element inet weft-mesh slots4 { tcp . 8080 . 0x00000000 }", "8080/tcp nftables set slots4: 8080/tcp no. 0 -> " + aliasAddr + ":80 is missing"},
		{"a guard is lost", "nft flush chain inet weft-mesh leaving", "nftables chain leaving has 0 rules, should have 2"},
		{"frames get no destination", "nft delete table netdev weftleg0", "nftables table weftleg0 of the ingress network, which leads to tasks, is missing"},
		{"no route", "ip route del 240.0.0.0/4", "a route to the tasks' aliases by weft-mesh is missing"},
		{"the link is down", "ip link set weft-mesh down", "the link weft-mesh to the ingress network is missing or down"},
		{"the link is gone", "ip link del weft-mesh", "the link weft-mesh to the ingress network is missing or down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := b.ns
			if strings.Contains(c.do, "weftleg0") {
				in = b.network
			}
			netnstest.Exec(t, in, "sh", "-c", c.do)
			if seen := drifts(t, b.host.Drift, b.node.Drift); !strings.Contains(seen, c.want+"\n") {
				t.Errorf("seen:\n%s\nwant: %s", seen, c.want)
			}
			must(t, b.host.Rewrite(b.nodes[0]))
			if seen := drifts(t, b.host.Drift, b.node.Drift); seen != "" {
				t.Errorf("not put right: %s", seen)
			}
			b.forgetAll(t)
			b.answers(t)
			if got := b.way(t, unix.IPPROTO_TCP); got != "straight" {
				t.Errorf("TCP goes %s", got)
			}
		})
	}
	t.Run("the addresses are in use", func(t *testing.T) {
		netnstest.Exec(t, b.ns, "ip", "route", "add", "240.9.0.0/16", "dev", "eth0")
		if seen := drifts(t, b.host.Drift); !strings.Contains(seen, "240.0.0.0/4, whose addresses the mesh has for tasks, are in use on this host: route to 240.9.0.0/16") {
			t.Errorf("seen: %s", seen)
		}
		rewritten := func(want string) {
			t.Helper()
			must(t, b.host.Rewrite(b.nodes[0]))
			b.forgetAll(t)
			b.answers(t)
			if got := b.way(t, unix.IPPROTO_TCP); got != want {
				t.Errorf("TCP goes %s, not %s", got, want)
			}
		}
		rewritten("by the sandbox")
		netnstest.Exec(t, b.ns, "ip", "route", "del", "240.9.0.0/16")
		rewritten("straight")
	})
}

// Nobody but the mesh sends to an alias, and nothing but answers comes from one.
func TestStraightGuards(t *testing.T) {
	b := newStraightHost(t, firstNode())
	b.publish(t, target)
	b.answers(t)
	b.forgetAll(t)
	netnstest.Exec(t, b.client, "ip", "route", "add", "240.0.0.0/4", "via", hostAddr)
	netnstest.Exec(t, b.client, "ip", "route", "add", "fd77:6566:74:1::/64", "via", hostAddrV6)
	var all sync.WaitGroup
	for name, from := range map[string]*kernel.Namespace{"neighbor": b.client, "host": b.ns} {
		for _, to := range []string{aliasAddr + ":80", "[" + aliasAddrV6 + "]:80"} {
			all.Go(func() {
				if answer, err := who(from, to); err == nil {
					t.Errorf("%s: %s answers: %s", name, to, answer)
				}
			})
		}
	}
	all.Wait()
	l, err := listenIn(t, b.ns, "udp", hostAddr+":5353")
	must(t, err)
	must(t, kernel.Do(b.task, func() error {
		c, err := (&net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(aliasAddr + ":4444"))}).DialContext(t.Context(), "udp", hostAddr+":5353")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, err = fmt.Fprint(c, "hello")
		return err
	}))
	// What is sent after it, by a neighbor, arrives.
	must(t, kernel.Do(b.client, func() error {
		c, err := new(net.Dialer).DialContext(t.Context(), "udp", hostAddr+":5353")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, err = fmt.Fprint(c, "from outside")
		return err
	}))
	buf := make([]byte, 64)
	must(t, l.SetReadDeadline(time.Now().Add(3*time.Second)))
	n, from, err := l.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "from outside" {
		t.Errorf("the host got %q from %v: %v", buf[:n], from, err)
	}
}

// What is of no flow, a reset somebody has made up, does not get to an alias.
func TestStraightGuardsFlowless(t *testing.T) {
	b := newStraightHost(t, firstNode())
	b.publish(t, target)
	b.answers(t)
	netnstest.Exec(t, b.client, "ip", "route", "add", "240.0.0.0/4", "via", hostAddr)
	seen, err := listenIn(t, b.task, "ip4:tcp", "0.0.0.0")
	must(t, err)
	const forged, later = 4321, 4322
	reset := binary.BigEndian.AppendUint16(nil, forged)
	reset = binary.BigEndian.AppendUint16(reset, 80)
	reset = append(reset, 0, 0, 0, 1, 0, 0, 0, 0, 5<<4, 1<<2, 0, 0, 0, 0, 0, 0) // RFC 9293: RST
	must(t, kernel.Do(b.client, func() error {
		c, err := new(net.Dialer).DialContext(t.Context(), "ip4:tcp", aliasAddr)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, err = c.Write(reset)
		return err
	}))
	must(t, kernel.Do(b.client, func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: later}, Timeout: 3 * time.Second}
		c, err := d.DialContext(t.Context(), "tcp", hostAddr+":8080")
		if err != nil {
			return err
		}
		return c.Close()
	}))
	buf := make([]byte, 128)
	must(t, seen.SetReadDeadline(time.Now().Add(3*time.Second)))
	for from := 0; from != later; {
		n, _, err := seen.ReadFrom(buf)
		must(t, err)
		if from = int(binary.BigEndian.Uint16(buf)); n < 20 || from == forged {
			t.Fatalf("the task got %x", buf[:n])
		}
	}
}

func listenIn(t *testing.T, ns *kernel.Namespace, network, at string) (l net.PacketConn, err error) {
	t.Helper()
	err = kernel.Do(ns, func() (err error) {
		l, err = new(net.ListenConfig).ListenPacket(t.Context(), network, at)
		return err
	})
	if err == nil {
		t.Cleanup(func() { _ = l.Close() })
	}
	return l, err
}

// The flows of a task that is gone are forgotten.
func TestStraightForget(t *testing.T) {
	b := newStraightHost(t, firstNode())
	b.publish(t, target)
	b.answers(t)
	must(t, b.host.Forget([]netip.Addr{netip.MustParseAddr("10.0.0.8")}))
	if got := b.way(t, unix.IPPROTO_TCP); got != "straight" {
		t.Errorf("another task's flows are forgotten: %s", got)
	}
	c := b.hold(t)
	must(t, b.host.Forget([]netip.Addr{netip.MustParseAddr(taskAddr)}))
	if list, err := b.host.Flows(mesh.Port{Proto: unix.IPPROTO_TCP, Published: 8080}); err != nil || len(list) > 1 {
		t.Errorf("flows: %v %v", list, err) // one that is over may be left
	}
	must(t, c.Close())
}

// hold opens a connection by the mesh.
func (b *host) hold(t *testing.T) (c net.Conn) {
	t.Helper()
	must(t, kernel.Do(b.client, func() (err error) {
		c, err = (&net.Dialer{Timeout: 3 * time.Second}).DialContext(t.Context(), "tcp", hostAddr+":8080")
		return err
	}))
	return c
}
