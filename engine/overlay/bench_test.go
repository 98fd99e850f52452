package overlay_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// BenchmarkEnsure makes a network of one segment and takes it away again.
func BenchmarkEnsure(b *testing.B) {
	n := nodes(b, 1)[0]
	nw := blue()
	var removing time.Duration
	for b.Loop() {
		n.ensure(b, nw)
		begin := time.Now()
		must(b, n.driver.Remove(b.Context(), nw.ID))
		removing += time.Since(begin)
	}
	each := float64(b.N) * 1000
	b.ReportMetric(float64((b.Elapsed()-removing).Microseconds())/each, "ms/ensure")
	b.ReportMetric(float64(removing.Microseconds())/each, "ms/remove")
}

// BenchmarkJoin plugs an endpoint in and out.
func BenchmarkJoin(b *testing.B) {
	n := nodes(b, 1)[0]
	nw := blue()
	n.ensure(b, nw)
	ns, _ := netnstest.Sandbox(b)
	c := &container{ns: ns}
	var leaving time.Duration
	for b.Loop() {
		n.join(b, c, nw, "10.1.0.2")
		begin := time.Now()
		must(b, n.driver.Leave(b.Context(), nw.ID, c.ID))
		leaving += time.Since(begin)
	}
	each := float64(b.N) * 1000
	b.ReportMetric(float64((b.Elapsed()-leaving).Microseconds())/each, "ms/join")
	b.ReportMetric(float64(leaving.Microseconds())/each, "ms/leave")
}

// path is a way from one namespace to another.
type path struct {
	name     string
	from, to *kernel.Namespace
	addr     netip.Addr
}

// pairs is how often every path is measured, in turn.
const pairs = 9

// BenchmarkTraffic compares TCP from container to container over a network of
// ours with a VXLAN made by hand and with the bare underlay. All are measured
// in one run, in turn, and the metrics are medians of the rounds' ratios.
func BenchmarkTraffic(b *testing.B) {
	for _, tt := range []struct {
		name    string
		measure func(testing.TB, path) float64
		unit    string
	}{
		{"throughput", throughput, "Gbit/s"},
		{"connections", connections, "conn/s"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			paths := rig(b)
			for _, p := range paths { // warm up: neighbors, caches
				connections(b, p)
			}
			b.ResetTimer()
			for range b.N {
				results := make([][]float64, len(paths))
				for round := range pairs {
					for i := range paths {
						turn := (i + round) % len(paths)
						results[turn] = append(results[turn], tt.measure(b, paths[turn]))
					}
				}
				b.ReportMetric(median(results[0]), tt.unit)
				b.ReportMetric(median(ratios(results[0], results[1])), "of-hand-made")
				b.ReportMetric(median(ratios(results[0], results[2])), "of-underlay")
			}
		})
	}
}

// rig makes two hosts with the three paths between them: ours first, then the
// one made by hand, then the bare underlay.
func rig(tb testing.TB) []path {
	tb.Helper()
	hosts := netnstest.Hosts(tb, 2, 0)
	nw := blue()
	all := map[*node][]*container{}
	var ours, hand []*kernel.Namespace
	var last *container
	for i, h := range hosts {
		n := start(tb, h, h.Addr)
		n.ensure(tb, nw)
		last = n.run(tb, nw, fmt.Sprintf("10.1.0.%d", i+2))
		all[n] = []*container{last}
		ours = append(ours, last.ns)
		hand = append(hand, byHand(tb, hosts, i))
	}
	introduce(tb, nw, all)
	return []path{
		{"weft", ours[0], ours[1], last.Addr.Addr()},
		{"hand-made", hand[0], hand[1], netip.MustParseAddr("10.77.0.2")},
		{"underlay", hosts[0].NS, hosts[1].NS, hosts[1].Addr},
	}
}

// byHand makes host i's part of a VXLAN between two hosts as one would with
// the ip command, and gives its container.
func byHand(tb testing.TB, hosts []*netnstest.Host, i int) *kernel.Namespace {
	tb.Helper()
	ns, _ := netnstest.Sandbox(tb)
	h, other := hosts[i], hosts[1-i]
	mac := func(i int) string { return model.MAC{0x02, 0x42, 10, 77, 0, byte(i + 1)}.String() }
	h.Exec("sh", "-ec", fmt.Sprintf(`
		ip link add br0 type bridge
		ip link set br0 mtu 1450 up
		ip link add vx0 mtu 1450 type vxlan id 77 dstport 4789 local %s nolearning proxy
		ip link set vx0 master br0 up
		bridge fdb add %s dev vx0 dst %s self permanent
		ip neigh add 10.77.0.%d lladdr %s dev vx0 nud permanent
		ip link add veth0 mtu 1450 type veth peer name eth0 mtu 1450 address %s netns %s
		ip link set veth0 master br0 up`,
		h.Addr, mac(1-i), other.Addr, 2-i, mac(1-i), mac(i), ns.Path()))
	netnstest.Exec(tb, ns, "ip", "addr", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", "eth0")
	netnstest.Exec(tb, ns, "ip", "link", "set", "eth0", "up")
	return ns
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// measureTime is how long one measurement of one path takes.
const measureTime = 700 * time.Millisecond

// throughput gives the Gbit/s one TCP connection carries.
func throughput(tb testing.TB, p path) float64 {
	tb.Helper()
	var received int64
	var took time.Duration
	done := serve(tb, p, func(fd int) {
		buf := make([]byte, 256<<10)
		begin := time.Now()
		for {
			n, err := unix.Read(fd, buf)
			if n <= 0 || err != nil {
				took = time.Since(begin)
				return
			}
			received += int64(n)
		}
	}, func(to unix.Sockaddr) error {
		fd, err := connect(to)
		if err != nil {
			return err
		}
		buf := make([]byte, 256<<10)
		for begin := time.Now(); err == nil && time.Since(begin) < measureTime; {
			_, err = unix.Write(fd, buf)
		}
		_ = unix.Close(fd)
		return err
	})
	must(tb, done)
	return float64(received) * 8 / took.Seconds() / 1e9
}

// connections gives how many connections a second are opened, used for a byte
// each way, and closed.
func connections(tb testing.TB, p path) float64 {
	tb.Helper()
	var n int
	var took time.Duration
	done := serve(tb, p, func(fd int) {
		var b [1]byte
		if _, err := unix.Read(fd, b[:]); err == nil {
			_, _ = unix.Write(fd, b[:])
		}
	}, func(to unix.Sockaddr) error {
		begin := time.Now()
		for took = 0; took < measureTime; took = time.Since(begin) {
			fd, err := connect(to)
			if err != nil {
				return err
			}
			b := [1]byte{1}
			if _, err = unix.Write(fd, b[:]); err == nil {
				_, err = unix.Read(fd, b[:])
			}
			if err == nil { // no TIME_WAIT, or the ports run out
				err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			}
			_ = unix.Close(fd)
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	must(tb, done)
	return float64(n) / took.Seconds()
}

// serve runs handle for each connection the client makes. Blocking sockets on
// both sides: what is measured is the path, not Go's poller.
func serve(tb testing.TB, p path, handle func(fd int), client func(unix.Sockaddr) error) error {
	tb.Helper()
	sa := &unix.SockaddrInet4{Addr: p.addr.As4()}
	var listener int
	must(tb, kernel.Do(p.to, func() (err error) {
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(listener, sa); err != nil {
			return err
		}
		return unix.Listen(listener, 128)
	}))
	bound, err := unix.Getsockname(listener)
	must(tb, err)
	var stopping atomic.Bool
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if err != nil || stopping.Load() {
				return
			}
			handle(fd)
			_ = unix.Close(fd)
		}
	}()
	result := kernel.Do(p.from, func() error { return client(bound) })
	stopping.Store(true)
	_ = unix.Shutdown(listener, unix.SHUT_RDWR)
	<-stopped
	_ = unix.Close(listener)
	return result
}

func connect(to unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, to); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
