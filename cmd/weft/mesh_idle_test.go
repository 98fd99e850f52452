package main_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/lab"
)

// ingressSandbox opens that of a host.
func (b *meshBed) ingressSandbox(t *testing.T, i int) *kernel.Namespace {
	t.Helper()
	n := b.nodes[i]
	return openNet(t, filepath.Join("/proc", (&side{lab: b.lab}).pid(t, n), "root", lab.RunDir, "netns/ingress_sbox"))
}

// virtualIP gives a service's on a network.
func (b *meshBed) virtualIP(t *testing.T, service, network string) string {
	t.Helper()
	id := b.nodes[0].weft(t, "network", "inspect", "--format", "{{.Id}}", network)
	out := b.nodes[0].weft(t, "service", "inspect", "--format", "{{range .Endpoint.VirtualIPs}}{{.NetworkID}} {{.Addr}}\n{{end}}", service)
	for line := range strings.Lines(out) {
		if n, addr, _ := strings.Cut(strings.TrimSpace(line), " "); n == id {
			return netip.MustParsePrefix(addr).Addr().String()
		}
	}
	t.Fatalf("no virtual IP of %s on %s: %s", service, network, out)
	return ""
}

// byVirtualIP gives where a container reaches web by its virtual IP on ov, once
// it does.
func (b *meshBed) byVirtualIP(t *testing.T, box *kernel.Namespace) string {
	t.Helper()
	to := b.virtualIP(t, "web", "ov") + ":80"
	await(t, 20*time.Second, func() (bool, string) {
		_, _, err := ask(box, "tcp", to)
		return err == nil, fmt.Sprintf("by the virtual IP: %v", err)
	})
	return to
}

// keeps gives how long the tracking of connections of a namespace keeps idle
// flows that match, the shortest of them, and how many there are.
func keeps(t *testing.T, ns *kernel.Namespace, match func(netlink.IPTuple) bool) (shortest time.Duration, n int) {
	t.Helper()
	var flows []*netlink.ConntrackFlow
	must(t, kernel.Do(ns, func() (err error) {
		flows, err = netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		return err
	}))
	for _, f := range flows {
		if !match(f.Forward) {
			continue
		}
		left := time.Duration(f.TimeOut) * time.Second
		if n++; n == 1 || left < shortest {
			shortest = left
		}
	}
	return shortest, n
}

// leastIdle is more than what Docker's mesh keeps of an idle connection.
const leastIdle = 960 * time.Second

// TestIdleMeshFlows asks the kernel how long idle flows are kept, wherever one
// passes.
func TestIdleMeshFlows(t *testing.T) {
	t.Parallel()
	b := newMeshBed(t)
	one := b.nodes[0]
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "ov")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "web", "--network", "ov", "--constraint", "node.hostname==host2",
		"--publish", "8080:80", "--publish", "8080:80/udp", "weft/probe")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "hidden", "--constraint", "node.hostname==host2",
		"--label", "weft.mesh.source=masquerade", "--publish", "8081:80", "weft/probe")
	one.weft(t, "run", "-d", "--name", "box", "--network", "ov", "weft/probe")
	b.answers(t, "tcp", b.at(0, 8080))
	b.answers(t, "udp", b.at(0, 8080))
	b.answers(t, "tcp", b.at(0, 8081))
	box, sandbox := b.sandbox(one, "box"), b.ingressSandbox(t, 0)
	straight, hidden, inside := b.hold(t, b.outside, b.at(0, 8080)), b.hold(t, b.outside, b.at(0, 8081)), b.hold(t, box, b.byVirtualIP(t, box))
	for _, c := range []struct {
		name string
		ns   *kernel.Namespace
		held held
		want int
	}{
		{"host", b.hosts[0], straight, 1},
		{"task", b.taskNamespace(t, "web"), straight, 0},
		{"host, by the sandbox", b.hosts[0], hidden, 1},
		{"ingress sandbox", sandbox, hidden, 1},
		{"task, by the sandbox", b.taskNamespace(t, "hidden"), hidden, 1},
		{"client", box, inside, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := netip.MustParseAddrPort(c.held.LocalAddr().String()).Port()
			least, n := keeps(t, c.ns, func(f netlink.IPTuple) bool { return f.Protocol == unix.IPPROTO_TCP && f.SrcPort == from })
			if n != c.want || (n > 0 && least < leastIdle) {
				t.Errorf("%d connections, should be %d, kept for %v at least", n, c.want, least)
			}
			least, n = keeps(t, c.ns, func(f netlink.IPTuple) bool { return f.Protocol == unix.IPPROTO_UDP && f.DstPort == 8080 })
			t.Logf("%d flows of datagrams, kept for %v at least", n, least)
		})
	}
}
