package mesh_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/model"
	"weft/engine/netnstest"
)

const (
	hostAddr   = "203.0.113.1"
	clientAddr = "203.0.113.9"
)

// host is one with the first node of a bed as its ingress sandbox, and a client.
type host struct {
	*bed
	ns, client *kernel.Namespace
	host       *mesh.Host
	node       *mesh.Node
}

func newHost(t testing.TB) *host {
	t.Helper()
	b := &host{bed: newBed(t)}
	b.set(t)
	b.echo(t)
	b.ns, _ = netnstest.Sandbox(t)
	b.client, _ = netnstest.Sandbox(t)
	netnstest.Exec(t, b.ns, "ip", "link", "set", "lo", "up")
	netnstest.Exec(t, b.ns, "ip", "link", "add", "eth0", "up", "type", "veth", "peer", "name", "out0")
	move(t, b.ns, b.client, "out0", "eth0")
	for ns, addr := range map[*kernel.Namespace]string{b.ns: hostAddr, b.client: clientAddr} {
		netnstest.Exec(t, ns, "ip", "addr", "add", addr+"/24", "dev", "eth0")
		netnstest.Exec(t, ns, "ip", "link", "set", "eth0", "up")
	}
	b.open(t, firstNode(), nil)
	t.Cleanup(func() { must(t, b.host.Close()) })
	var err error
	b.node, err = mesh.OpenNode(b.nodes[0], firstNode())
	must(t, err)
	t.Cleanup(func() { must(t, b.node.Close()) })
	return b
}

// firstNode is the first node's place on the ingress network.
func firstNode() mesh.Place {
	return mesh.Place{Interface: "eth0", Addr: netip.MustParsePrefix("10.0.0.101/24"), AddrV6: netip.MustParsePrefix("fd00:a::101/96")}
}

// lead does what the overlay driver does for the one task of a bed.
func (b *host) lead(t testing.TB) func(string) error {
	return func(port string) error {
		netnstest.Exec(t, b.network, "nft", "add table netdev "+port+"; delete table netdev "+port+"; add table netdev "+port+
			"; add chain netdev "+port+" leg { type filter hook ingress device "+port+" priority 0; };"+
			"add rule netdev "+port+" leg ether daddr set 02:42:0a:00:00:07")
		return nil
	}
}

// open makes the host's part, with the node's place in the network, and the
// network's namespace or none.
func (b *host) open(t testing.TB, at mesh.Place, overlay *kernel.Namespace) {
	t.Helper()
	var err error
	b.host, err = mesh.OpenHost(mesh.HostConfig{
		Namespace: b.ns, IPv6: true, Source: netip.MustParseAddr(hostAddr), Network: at, Overlay: overlay, Lead: b.lead(t),
		Reserve: func(model.PublishedPort, netip.AddrPort) (io.Closer, error) { return io.NopCloser(nil), nil },
	})
	must(t, err)
	must(t, b.host.Connect(b.nodes[0]))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publish has the task behind port 8080 of both protocols, as change has it.
func (b *host) publish(t *testing.T, change func(*mesh.Service)) {
	t.Helper()
	var services []mesh.Service
	var listens []mesh.Listen
	for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		p := mesh.Port{Proto: proto, Published: 8080}
		s := mesh.Service{Port: p, Backends: []mesh.Backend{{Addr: netip.MustParseAddr(taskAddr), AddrV6: netip.MustParseAddr(taskAddrV6)}}}
		change(&s)
		services = append(services, s)
		listens = append(listens, mesh.Listen{Port: p, Service: s})
	}
	must(t, b.node.Set(services))
	must(t, b.host.Set(listens))
}

// ask asks the host for the task's view of the client.
func (b *host) ask(network string) (who string, err error) {
	err = kernel.Do(b.client, func() error {
		c, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(context.Background(), network, hostAddr+":8080")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := fmt.Fprint(c, "who?"); err != nil {
			return err
		}
		who, err = bufio.NewReader(c).ReadString('\n')
		return err
	})
	return strings.TrimSpace(who), err
}

func (b *host) answers(t *testing.T) {
	t.Helper()
	for _, network := range []string{"tcp", "udp"} {
		who, err := b.ask(network)
		if err != nil || !strings.Contains(who, clientAddr) {
			t.Fatalf("%s: the task saw %q: %v", network, who, err)
		}
	}
}

// A flow is forgotten after the service's idle time, or else not for long: the
// kernel's own figures stay.
func TestIdle(t *testing.T) {
	b := newHost(t)
	timeouts := func() map[uint8]time.Duration {
		out := map[uint8]time.Duration{}
		must(t, kernel.Do(b.nodes[0], func() error {
			flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
			for _, f := range flows {
				if f.Reverse.SrcIP.String() == taskAddr && f.ProtoInfo == nil || stateOf(f) == established {
					out[f.Forward.Protocol] = time.Duration(f.TimeOut) * time.Second
				}
			}
			return err
		}))
		return out
	}
	hold := func() {
		t.Helper()
		must(t, kernel.ForgetFlows(b.nodes[0], netip.MustParseAddr(taskAddr)))
		for _, network := range []string{"tcp", "udp"} {
			must(t, kernel.Do(b.client, func() error {
				c, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(context.Background(), network, hostAddr+":8080")
				if err != nil {
					return err
				}
				t.Cleanup(func() { _ = c.Close() })
				_ = c.SetDeadline(time.Now().Add(3 * time.Second))
				for range 2 { // the second makes a flow of datagrams one
					if _, err := fmt.Fprint(c, "who?"); err != nil {
						return err
					}
					if _, err := c.Read(make([]byte, 128)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	b.publish(t, func(s *mesh.Service) { s.Idle = 700 * time.Second })
	hold()
	for _, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		within(t, 600*time.Second, 700*time.Second, func() time.Duration { return timeouts()[proto] })
	}
	b.publish(t, func(*mesh.Service) {})
	hold()
	within(t, 961*time.Second, 30*24*time.Hour, func() time.Duration { return timeouts()[unix.IPPROTO_TCP] })
}

// within waits until the last bytes of a connection have been acknowledged,
// for until then the kernel has another time for it.
func within(t *testing.T, least, most time.Duration, left func() time.Duration) {
	t.Helper()
	var d time.Duration
	defer func() {
		if t.Failed() {
			t.Logf("forgotten in %v, want %v to %v", d, least, most)
		}
	}()
	await(t, func() bool {
		d = left()
		return d >= least && d <= most
	})
}

const established = 3 // of enum tcp_conntrack

func stateOf(f *netlink.ConntrackFlow) uint8 {
	if tcp, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP); ok {
		return tcp.State
	}
	return 0
}

// What somebody changes in the kernel is seen, and can be put right.
func TestDrift(t *testing.T) {
	b := newHost(t)
	none := func(when string) {
		t.Helper()
		for name, look := range map[string]func() ([]mesh.Drift, error){"host": b.host.Drift, "node": b.node.Drift} {
			got, err := look()
			if err != nil || len(got) != 0 {
				t.Fatalf("%s: %s: %v %v", when, name, got, err)
			}
		}
	}
	none("before the first Set")
	b.publish(t, func(s *mesh.Service) {
		s.Backends = append(s.Backends, mesh.Backend{Addr: netip.MustParseAddr("10.0.0.8"), Foreign: true})
	})
	none("with a Docker task")
	b.publish(t, func(*mesh.Service) {})
	none("as written")
	b.answers(t)
	cases := []struct {
		name string
		in   *kernel.Namespace
		do   string
		want string
	}{
		{"a task's place is lost", b.nodes[0], "nft delete element inet weft-mesh slots4 { tcp . 8080 . 0x00000000 }", "8080/tcp nftables set slots4: 8080/tcp no. 0 -> 10.0.0.7 is missing"},
		{"a port leads nowhere", b.nodes[0], "nft delete element inet weft-mesh services { udp . 8080 }", "8080/udp nftables set services: 8080/udp -> roundrobin-1-1 is missing"},
		{"a stranger's rule", b.nodes[0], "nft insert rule inet weft-mesh forward drop", "nftables chain forward has 5 rules, should have 4"},
		{"no table in the sandbox", b.nodes[0], "nft delete table inet weft-mesh", "nftables table weft-mesh is missing"},
		{"no forwarding in the sandbox", b.nodes[0], "sysctl -qw net.ipv4.ip_forward=0", "sysctl net/ipv4/ip_forward is 0, should be 1"},
		{"the host does not listen", b.ns, "nft delete element inet weft-mesh ports { tcp . 8080 }", "8080/tcp nftables set ports: 8080/tcp is missing"},
		{"a port of nobody's", b.ns, "nft add element inet weft-mesh ports { tcp . 9 }", "9/tcp nftables set ports: 9/tcp is too much"},
		{"no table on the host", b.ns, "nft flush ruleset", "nftables table weft-mesh is missing"},
		{"no forwarding on the host", b.ns, "sysctl -qw net.ipv4.ip_forward=0", "sysctl net/ipv4/ip_forward is 0, should be 1"},
		{"the link is down", b.ns, "ip link set weft-ingress down", "the link weft-ingress to the ingress sandbox is missing or down"},
		{"the link is gone", b.ns, "ip link del weft-ingress", "the link weft-ingress to the ingress sandbox is missing or down"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			netnstest.Exec(t, c.in, "sh", "-c", c.do)
			seen := drifts(t, b.host.Drift, b.node.Drift)
			if !strings.Contains(seen, c.want+"\n") {
				t.Errorf("seen:\n%s\nwant: %s", seen, c.want)
			}
			must(t, b.host.Rewrite(b.nodes[0]))
			must(t, b.node.Rewrite())
			none("put right")
			b.answers(t)
		})
	}
}

func drifts(t *testing.T, looks ...func() ([]mesh.Drift, error)) string {
	t.Helper()
	var out strings.Builder
	for _, look := range looks {
		list, err := look()
		must(t, err)
		for _, d := range list {
			if d.Port != (mesh.Port{}) {
				out.WriteString(d.Port.String() + " ")
			}
			out.WriteString(d.What + "\n")
		}
	}
	return out.String()
}

// The task chosen by a client's address is the one the kernel chooses.
func TestChosen(t *testing.T) {
	b := newHost(t)
	tasks := []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("10.0.0.13")}
	port := mesh.Port{Proto: unix.IPPROTO_UDP, Published: 53}
	s := mesh.Service{Port: port, Algorithm: mesh.SourceHash}
	for _, a := range tasks {
		v6 := netip.MustParsePrefix("fd00:a::/96").Addr().As16()
		v4 := a.As4()
		copy(v6[12:], v4[:])
		s.Backends = append(s.Backends, mesh.Backend{Addr: a, AddrV6: netip.AddrFrom16(v6)})
	}
	must(t, b.node.Set([]mesh.Service{s}))
	must(t, b.host.Set([]mesh.Listen{{Port: port}}))
	have, err := b.node.Observe()
	must(t, err)
	chosen := map[netip.Addr]bool{}
	netnstest.Exec(t, b.client, "ip", "addr", "add", "2001:db8::1:0/96", "dev", "eth0", "nodad")
	netnstest.Exec(t, b.ns, "ip", "addr", "add", "2001:db8::1/96", "dev", "eth0", "nodad")
	for i := range 16 {
		for _, from := range []string{fmt.Sprintf("203.0.113.%d", 20+i), fmt.Sprintf("2001:db8::%x", 20+i)} {
			client := netip.MustParseAddr(from)
			to, family := hostAddr, netlink.InetFamily(unix.AF_INET)
			if client.Is6() {
				to, family = "2001:db8::1", unix.AF_INET6
			}
			netnstest.Exec(t, b.client, "ip", "addr", "add", from, "dev", "eth0", "nodad")
			must(t, kernel.Do(b.client, func() error {
				c, err := (&net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(client, 0))}).DialContext(t.Context(), "udp", net.JoinHostPort(to, "53"))
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(c, "?")
				return errors.Join(err, c.Close())
			}))
			want := have[port].Task(client)
			var got netip.Addr
			await(t, func() bool {
				must(t, kernel.Do(b.nodes[0], func() error {
					flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
					for _, f := range flows {
						if f.Forward.SrcIP.Equal(client.AsSlice()) && f.Forward.DstPort == 53 {
							got, _ = netip.AddrFromSlice(f.Reverse.SrcIP)
							got = got.Unmap()
						}
					}
					return err
				}))
				return got.IsValid()
			})
			if got != want {
				t.Errorf("%s: the kernel chose %s, not %s", from, got, want)
			}
			chosen[got] = true
		}
	}
	if len(chosen) != 2*len(tasks) {
		t.Errorf("chosen: %v", chosen)
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("in vain")
		}
	}
}

// A connection that is made while the tasks of its port change gets one of those
// of before or of after.
func TestNoneIsMissedInAChange(t *testing.T) {
	b := newHost(t)
	server := b.nodes[1] // plain, with the addresses of three tasks
	netnstest.Exec(t, server, "ip", "route", "add", "203.0.113.0/24", "via", "10.0.0.101")
	var tasks []mesh.Backend
	for i := range 3 {
		addr := fmt.Sprintf("10.0.0.%d", 21+i)
		netnstest.Exec(t, server, "ip", "addr", "add", addr+"/24", "dev", "eth0")
		tasks = append(tasks, mesh.Backend{Addr: netip.MustParseAddr(addr)})
	}
	netnstest.Serve(t, server, ":8080", func(net.Conn) {})
	port := mesh.Port{Proto: unix.IPPROTO_TCP, Published: 8080}
	must(t, b.node.Set([]mesh.Service{{Port: port, Backends: tasks}}))
	must(t, b.host.Set([]mesh.Listen{{Port: port}}))
	for _, algorithm := range []mesh.Algorithm{mesh.RoundRobin, mesh.Random, mesh.SourceHash} {
		t.Run(string(algorithm), func(t *testing.T) {
			var stop atomic.Bool
			var changes sync.WaitGroup
			changes.Go(func() {
				for n := 0; !stop.Load(); n++ {
					s := mesh.Service{Port: port, Algorithm: algorithm, Backends: tasks[n%2 : 1+n%3]}
					if len(s.Backends) == 0 {
						s.Backends = tasks
					}
					if err := b.node.Change([]mesh.Service{s}); err != nil {
						t.Error(err)
						return
					}
				}
			})
			defer changes.Wait()
			defer stop.Store(true)
			must(t, kernel.Do(b.client, func() error {
				d := net.Dialer{Timeout: 5 * time.Second}
				for i := range 6000 {
					c, err := d.DialContext(t.Context(), "tcp", hostAddr+":8080")
					if err != nil {
						return fmt.Errorf("connection %d: %w", i, err)
					}
					_ = c.Close()
				}
				return nil
			}))
		})
	}
}
