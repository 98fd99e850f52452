package overlay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
	"weft/engine/overlay"
)

// node is a host with a driver, and what it logged.
type node struct {
	*netnstest.Host
	driver *overlay.Driver
	vtep   netip.Addr
	log    *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start gives the host a driver; the test takes down everything at its end.
func start(tb testing.TB, h *netnstest.Host, vtep netip.Addr) *node {
	tb.Helper()
	n := &node{Host: h, vtep: vtep, log: &syncBuffer{}}
	n.open(tb)
	tb.Cleanup(func() {
		must(tb, n.driver.Sweep(context.Background(), nil, nil))
		must(tb, n.driver.Close())
	})
	return n
}

func (n *node) open(tb testing.TB) {
	tb.Helper()
	n.Do(func() (err error) {
		n.driver, err = overlay.New(tb.Context(), n.config())
		return err
	})
}

func (n *node) config() overlay.Config {
	return overlay.Config{Dir: n.Dir, VTEP: n.vtep, Log: slog.New(slog.NewTextHandler(n.log, nil))}
}

// crash forgets the driver without any farewell and starts another one.
func (n *node) crash(tb testing.TB) {
	tb.Helper()
	must(tb, n.driver.Close())
	n.open(tb)
}

// nodes gives n hosts with drivers on an IPv4 underlay.
func nodes(tb testing.TB, n int) []*node {
	tb.Helper()
	out := make([]*node, n)
	for i, h := range netnstest.Hosts(tb, n, 0) {
		out[i] = start(tb, h, h.Addr)
	}
	return out
}

// id makes a full ID of a short one, the short one in front.
func id(short string) string { return (short + strings.Repeat("0", 64))[:64] }

// blue is a network with one IPv4 subnet, green one with two of each family.
func blue() model.Network {
	return model.Network{ID: id("b1ue"), Name: "blue", Subnets: []model.Subnet{subnet("10.1.0.0/16", 4097)}}
}

func green() model.Network {
	return model.Network{ID: id("94ee4"), Name: "green", IPv6: true, Subnets: []model.Subnet{
		subnet("10.2.1.0/24", 4098), subnet("10.2.2.0/24", 4099), subnet("fd02:1::/64", 0), subnet("fd02:2::/64", 0),
	}}
}

// subnet gives a subnet whose gateway is its first address.
func subnet(prefix string, vni model.VNI) model.Subnet {
	p := netip.MustParsePrefix(prefix)
	return model.Subnet{Prefix: p, Gateway: p.Addr().Next(), VNI: vni}
}

// container is an endpoint with its sandbox.
type container struct {
	model.Endpoint
	ns  *kernel.Namespace
	end func()
}

func (n *node) ensure(tb testing.TB, nw model.Network) {
	tb.Helper()
	must(tb, n.driver.Ensure(tb.Context(), nw))
}

// run joins a new sandbox to the network.
func (n *node) run(tb testing.TB, nw model.Network, addr string) *container {
	tb.Helper()
	ns, end := netnstest.Sandbox(tb)
	c := &container{ns: ns, end: end}
	n.join(tb, c, nw, addr)
	return c
}

// join gives c's sandbox one more endpoint, which becomes c's.
func (n *node) join(tb testing.TB, c *container, nw model.Network, addr string) {
	tb.Helper()
	a := netip.MustParseAddr(addr)
	ep, err := n.driver.Join(tb.Context(), model.Endpoint{
		ID: id(fmt.Sprintf("%x", a.As4())), NetworkID: nw.ID, Name: "c-" + addr,
		Addr: netip.PrefixFrom(a, a.BitLen()), Sandbox: c.ns.Path(),
	})
	must(tb, err)
	c.Endpoint = ep
}

// peerOf gives the row of the peer table that node n publishes for c.
func (n *node) peerOf(c *container) model.Peer {
	return model.Peer{EndpointID: c.ID, Addr: c.Addr, MAC: c.MAC, VTEP: n.vtep}
}

// introduce tells every node of the containers of every other.
func introduce(tb testing.TB, nw model.Network, all map[*node][]*container) {
	tb.Helper()
	var changes []model.PeerChange
	for n, cs := range all {
		for _, c := range cs {
			changes = append(changes, model.PeerChange{Peer: n.peerOf(c)})
		}
	}
	for n := range all {
		must(tb, n.driver.ApplyPeers(tb.Context(), nw.ID, changes))
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// patience is how long a packet may take to get somewhere on a busy machine.
const patience = 5 * time.Second

// listen opens a TCP echo server inside the namespace.
func listen(tb testing.TB, ns *kernel.Namespace, addr netip.Addr) netip.AddrPort {
	tb.Helper()
	var l net.Listener
	must(tb, kernel.Do(ns, func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	}))
	var wg sync.WaitGroup
	over, end := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// A peer that vanished would keep it for minutes.
			stop := context.AfterFunc(over, func() { _ = c.Close() })
			wg.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
				stop()
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		end()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// dial opens a TCP connection from inside the namespace.
func dial(ns *kernel.Namespace, to netip.AddrPort, timeout time.Duration) (net.Conn, error) {
	var c net.Conn
	err := kernel.Do(ns, func() (err error) {
		c, err = net.DialTimeout("tcp", to.String(), timeout)
		return err
	})
	return c, err
}

// echo sends text through c and expects it back.
func echo(c net.Conn, text string) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("sent %q, got %q", text, got)
	}
	return nil
}

// reach fails the test unless from can talk TCP to to, from the address it
// should have, at each of the addresses.
func reach(tb testing.TB, from, to *container) {
	tb.Helper()
	must(tb, reachable(tb, from, to))
}

func reachable(tb testing.TB, from, to *container) error {
	tb.Helper()
	pairs := [][2]netip.Prefix{{from.Addr, to.Addr}}
	if to.AddrV6.IsValid() {
		pairs = append(pairs, [2]netip.Prefix{from.AddrV6, to.AddrV6})
	}
	for _, p := range pairs {
		c, err := dial(from.ns, listen(tb, to.ns, p[1].Addr()), patience)
		if err != nil {
			return err
		}
		err = echo(c, "hello "+p[1].String())
		local := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
		_ = c.Close()
		if err != nil {
			return err
		}
		if local != p[0].Addr() {
			return fmt.Errorf("connection to %s comes from %s, want %s", p[1], local, p[0])
		}
	}
	return nil
}

// datagram sends a UDP datagram of size bytes (headers not counted) that must
// not be fragmented, and says whether it came.
func datagram(tb testing.TB, from, to *container, dst netip.Addr, size int) error {
	tb.Helper()
	var server, client net.PacketConn
	must(tb, kernel.Do(to.ns, func() (err error) {
		server, err = net.ListenPacket("udp", netip.AddrPortFrom(dst, 0).String())
		return err
	}))
	defer func() { _ = server.Close() }()
	must(tb, kernel.Do(from.ns, func() (err error) {
		client, err = net.ListenPacket("udp", "")
		if err != nil {
			return err
		}
		raw, err := client.(*net.UDPConn).SyscallConn()
		if err != nil {
			return err
		}
		return errors.Join(raw.Control(func(fd uintptr) {
			err = errors.Join(
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_DO),
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, syscall.IPV6_PMTUDISC_DO))
		}), err)
	}))
	defer func() { _ = client.Close() }()
	if _, err := client.WriteTo(make([]byte, size), server.LocalAddr()); err != nil {
		return err
	}
	must(tb, server.SetReadDeadline(time.Now().Add(patience)))
	n, _, err := server.ReadFrom(make([]byte, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("got %d bytes of %d", n, size)
	}
	return err
}
