package mesh_test

import (
	"errors"
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

// setAll makes exactly these services reachable, in the host and in its sandbox.
func (b *host) setAll(tb testing.TB, services []mesh.Service) {
	tb.Helper()
	listens := make([]mesh.Listen, len(services))
	for i, s := range services {
		listens[i] = mesh.Listen{Port: s.Port, Service: s}
	}
	if err := errors.Join(b.node.Set(services), b.host.Set(listens)); err != nil {
		tb.Fatal(err)
	}
}

// benchPlace is in a network that has room for the tasks of benchServices.
func benchPlace() mesh.Place {
	at := firstNode()
	at.Addr = netip.PrefixFrom(at.Addr.Addr(), 16)
	return at
}

// benchServices gives so many services of ten tasks.
func benchServices(n int) []mesh.Service {
	addr := netip.MustParseAddr("10.0.0.10")
	out := make([]mesh.Service, n)
	for i := range out {
		out[i].Port = mesh.Port{Proto: unix.IPPROTO_TCP, Published: uint16(10000 + i)}
		for range 10 {
			out[i].Backends = append(out[i].Backends, mesh.Backend{Addr: addr, Target: 80})
			addr = addr.Next()
		}
	}
	return out
}

// BenchmarkOneBackend replaces one task of one service, among 10 to 5,000, and
// compares with the least.
func BenchmarkOneBackend(b *testing.B) {
	counts := []int{10, 1000, 5000}
	hosts := make([]*host, len(counts))
	services := make([][]mesh.Service, len(counts))
	for i, n := range counts {
		hosts[i], services[i] = newStraightHost(b, benchPlace()), benchServices(n)
		hosts[i].setAll(b, services[i])
	}
	addr := netip.MustParseAddr("10.0.200.1")
	const changes = 100
	replace := func(i int) float64 {
		begin := time.Now()
		for range changes {
			addr = addr.Next()
			s := services[i][7]
			s.Backends = slices.Clone(s.Backends)
			s.Backends[3].Addr = addr
			if err := errors.Join(hosts[i].node.Change([]mesh.Service{s}), hosts[i].host.Change([]mesh.Listen{{Port: s.Port, Service: s}}, nil)); err != nil {
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
		h := newStraightHost(b, benchPlace())
		b.StartTimer()
		h.setAll(b, services)
	}
}

// BenchmarkDrift looks whether the kernel's 5,000 services of ten tasks are what
// was written: when somebody has written to the sandbox's tables, and when
// nobody has.
func BenchmarkDrift(b *testing.B) {
	h := newStraightHost(b, benchPlace())
	h.setAll(b, benchServices(5000))
	look := func(b *testing.B) {
		node, err := h.node.Drift()
		host, wrong := h.host.Drift()
		if err := errors.Join(err, wrong); err != nil || len(node)+len(host) != 0 {
			b.Fatal(node, host, err)
		}
	}
	b.Run("touched", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			for _, ns := range []*kernel.Namespace{h.ns, h.nodes[0]} {
				netnstest.Exec(b, ns, "nft", "add", "table", "inet", "other")
				netnstest.Exec(b, ns, "nft", "delete", "table", "inet", "other")
			}
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
