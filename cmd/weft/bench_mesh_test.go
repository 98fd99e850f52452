package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/netnstest"
)

// BenchmarkMesh compares ways from one host to a task on another: its published
// port, with the client's address kept and hidden, its address on an overlay,
// the virtual IP there, and a proxy in user space.
func BenchmarkMesh(b *testing.B) {
	l, nodes := testLab(b, 2)
	swarm(b, nodes)
	s := &side{name: "weft", lab: l, node: [2]node(nodes)}
	one := nodes[0]
	one.weft(b, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/16", "ov")
	client, _ := s.endpoint(b, one)
	host := s.hostNet(b, one)
	served := func(name string, published uint16, flags ...string) (to *kernel.Namespace, addr netip.Addr) {
		b.Helper()
		one.weft(b, append(append([]string{
			"service", "create", "-q", "--detach", "--name", name, "--network", "ov", "--constraint", "node.hostname==host2",
			"--publish", fmt.Sprintf("%d:%d", published, meshTarget), "--publish", fmt.Sprintf("%d:80", published+1000),
		}, flags...), "weft/probe")...)
		awaitReplicas(b, one, name, "1/1")
		return s.task(b, nodes[1], name)
	}
	kept, addr := served("kept", 8080)
	hidden, _ := served("hidden", 8081, "--label", "weft.mesh.source=masquerade")
	vip := one.weft(b, "service", "inspect", "--format", "{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}", "kept")
	var virtual netip.Addr
	for _, v := range strings.Fields(vip) {
		if p := netip.MustParsePrefix(v); p.Addr().As4()[1] == 20 {
			virtual = p.Addr()
		}
	}
	// To a server of this benchmark's in the task, which takes little of the
	// time, or to the program there, which takes most.
	paths := func(target, published uint16, served bool) []netnstest.Path {
		at := netip.AddrPortFrom
		all := []netnstest.Path{
			{Name: "mesh", From: host, To: kept, Dial: at(one.Addr.Addr(), published)},
			{Name: "direct", From: client, To: kept, Dial: at(addr, target)},
			{Name: "proxy", From: host, To: kept, Dial: proxy(b, host, client, at(addr, target))},
			{Name: "masquerade", From: host, To: hidden, Dial: at(one.Addr.Addr(), published+1)},
			{Name: "vip", From: client, To: kept, Dial: at(virtual, target)},
		}
		for i := range all {
			all[i].Port, all[i].Served = target, served
		}
		return all
	}
	own, programs := paths(meshTarget, 8080, false), paths(80, 9080, true)
	for _, p := range own {
		awaitPath(b, p)
	}
	awaitStraight(b, one, own[0], 8080)
	for _, c := range []struct {
		name, unit string
		paths      []netnstest.Path
		use        netnstest.Use
	}{
		{"connections", "conn/s", own, netnstest.NewConnections},
		{"keep-alive", "exchanges/s", own, netnstest.Exchanges},
		{"keep-alive-held", "exchanges/s", own, netnstest.HeldExchanges},
		{"requests", "requests/s", own, netnstest.Requests},
		{"load", "requests/s", own, netnstest.Load},
		{"requests-of-program", "requests/s", programs, netnstest.Requests},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				reportMesh(b, c.unit, netnstest.CompareSlices(b, c.paths, c.use))
			}
		})
	}
	b.Run("throughput", func(b *testing.B) {
		for b.Loop() {
			reportMesh(b, "Gbit/s", netnstest.Compare(b, own, netnstest.Throughput))
		}
	})
}

// reportMesh gives the results of the paths of BenchmarkMesh.
func reportMesh(b *testing.B, unit string, r [][]float64) {
	b.Helper()
	b.ReportMetric(netnstest.Median(r[0]), unit)
	b.ReportMetric(netnstest.Ratio(r[0], r[1]), "of-direct")
	b.ReportMetric(netnstest.Ratio(r[0], r[2]), "of-proxy")
	b.ReportMetric(netnstest.Ratio(r[0], r[3]), "of-masquerade")
	b.ReportMetric(netnstest.Ratio(r[4], r[1]), "vip-of-direct")
}

// meshTarget is the port the benchmark serves in the tasks.
const meshTarget = 99

// task opens the namespace of a service's task on a node and gives its address
// on ov.
func (s *side) task(tb testing.TB, n node, service string) (*kernel.Namespace, netip.Addr) {
	tb.Helper()
	id := n.weft(tb, "ps", "-q", "--filter", "name="+service+".")
	out := n.weft(tb, "inspect", "--format", "{{.State.Pid}} {{.NetworkSettings.Networks.ov.IPAddress}}", id)
	inner, text, _ := strings.Cut(out, " ")
	addr, err := netip.ParseAddr(text)
	must(tb, err)
	return openNet(tb, fmt.Sprintf("/proc/%s/root/proc/%s/ns/net", s.pid(tb, n), inner)), addr
}

// awaitPath waits until a path leads where it should: a task is published once
// it listens.
func awaitPath(tb testing.TB, p netnstest.Path) {
	tb.Helper()
	fd, err := netnstest.Listen(p)
	must(tb, err)
	defer func() { must(tb, unix.Close(fd)) }()
	await(tb, 30*time.Second, func() (bool, string) {
		err := kernel.Do(p.From, func() error {
			c, err := net.DialTimeout("tcp", p.Dial.String(), time.Second)
			if err == nil {
				err = c.Close()
			}
			return err
		})
		return err == nil, fmt.Sprintf("%s: no way to %v: %v", p.Name, p.Dial, err)
	})
}

// awaitStraight waits until a host knows that the server at the end of a path
// listens on any address: one that is no program of the task's begins late.
func awaitStraight(tb testing.TB, n node, p netnstest.Path, published uint16) {
	tb.Helper()
	fd, err := netnstest.Listen(p)
	must(tb, err)
	defer func() { must(tb, unix.Close(fd)) }()
	await(tb, 10*time.Second, func() (bool, string) {
		out := n.weft(tb, "mesh", "trace", fmt.Sprintf("%d/tcp", published))
		return strings.Contains(out, "straight to a task"), out
	})
}

// proxy is what a proxy in user space is at its best: one copy each way, and
// its own place on the overlay. It listens on a host and connects from a
// container.
func proxy(tb testing.TB, host, container *kernel.Namespace, to netip.AddrPort) netip.AddrPort {
	tb.Helper()
	return netnstest.Serve(tb, host, "127.0.0.1:0", func(c net.Conn) { relay(c, container, to) })
}

func relay(c net.Conn, from *kernel.Namespace, to netip.AddrPort) {
	var s net.Conn
	err := kernel.Do(from, func() (err error) {
		s, err = new(net.Dialer).DialContext(context.Background(), "tcp", to.String())
		return err
	})
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(c, s)
		_ = c.Close()
	}()
	_, _ = io.Copy(s, c)
	_ = s.Close()
}
