package mesh_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/netnstest"
)

// benchNode is a node without services in a sandbox of its own.
func benchNode(b *testing.B) *mesh.Node {
	b.Helper()
	n, _ := benchNodeIn(b)
	return n
}

// benchNodeIn gives the sandbox, too.
func benchNodeIn(b *testing.B) (*mesh.Node, *kernel.Namespace) {
	b.Helper()
	netnstest.Require(b)
	ns, _ := netnstest.Sandbox(b)
	netnstest.Exec(b, ns, "ip", "link", "add", "eth0", "up", "type", "bridge")
	n, err := mesh.OpenNode(ns, mesh.Place{Interface: "eth0", Addr: netip.MustParsePrefix("10.0.0.2/16")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Close() })
	return n, ns
}

// benchServices gives so many services of ten tasks.
func benchServices(n int) []mesh.Service {
	addr := netip.MustParseAddr("10.0.0.10")
	out := make([]mesh.Service, n)
	for i := range out {
		out[i].Port = mesh.Port{Proto: unix.IPPROTO_TCP, Published: uint16(10000 + i)}
		for range 10 {
			out[i].Backends = append(out[i].Backends, mesh.Backend{Addr: addr})
			addr = addr.Next()
		}
	}
	return out
}

// BenchmarkOneBackend replaces one task of one service, among 10 to 5,000, and
// compares with the least.
func BenchmarkOneBackend(b *testing.B) {
	counts := []int{10, 1000, 5000}
	nodes := make([]*mesh.Node, len(counts))
	services := make([][]mesh.Service, len(counts))
	for i, n := range counts {
		nodes[i], services[i] = benchNode(b), benchServices(n)
		if err := nodes[i].Set(services[i]); err != nil {
			b.Fatal(err)
		}
	}
	addr := netip.MustParseAddr("10.1.0.1")
	const changes = 100
	replace := func(i int) float64 {
		begin := time.Now()
		for range changes {
			addr = addr.Next()
			s := services[i][7]
			s.Backends = slices.Clone(s.Backends)
			s.Backends[3].Addr = addr
			if err := nodes[i].Change([]mesh.Service{s}); err != nil {
				b.Fatal(err)
			}
		}
		return float64(time.Since(begin).Microseconds()) / 1000 / changes
	}
	for b.Loop() {
		took := make([][]float64, len(counts))
		for round := range netnstest.Rounds {
			for i := range counts {
				turn := (i + round) % len(counts)
				took[turn] = append(took[turn], replace(turn))
			}
		}
		for i, n := range counts {
			b.ReportMetric(netnstest.Median(took[i]), fmt.Sprintf("ms-of-%d", n))
		}
		b.ReportMetric(netnstest.Ratio(took[2], took[0]), "5000-of-10")
	}
}

// BenchmarkFromNothing writes 5,000 services of ten tasks.
func BenchmarkFromNothing(b *testing.B) {
	services := benchServices(5000)
	for b.Loop() {
		b.StopTimer()
		n := benchNode(b)
		b.StartTimer()
		if err := n.Set(services); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDrift looks whether the kernel's 5,000 services of ten tasks are what
// was written: when somebody has written to the sandbox's tables, and when
// nobody has.
func BenchmarkDrift(b *testing.B) {
	n, ns := benchNodeIn(b)
	if err := n.Set(benchServices(5000)); err != nil {
		b.Fatal(err)
	}
	look := func(b *testing.B) {
		if d, err := n.Drift(); err != nil || len(d) != 0 {
			b.Fatal(d, err)
		}
	}
	b.Run("touched", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			netnstest.Exec(b, ns, "nft", "add", "table", "inet", "other")
			netnstest.Exec(b, ns, "nft", "delete", "table", "inet", "other")
			b.StartTimer()
			look(b)
		}
	})
	b.Run("untouched", func(b *testing.B) {
		for b.Loop() {
			look(b)
		}
	})
}
