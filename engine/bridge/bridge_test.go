package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"weft/engine/bridge"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/netnstest"
	"weft/engine/testenv"
)

// bed is a host with a driver, and a neighbor on its underlay.
type bed struct {
	*testing.T
	host, neighbor *netnstest.Host
	driver         *bridge.Driver
	outside        bridge.Opener
}

func start(t *testing.T) *bed {
	t.Helper()
	netnstest.Require(t)
	a, b := netnstest.TwoHosts(t)
	bed := &bed{T: t, host: a, neighbor: b}
	bed.restart()
	t.Cleanup(func() {
		if err := bed.driver.Close(); err != nil {
			t.Error(err)
		}
	})
	return bed
}

// restart gives the host another driver, as after a crash of an engine.
func (b *bed) restart() {
	b.Helper()
	if b.driver != nil {
		if err := b.driver.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.host.Do(func() (err error) {
		b.driver, err = bridge.New(slog.New(slog.NewTextHandler(b.Output(), nil)), b.outside)
		return err
	})
}

// net gives the n-th network, present on the host.
func (b *bed) net(n int, change ...func(*model.Network)) model.Network {
	b.Helper()
	nw := model.Network{
		ID: fmt.Sprintf("%02dd0ff5e1b7e3a9c", n), Name: fmt.Sprintf("net%d", n), Driver: "bridge", Scope: model.ScopeLocal,
		Subnets: []model.Subnet{{
			Prefix: netip.MustParsePrefix(fmt.Sprintf("172.31.%d.0/24", n)), Gateway: netip.MustParseAddr(fmt.Sprintf("172.31.%d.1", n)),
		}},
		Options: map[string]string{},
	}
	for _, f := range change {
		f(&nw)
	}
	if err := b.driver.Ensure(b.Context(), nw); err != nil {
		b.Fatal(err)
	}
	return nw
}

// container is a sandbox on a network.
type container struct {
	model.Endpoint
	ns *kernel.Namespace
}

func (b *bed) container(nw model.Network, last byte) container {
	b.Helper()
	ns, _ := netnstest.Sandbox(b)
	addr := nw.Subnets[0].Prefix.Addr().As4()
	addr[3] = last
	ep := model.Endpoint{
		ID: fmt.Sprintf("%02x%sabcdef", last, nw.ID[:2]), NetworkID: nw.ID, NetworkName: nw.Name, Name: fmt.Sprintf("c%d", last),
		Addr: netip.PrefixFrom(netip.AddrFrom4(addr), 24), Sandbox: ns.Path(),
	}
	if nw.IPv6 {
		a := nw.Subnets[1].Prefix.Addr().As16()
		a[15] = last
		ep.AddrV6 = netip.PrefixFrom(netip.AddrFrom16(a), 64)
	}
	full, err := b.driver.Join(b.Context(), ep)
	if err != nil {
		b.Fatal(err)
	}
	if err := link.SetGateways(ns, full.IfName, full.Gateway, full.GatewayV6); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := b.driver.Leave(context.Background(), nw.ID, ep.ID); err != nil {
			b.Error(err)
		}
	})
	return container{full, ns}
}

func (b *bed) publish(c container, w ...model.PortBinding) []model.PublishedPort {
	b.Helper()
	ports, err := b.driver.Publish(b.Context(), c.NetworkID, c.ID, w)
	if err != nil {
		b.Fatal(err)
	}
	return ports
}

// serve answers on a port of ns with the address of whoever asks.
func (b *bed) serve(ns *kernel.Namespace, network string, port uint16) {
	b.Helper()
	address := fmt.Sprintf(":%d", port)
	err := kernel.Do(ns, func() error {
		if strings.HasPrefix(network, "udp") {
			c, err := new(net.ListenConfig).ListenPacket(b.Context(), network, address)
			if err != nil {
				return err
			}
			b.Cleanup(func() { _ = c.Close() })
			go func() { // ends when the test closes the socket
				buf := make([]byte, 100)
				for {
					_, from, err := c.ReadFrom(buf)
					if err != nil {
						return
					}
					_, _ = c.WriteTo([]byte(from.String()), from)
				}
			}()
			return nil
		}
		l, err := new(net.ListenConfig).Listen(b.Context(), network, address)
		if err != nil {
			return err
		}
		b.Cleanup(func() { _ = l.Close() })
		go func() { // ends when the test closes the listener
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, c.RemoteAddr().String())
				_ = c.Close()
			}
		}()
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// Who is to be reached may take a SYN that is lost for a neighbor not yet known,
// and sent again after a second. Who is not is not waited for so long.
const (
	reachTime = 5 * time.Second
	cutTime   = 700 * time.Millisecond
)

// ask gives the address a server saw a client in ns come from.
func (b *bed) ask(ns *kernel.Namespace, network, address string, limit time.Duration) (string, error) {
	b.Helper()
	var got []byte
	err := kernel.Do(ns, func() error {
		c, err := (&net.Dialer{Timeout: limit}).DialContext(b.Context(), network, address)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(max(limit, 2*time.Second)))
		if strings.HasPrefix(network, "udp") {
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
			got = make([]byte, 100)
			n, err := c.Read(got)
			got = got[:n]
			return err
		}
		got, err = io.ReadAll(c)
		return err
	})
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(string(got))
	return host, err
}

func (b *bed) reaches(ns *kernel.Namespace, network, address, from string) {
	b.Helper()
	got, err := b.ask(ns, network, address, reachTime)
	if err != nil || got != from {
		b.Errorf("%s %s is asked as %q, %v; want as %q", network, address, got, err, from)
	}
}

func (b *bed) cut(ns *kernel.Namespace, network, address string) {
	b.Helper()
	if got, err := b.ask(ns, network, address, cutTime); err == nil {
		b.Errorf("%s %s answers %q", network, address, got)
	}
}

func tcp(port, host uint16) model.PortBinding {
	return model.PortBinding{Port: model.Port{Proto: "tcp", Port: port}, HostPort: host}
}

func TestContainersReachTheWorld(t *testing.T) {
	b := start(t)
	nw := b.net(1)
	one, two := b.container(nw, 2), b.container(nw, 3)
	other := b.container(b.net(2), 2)
	for _, ns := range []*kernel.Namespace{one.ns, two.ns, other.ns, b.neighbor.NS} {
		b.serve(ns, "tcp", 80)
	}
	b.reaches(one.ns, "tcp", "172.31.1.3:80", "172.31.1.2")
	b.reaches(one.ns, "tcp", b.neighbor.Addr.String()+":80", b.host.Addr.String())
	b.cut(one.ns, "tcp", "172.31.2.2:80")
	b.cut(other.ns, "tcp", "172.31.1.2:80")
	b.neighbor.Exec("ip", "route", "add", "172.31.1.0/24", "via", b.host.Addr.String())
	b.cut(b.neighbor.NS, "tcp", "172.31.1.2:80")
}

func TestPublishedPorts(t *testing.T) {
	b := start(t)
	nw := b.net(1)
	one, two := b.container(nw, 2), b.container(nw, 3)
	other := b.container(b.net(2), 2)
	b.serve(one.ns, "tcp", 80)
	b.serve(one.ns, "udp", 53)
	b.serve(two.ns, "tcp", 80)
	host := b.host.Addr.String()
	ports := b.publish(one, tcp(80, 8080), model.PortBinding{Port: model.Port{Proto: "udp", Port: 53}, HostPort: 5353})
	if len(ports) != 4 || ports[0].HostPort != 8080 || ports[1].HostIP != netip.IPv6Unspecified() {
		t.Errorf("published: %v", ports)
	}
	b.reaches(b.neighbor.NS, "tcp", host+":8080", b.neighbor.Addr.String())
	b.reaches(b.neighbor.NS, "udp", host+":5353", b.neighbor.Addr.String())
	b.reaches(b.host.NS, "tcp", "127.0.0.1:8080", "172.31.1.1")
	b.reaches(b.host.NS, "tcp", host+":8080", host)
	b.reaches(b.host.NS, "tcp", "[::1]:8080", "172.31.1.1")
	b.reaches(b.host.NS, "udp", "[::1]:5353", "172.31.1.1")
	b.reaches(two.ns, "tcp", host+":8080", "172.31.1.1")
	b.reaches(one.ns, "tcp", host+":8080", "172.31.1.1")
	b.reaches(other.ns, "tcp", host+":8080", "172.31.1.1")

	if _, err := b.driver.Publish(t.Context(), nw.ID, two.ID, []model.PortBinding{tcp(80, 9090), tcp(80, 8080)}); err == nil ||
		!strings.HasSuffix(err.Error(), "Bind for 0.0.0.0:8080 failed: port is already allocated: it is held by container c2") || !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a port that is taken: %v", err)
	}
	b.cut(b.neighbor.NS, "tcp", host+":9090")
	ranged := tcp(80, 8080)
	ranged.HostPortEnd = 8090
	if ports := b.publish(two, ranged); ports[0].HostPort != 8081 {
		t.Errorf("the first free port of a range: %v", ports)
	}
	if ports := b.publish(two, tcp(80, 0)); len(ports) != 2 || ports[0].HostPort == 0 || ports[0].HostPort != ports[1].HostPort {
		t.Errorf("any port: %v", ports)
	}
	loop := tcp(80, 8088)
	loop.HostIP = netip.MustParseAddr("127.0.0.1")
	b.publish(two, loop)
	b.reaches(b.host.NS, "tcp", "127.0.0.1:8088", "172.31.1.1")
	b.cut(b.neighbor.NS, "tcp", host+":8088")
	b.publish(one)
	b.cut(b.neighbor.NS, "tcp", host+":8080")
	b.cut(b.host.NS, "tcp", "[::1]:8080")
}

// TestLoopbackStaysTheHosts makes sure that what lets the host reach published
// ports at 127.0.0.1 lets no container reach the host's own loopback services.
// TestPortsOutside publishes into another namespace, as an engine without root
// does: here the neighbor's.
func TestPortsOutside(t *testing.T) {
	b := start(t)
	var refuse error
	b.outside = func(ctx context.Context, network, address string) (file *os.File, err error) {
		if refuse != nil {
			return nil, refuse
		}
		err = kernel.Do(b.neighbor.NS, func() error {
			if strings.HasPrefix(network, "udp") {
				c, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
				if err != nil {
					return err
				}
				file, err = c.(*net.UDPConn).File()
				return errors.Join(err, c.Close())
			}
			l, err := new(net.ListenConfig).Listen(ctx, network, address)
			if err != nil {
				return err
			}
			file, err = l.(*net.TCPListener).File()
			return errors.Join(err, l.Close())
		})
		return file, err
	}
	b.restart()
	nw := b.net(1)
	one := b.container(nw, 2)
	b.serve(one.ns, "tcp", 80)
	b.serve(one.ns, "udp", 53)
	ports := b.publish(one, tcp(80, 0), model.PortBinding{Port: model.Port{Proto: "udp", Port: 53}, HostPort: 5353})
	if len(ports) != 4 || ports[0].HostPort == 0 || ports[0].HostPort != ports[1].HostPort {
		t.Fatalf("published: %v", ports)
	}
	at := func(host string, port uint16) string { return net.JoinHostPort(host, fmt.Sprint(port)) }
	b.reaches(b.neighbor.NS, "tcp", at("127.0.0.1", ports[0].HostPort), "172.31.1.1")
	b.reaches(b.neighbor.NS, "tcp", at("::1", ports[0].HostPort), "172.31.1.1")
	b.reaches(b.neighbor.NS, "udp", "127.0.0.1:5353", "172.31.1.1")
	b.reaches(b.host.NS, "tcp", at("127.0.0.1", ports[0].HostPort), "172.31.1.1")
	only := tcp(80, 8088)
	only.HostIP = b.neighbor.Addr // which this host does not have
	b.publish(one, only)
	b.reaches(b.neighbor.NS, "tcp", at(b.neighbor.Addr.String(), 8088), "172.31.1.1")
	b.cut(b.neighbor.NS, "udp", "127.0.0.1:5353")
	b.publish(one)
	b.cut(b.neighbor.NS, "tcp", at(b.neighbor.Addr.String(), 8088))

	for cause, want := range map[error]string{
		unix.EADDRINUSE: "Bind for 0.0.0.0:80 failed: port is already allocated",
		unix.EACCES:     "ip_unprivileged_port_start=80",
	} {
		refuse = cause
		if _, err := b.driver.Publish(t.Context(), nw.ID, one.ID, []model.PortBinding{tcp(80, 80)}); err == nil ||
			!strings.Contains(err.Error(), want) || !errors.Is(err, cause) {
			t.Errorf("%v outside: %v, want %s", cause, err, want)
		}
	}
	sctp := model.PortBinding{Port: model.Port{Proto: "sctp", Port: 80}, HostPort: 80}
	if _, err := b.driver.Publish(t.Context(), nw.ID, one.ID, []model.PortBinding{sctp}); !errdefs.IsNotImplemented(err) {
		t.Errorf("sctp: %v", err)
	}
}

func TestLoopbackStaysTheHosts(t *testing.T) {
	b := start(t)
	one := b.container(b.net(1), 2)
	b.serve(b.host.NS, "tcp4", 631)
	b.reaches(b.host.NS, "tcp", "127.0.0.1:631", "127.0.0.1")
	netnstest.Exec(t, one.ns, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	netnstest.Exec(t, one.ns, "ip", "route", "add", "127.0.0.1/32", "via", "172.31.1.1", "dev", one.IfName, "src", "172.31.1.2")
	netnstest.Exec(t, one.ns, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip rule del table local; ip rule add pref 1 table main; ip rule add pref 2 table local")
	b.cut(one.ns, "tcp", "127.0.0.1:631")
}

func TestOptions(t *testing.T) {
	for _, seen := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+seen, func(t *testing.T) {
			b := start(t)
			b.host.Do(func() error {
				err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte(seen), 0)
				if seen == "1" && errors.Is(err, fs.ErrNotExist) {
					testenv.Lacks(t, "this kernel has no br_netfilter")
				}
				return nil
			})
			testOptions(b)
		})
	}
}

func testOptions(b *bed) {
	t := b.T
	apart := b.net(1, func(n *model.Network) { n.Options[bridge.OptionICC] = "false" })
	one, two := b.container(apart, 2), b.container(apart, 3)
	internal := b.net(2, func(n *model.Network) { n.Internal = true })
	in, peer := b.container(internal, 2), b.container(internal, 3)
	plain := b.net(3, func(n *model.Network) {
		n.Options[bridge.OptionMasquerade], n.Options[bridge.OptionMTU] = "false", "1400"
		n.Options[bridge.OptionName], n.Options[bridge.OptionHostBinding] = "plain0", "127.0.0.1"
		n.Options[bridge.OptionIfPrefix] = "net"
	})
	bare := b.container(plain, 2)
	routed := b.net(4, func(n *model.Network) { n.Options[bridge.OptionGatewayV4] = "routed" })
	open := b.container(routed, 2)
	for _, ns := range []*kernel.Namespace{one.ns, two.ns, in.ns, peer.ns, bare.ns, open.ns, b.neighbor.NS} {
		b.serve(ns, "tcp", 80)
	}
	neighbor, host := b.neighbor.Addr.String()+":80", b.host.Addr.String()
	for _, n := range []string{"3", "4"} {
		b.neighbor.Exec("ip", "route", "add", "172.31."+n+".0/24", "via", host)
	}
	b.cut(one.ns, "tcp", "172.31.1.3:80")
	b.reaches(one.ns, "tcp", neighbor, host)
	b.publish(two, tcp(80, 8080))
	b.reaches(one.ns, "tcp", host+":8080", "172.31.1.1")

	b.reaches(in.ns, "tcp", "172.31.2.3:80", "172.31.2.2")
	b.cut(in.ns, "tcp", neighbor)

	b.reaches(bare.ns, "tcp", neighbor, "172.31.3.2")
	if got := netnstest.Exec(t, bare.ns, "ip", "-o", "link", "show", "net0"); !strings.Contains(got, "mtu 1400") {
		t.Errorf("interface of a container: %s", got)
	}
	b.host.Exec("ip", "link", "show", "plain0")
	if ports := b.publish(bare, tcp(80, 8081)); len(ports) != 1 || ports[0].HostIP.String() != "127.0.0.1" {
		t.Errorf("published at the network's address: %v", ports)
	}

	b.cut(b.neighbor.NS, "tcp", "172.31.4.2:80")
	b.publish(open, tcp(80, 0))
	b.reaches(b.neighbor.NS, "tcp", "172.31.4.2:80", b.neighbor.Addr.String())
	b.reaches(open.ns, "tcp", neighbor, "172.31.4.2")
}

func TestIPv6(t *testing.T) {
	b := start(t)
	nw := b.net(1, func(n *model.Network) {
		n.IPv6 = true
		n.Subnets = append(n.Subnets, model.Subnet{Prefix: netip.MustParsePrefix("fd00:31::/64"), Gateway: netip.MustParseAddr("fd00:31::1")})
	})
	one, two := b.container(nw, 2), b.container(nw, 3)
	for i, h := range []*netnstest.Host{b.host, b.neighbor} {
		h.Exec("ip", "-6", "addr", "add", fmt.Sprintf("fd00:99::%d/64", i+1), "dev", "eth0", "nodad")
	}
	b.serve(one.ns, "tcp", 80)
	b.serve(b.neighbor.NS, "tcp", 80)
	b.publish(one, tcp(80, 8080))
	b.reaches(two.ns, "tcp", "[fd00:31::2]:80", "fd00:31::3")
	b.reaches(two.ns, "tcp", "[fd00:99::2]:80", "fd00:99::1")
	b.reaches(b.neighbor.NS, "tcp", "[fd00:99::1]:8080", "fd00:99::2")
	b.reaches(b.host.NS, "tcp", "[::1]:8080", "172.31.1.1")
}

func TestRestartKeepsPorts(t *testing.T) {
	b := start(t)
	nw := b.net(1)
	one := b.container(nw, 2)
	b.serve(one.ns, "tcp", 80)
	one.Ports = b.publish(one, tcp(80, 8080))
	stale := b.container(nw, 3)
	host := b.host.Addr.String()
	b.restart()
	b.reaches(b.neighbor.NS, "tcp", host+":8080", b.neighbor.Addr.String()) // by the rules alone
	if err := b.driver.Sweep(t.Context(), []model.Network{nw}, map[string]bool{one.ID: true}); err != nil {
		t.Fatal(err)
	}
	if err := b.driver.Ensure(t.Context(), nw); err != nil {
		t.Fatal(err)
	}
	full, err := b.driver.Join(t.Context(), one.Endpoint)
	if err != nil || len(full.Ports) != 2 || full.IfName != one.IfName {
		t.Errorf("adopted: %v, %v", full, err)
	}
	b.reaches(b.neighbor.NS, "tcp", host+":8080", b.neighbor.Addr.String())
	b.reaches(b.host.NS, "tcp", "[::1]:8080", "172.31.1.1")
	if got := netnstest.Exec(t, stale.ns, "ip", "-o", "link"); strings.Contains(got, "eth0") {
		t.Errorf("an endpoint nobody knows was kept: %s", got)
	}
}

func TestNothingIsLeft(t *testing.T) {
	b := start(t)
	before := netnstest.Take(t, t.TempDir(), b.host.NS)
	nw := b.net(1)
	ns, end := netnstest.Sandbox(t)
	ep, err := b.driver.Join(t.Context(), model.Endpoint{
		ID: "e1", NetworkID: nw.ID, NetworkName: nw.Name, Name: "c", Addr: netip.MustParsePrefix("172.31.1.9/24"), Sandbox: ns.Path(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.publish(container{ep, ns}, tcp(80, 8080))
	if err := b.driver.Remove(t.Context(), nw); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a network in use was removed: %v", err)
	}
	if err := b.driver.Leave(t.Context(), nw.ID, ep.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.driver.Remove(t.Context(), nw); err != nil {
		t.Fatal(err)
	}
	end()
	if diff := before.Diff(netnstest.Take(t, t.TempDir(), b.host.NS)); diff != "" {
		t.Errorf("left behind:\n%s", diff)
	}
	if got := b.host.Exec("nft", "list", "ruleset"); strings.Contains(got, "weft") {
		t.Errorf("rules left behind:\n%s", got)
	}
}

func TestRefusals(t *testing.T) {
	b := start(t)
	b.host.Exec("ip", "link", "add", "br-mine", "type", "bridge")
	nw := model.Network{ID: "aa11", Name: "x", Options: map[string]string{bridge.OptionName: "br-mine"}}
	if err := b.driver.Ensure(t.Context(), nw); !errdefs.IsConflict(err) {
		t.Errorf("somebody else's bridge: %v", err)
	}
	if err := b.driver.Remove(t.Context(), nw); err != nil {
		t.Error(err)
	}
	b.host.Exec("ip", "link", "show", "br-mine")
	for key, value := range map[string]string{
		bridge.OptionMTU: "67", bridge.OptionICC: "perhaps", bridge.OptionName: "a name that is too long",
		bridge.OptionHostBinding: "localhost", bridge.OptionGatewayV4: "magic", "com.docker.network.bridge.nosuch": "1", bridge.OptionIfPrefix: "",
	} {
		if err := bridge.Check(model.Network{ID: "aa", Options: map[string]string{key: value}}); err == nil {
			t.Errorf("%s=%s was taken", key, value)
		}
	}
	b.host.Do(func() error {
		if d, err := bridge.New(slog.New(slog.DiscardHandler), nil); !errdefs.IsConflict(err) {
			t.Errorf("a second driver: %v, %v", d, err)
		}
		return nil
	})
}
