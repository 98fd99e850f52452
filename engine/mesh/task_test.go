package mesh_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/netnstest"
	"weft/engine/nft"
)

// bed is a task with two nodes on an ingress network, and with a way out that
// leads nowhere. A node plays its clients too: any address can be its own.
type bed struct {
	network *kernel.Namespace
	task    *kernel.Namespace
	nodes   [2]*kernel.Namespace
	conn    *nft.Conn
}

const (
	taskAddr   = "10.0.0.7"
	taskAddrV6 = "fd00:a::7"
	egressAddr = "172.18.0.5"
)

func newBed(t testing.TB) *bed {
	t.Helper()
	netnstest.Require(t)
	b := &bed{}
	network, _ := netnstest.Sandbox(t)
	b.network = network
	netnstest.Exec(t, network, "ip", "link", "add", "br0", "up", "type", "bridge", "mcast_snooping", "0")
	plug := func(ns *kernel.Namespace, name, mac, addr, addrV6 string) {
		netnstest.Exec(t, network, "ip", "link", "add", name, "type", "veth", "peer", "name", "x"+name)
		netnstest.Exec(t, network, "ip", "link", "set", name, "master", "br0", "up")
		move(t, network, ns, "x"+name, "eth0")
		netnstest.Exec(t, ns, "ip", "link", "set", "eth0", "address", mac, "up")
		netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
		netnstest.Exec(t, ns, "ip", "addr", "add", addr+"/24", "dev", "eth0")
		netnstest.Exec(t, ns, "ip", "addr", "add", addrV6+"/96", "dev", "eth0", "nodad")
	}
	for i := range b.nodes {
		b.nodes[i], _ = netnstest.Sandbox(t)
		plug(b.nodes[i], fmt.Sprintf("node%d", i), fmt.Sprintf("02:42:0a:00:00:%02x", 101+i), fmt.Sprintf("10.0.0.%d", 101+i), fmt.Sprintf("fd00:a::%d", 101+i))
		// A node in its engine has nothing but its clients behind it.
		netnstest.Exec(t, b.nodes[i], "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0")
	}
	b.task, _ = netnstest.Sandbox(t)
	plug(b.task, "task", "02:42:0a:00:00:07", taskAddr, taskAddrV6)
	netnstest.Exec(t, b.task, "ip", "link", "add", "eth1", "up", "type", "bridge")
	netnstest.Exec(t, b.task, "ip", "addr", "add", egressAddr+"/16", "dev", "eth1")
	netnstest.Exec(t, b.task, "ip", "route", "add", "default", "via", "172.18.0.1")
	var err error
	if b.conn, err = nft.Open(b.task); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.conn.Close() })
	return b
}

func move(t testing.TB, from, to *kernel.Namespace, name, as string) {
	t.Helper()
	h, err := from.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	l, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkSetNsFd(l, to.Fd())
	}
	if err != nil {
		t.Fatal(err)
	}
	netnstest.Exec(t, to, "ip", "link", "set", name, "name", as)
}

func (b *bed) set(t testing.TB) {
	t.Helper()
	err := mesh.SetTask(b.task, b.conn, mesh.Task{
		Place: mesh.Place{Interface: "eth0", Addr: netip.MustParsePrefix(taskAddr + "/24"), AddrV6: netip.MustParsePrefix(taskAddrV6 + "/96")},
		Ports: []mesh.Target{
			{Port: mesh.Port{Proto: unix.IPPROTO_TCP, Published: 8080}, To: 80},
			{Port: mesh.Port{Proto: unix.IPPROTO_TCP, Published: 8081}, To: 81},
			{Port: mesh.Port{Proto: unix.IPPROTO_UDP, Published: 8080}, To: 80},
		},
		Egress: mesh.Egress{Interface: "eth1", Addr: netip.MustParsePrefix(egressAddr + "/16"), Gateway: netip.MustParseAddr("172.18.0.1")},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// echo serves the task's port 80 with the address of who asks.
func (b *bed) echo(t testing.TB) {
	t.Helper()
	netnstest.Serve(t, b.task, ":80", func(c net.Conn) {
		buf := make([]byte, 64)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			_, _ = fmt.Fprintln(c, c.RemoteAddr())
		}
	})
	err := kernel.Do(b.task, func() error {
		p, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", ":80") // the wildcard address, and nothing asked of the kernel
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = p.Close() })
		go func() { // ends with the socket
			buf := make([]byte, 64)
			for {
				_, from, err := p.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = p.WriteTo([]byte(from.String()+"\n"), from)
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dial opens a connection from an address, and port if it is not 0, of a node's.
func (b *bed) dial(t *testing.T, node int, network, from string, port int) net.Conn {
	t.Helper()
	addr := netip.MustParseAddr(from)
	to, bits := taskAddr, "/32"
	if addr.Is6() {
		to, bits = taskAddrV6, "/128"
	}
	netnstest.Exec(t, b.nodes[node], "ip", "addr", "replace", from+bits, "dev", "lo", "nodad")
	var c net.Conn
	err := kernel.Do(b.nodes[node], func() (err error) {
		d := net.Dialer{Timeout: 3 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		}}
		at := netip.AddrPortFrom(addr, uint16(port))
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = net.UDPAddrFromAddrPort(at)
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(at)
		}
		c, err = d.DialContext(context.Background(), network, net.JoinHostPort(to, "8080"))
		return err
	})
	if err != nil {
		t.Fatalf("%s from %s by node %d: %v", network, from, node, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// asked gives what the task says of a connection's source.
func asked(t *testing.T, c net.Conn) netip.AddrPort {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Write([]byte("who?")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 128)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatalf("no answer over %s from %s: %v", c.LocalAddr().Network(), c.LocalAddr(), err)
	}
	got, err := netip.ParseAddrPort(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(got.Addr().Unmap(), got.Port())
}

func TestTaskSeesTheClient(t *testing.T) {
	b := newBed(t)
	b.set(t)
	b.set(t) // again, as after a restart
	b.echo(t)
	clients := map[string]string{
		"outside":                       "198.51.100.9",
		"on the way out's network":      "172.18.0.9",
		"with the task's other address": egressAddr,
		"outside, IPv6":                 "2001:db8::9",
	}
	for name, from := range clients {
		for _, network := range []string{"tcp", "udp"} {
			for node := range b.nodes {
				t.Run(fmt.Sprintf("%s %s node%d", name, network, node), func(t *testing.T) {
					c := b.dial(t, node, network, from, 0)
					want := netip.MustParseAddrPort(c.LocalAddr().String())
					if got := asked(t, c); got != want {
						t.Errorf("the task saw %s, want %s", got, want)
					}
				})
			}
		}
	}
}

// Flows that are alike but for the node they come by stay apart.
func TestOneClientByTwoNodes(t *testing.T) {
	b := newBed(t)
	b.set(t)
	b.echo(t)
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			const port = 41000
			first := b.dial(t, 0, network, "198.51.100.9", port)
			if got := asked(t, first); got.Port() != port {
				t.Errorf("the first flow's port became %d", got.Port())
			}
			second := b.dial(t, 1, network, "198.51.100.9", port)
			if got := asked(t, second); got.Addr().String() != "198.51.100.9" || got.Port() == port {
				t.Errorf("the second flow comes from %s, want another port than %d", got, port)
			}
			if got := asked(t, first); got.Port() != port {
				t.Errorf("the first flow's port became %d after the second came", got.Port())
			}
		})
	}
}

// What the task begins itself goes out with the way out's own address.
func TestTaskAsClient(t *testing.T) {
	b := newBed(t)
	b.set(t)
	out, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, b.task, "ip", "link", "del", "eth1")
	netnstest.Exec(t, b.task, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "up0")
	move(t, b.task, out, "up0", "eth0")
	netnstest.Exec(t, out, "ip", "link", "set", "eth0", "up")
	netnstest.Exec(t, out, "ip", "link", "set", "lo", "up")
	netnstest.Exec(t, out, "ip", "addr", "add", "172.18.0.1/16", "dev", "eth0")
	netnstest.Exec(t, out, "ip", "addr", "add", "203.0.113.1/32", "dev", "lo")
	netnstest.Exec(t, b.task, "ip", "link", "set", "eth1", "up")
	netnstest.Exec(t, b.task, "ip", "addr", "add", egressAddr+"/16", "dev", "eth1")
	netnstest.Exec(t, b.task, "ip", "route", "add", "default", "via", "172.18.0.1")
	b.set(t)
	var l net.Listener
	err := kernel.Do(out, func() (err error) {
		l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "203.0.113.1:99")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	err = kernel.Do(b.task, func() error {
		c, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(t.Context(), "tcp", "203.0.113.1:"+strconv.Itoa(99))
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got, _, _ := net.SplitHostPort(c.RemoteAddr().String()); got != egressAddr {
		t.Errorf("the task goes out as %s, want %s", got, egressAddr)
	}
}
