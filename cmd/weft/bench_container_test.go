package main_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"weft/engine/kernel"
	"weft/engine/netnstest"
)

// benchImages gives both sides the same small image.
func benchImages(b *testing.B) (ours, docker *side) {
	b.Helper()
	ours, docker = benchSides(b)
	archive := busyboxArchive(b)
	for _, s := range []*side{ours, docker} {
		s.node[0].weft(b, "image", "import", "-c", `CMD ["sleep","1000"]`, archive, "busybox")
	}
	return ours, docker
}

// BenchmarkRun is the time from `docker run` of a small image until its first
// output, on networks of both kinds.
func BenchmarkRun(b *testing.B) {
	ours, docker := benchImages(b)
	for _, s := range []*side{ours, docker} {
		s.node[0].weft(b, "network", "create", "lan")
		s.node[0].weft(b, "run", "-d", "--name", "holds-the-network", "--network", "ov", "busybox")
	}
	for _, network := range []string{"none", "bridge", "lan", "ov"} {
		b.Run(network, func(b *testing.B) {
			for b.Loop() {
				a, d := inTurn(
					func() float64 { return firstOutput(b, ours.node[0], network) },
					func() float64 { return firstOutput(b, docker.node[0], network) })
				report(b, a, d)
			}
		})
	}
}

// firstOutput gives the ms until a container has written a byte.
func firstOutput(b *testing.B, n node, network string) float64 {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), "/usr/bin/docker", "run", "--rm", "--network", network, "busybox", "echo", "x")
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+n.Socket(), "HOME="+b.TempDir())
	out, err := cmd.StdoutPipe()
	must(b, err)
	took := ms(func() {
		must(b, cmd.Start())
		_, err := out.Read(make([]byte, 1))
		must(b, err)
	})
	must(b, cmd.Wait())
	return took
}

// BenchmarkContainerMemory is the memory that is there for one more container
// and for nothing else, the container's own processes left out.
func BenchmarkContainerMemory(b *testing.B) {
	ours, docker := benchImages(b)
	const containers = 20
	for b.Loop() {
		for _, s := range []*side{ours, docker} {
			before := s.private(b)
			for range containers {
				s.node[0].weft(b, "run", "-d", "busybox")
			}
			each := (s.private(b) - before) / containers
			b.ReportMetric(each, "MB-"+s.name)
			ids := strings.Fields(s.node[0].weft(b, "ps", "-q"))
			s.node[0].weft(b, append([]string{"rm", "-f"}, ids...)...)
		}
	}
}

// private gives the MB no other process shares of everything on the first
// node but what runs in containers.
func (s *side) private(tb testing.TB) float64 {
	tb.Helper()
	proc := filepath.Join("/proc", s.pid(tb, s.node[0]), "root/proc")
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*/smaps_rollup"))
	must(tb, err)
	total := 0.0
	for _, file := range files {
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if strings.HasPrefix(string(line), "sleep\x00") {
			continue
		}
		text, _ := os.ReadFile(file) // it may have ended
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 3 && strings.HasPrefix(f[0], "Private_") {
				kB, err := strconv.ParseFloat(f[1], 64)
				must(tb, err)
				total += kB
			}
		}
	}
	return total / 1000
}

// BenchmarkResolver asks the resolver in a container for the name of another,
// from 16 clients and from one.
func BenchmarkResolver(b *testing.B) {
	ours, docker := benchImages(b)
	sandboxes := map[*side]*kernel.Namespace{}
	for _, s := range []*side{ours, docker} {
		n := s.node[0]
		n.weft(b, "network", "create", "lan")
		n.weft(b, "run", "-d", "--name", "target", "--network", "lan", "busybox")
		n.weft(b, "run", "-d", "--name", "asker", "--network", "lan", "busybox")
		inner := n.weft(b, "inspect", "--format", "{{.State.Pid}}", "asker")
		sandboxes[s] = openNet(b, filepath.Join("/proc", s.pid(b, n), "root/proc", inner, "ns/net"))
	}
	b.Run("answers", func(b *testing.B) {
		for b.Loop() {
			a, d := inTurn(
				func() float64 { return answers(b, sandboxes[ours], 16) },
				func() float64 { return answers(b, sandboxes[docker], 16) })
			b.ReportMetric(netnstest.Median(a), "answers/s")
			b.ReportMetric(netnstest.Median(d), "answers/s-dockerd")
			b.ReportMetric(netnstest.Ratio(a, d), "of-dockerd")
		}
	})
	b.Run("latency", func(b *testing.B) {
		for b.Loop() {
			a, d := inTurn(
				func() float64 { return 1e6 / answers(b, sandboxes[ours], 1) },
				func() float64 { return 1e6 / answers(b, sandboxes[docker], 1) })
			b.ReportMetric(netnstest.Median(a), "µs")
			b.ReportMetric(netnstest.Median(d), "µs-dockerd")
			b.ReportMetric(netnstest.Ratio(a, d), "of-dockerd")
		}
	})
}

// answers gives how many answers a second clients get who each ask again as
// soon as they have one. A question without an answer is an error.
func answers(b *testing.B, ns *kernel.Namespace, clients int) float64 {
	b.Helper()
	const long = 700 * time.Millisecond
	ctx, cancel := context.WithTimeout(b.Context(), long)
	defer cancel()
	var total atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		var conn net.Conn
		must(b, kernel.Do(ns, func() (err error) {
			conn, err = new(net.Dialer).DialContext(b.Context(), "udp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 11}), 53).String())
			return err
		}))
		wg.Go(func() {
			defer func() { _ = conn.Close() }()
			c := &dns.Client{Timeout: 5 * time.Second}
			for ctx.Err() == nil {
				resp, _, err := c.ExchangeWithConn(new(dns.Msg).SetQuestion("target.", dns.TypeA), &dns.Conn{Conn: conn})
				if err != nil || len(resp.Answer) != 1 {
					b.Error(fmt.Errorf("%v: %w", resp, err))
					return
				}
				total.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(total.Load()) / long.Seconds()
}
