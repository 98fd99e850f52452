package netnstest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// Path is a way from one namespace to another. Traffic over it is TCP between
// blocking sockets: what is measured is the path, not Go's poller.
type Path struct {
	Name     string
	From, To *kernel.Namespace
	Addr     netip.Addr // where To listens; zero: at all its addresses
	Port     uint16     // where To listens; 0: one that is free
	Served   bool       // To listens there already and answers; else the measurement has it do so
	// Dial is where From connects to; zero: to where To listens.
	Dial netip.AddrPort
}

// Rounds is how often Compare measures every path, in turn.
const Rounds = 9

// measureTime is how long one measurement of one path takes.
const measureTime = 700 * time.Millisecond

// Compare measures the paths in Rounds rounds, each of them in turn and every
// round beginning with another, and gives the results of each path by round.
func Compare(tb testing.TB, paths []Path, measure func(testing.TB, Path) float64) [][]float64 {
	tb.Helper()
	for _, p := range paths { // warm up: neighbors, caches
		Connections(tb, p)
	}
	results := make([][]float64, len(paths))
	for round := range Rounds {
		for i := range paths {
			turn := (i + round) % len(paths)
			results[turn] = append(results[turn], measure(tb, paths[turn]))
		}
	}
	return results
}

// Serve answers TCP connections to an address in ns until the test ends, each in
// its own goroutine and closed after handle. It gives where it listens.
func Serve(tb testing.TB, ns *kernel.Namespace, at string, handle func(net.Conn)) netip.AddrPort {
	tb.Helper()
	var l net.Listener
	err := kernel.Do(ns, func() (err error) {
		l, err = new(net.ListenConfig).Listen(tb.Context(), "tcp", at)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				handle(c)
				_ = c.Close()
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// Median gives the middle one of values.
func Median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}

// Ratio gives the median of a's values, each divided by that of b in the same
// round.
func Ratio(a, b []float64) float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return Median(out)
}

// Throughput gives the Gbit/s one TCP connection carries.
func Throughput(tb testing.TB, p Path) float64 {
	tb.Helper()
	var received int64
	var took time.Duration
	serve(tb, p, func(fd int) {
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
	return float64(received) * 8 / took.Seconds() / 1e9
}

// Connections gives how many connections a second are opened, used for a byte
// each way, and closed.
func Connections(tb testing.TB, p Path) float64 {
	tb.Helper()
	var n int
	var took time.Duration
	serve(tb, p, func(fd int) { _ = answer(fd) }, func(to unix.Sockaddr) error {
		begin := time.Now()
		for took = 0; took < measureTime; took = time.Since(begin) {
			if err := converse(to); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return float64(n) / took.Seconds()
}

// converse is the client's side of one short connection.
func converse(to unix.Sockaddr) error {
	fd, err := connect(to)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // the descriptor is gone either way
	if err := exchange(fd); err != nil {
		return err
	}
	return abort(fd)
}

// exchange sends a byte and awaits one.
func exchange(fd int) error {
	b := [1]byte{1}
	if _, err := unix.Write(fd, b[:]); err != nil {
		return err
	}
	n, err := unix.Read(fd, b[:])
	if n == 0 && err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// answer is the server's side of exchange.
func answer(fd int) error {
	var b [1]byte
	n, err := unix.Read(fd, b[:])
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		_, err = unix.Write(fd, b[:])
	}
	return err
}

// request asks for a page and reads it, which is small enough for one read.
func request(fd int) error {
	if _, err := unix.Write(fd, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err == nil && !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 OK")) {
		err = fmt.Errorf("answer %q", buf[:n])
	}
	return err
}

// body is as long as what the probe answers.
const body = `{"hostname":"3f1c5a9d7e20","client":"192.168.77.1:43210","server":"10.0.0.5:99","method":"GET","host":"x","path":"/"}` + "\n"

var page = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)

// answerRequest is the server's side of request.
func answerRequest(fd int) error {
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err == nil && !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
		err = fmt.Errorf("request %q", buf[:n])
	}
	if err == nil {
		_, err = unix.Write(fd, page)
	}
	return err
}

// abort has the connection end by a reset: TIME_WAIT would use the ports up.
func abort(fd int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// serve runs handle for each connection the client makes, one at a time.
func serve(tb testing.TB, p Path, handle func(fd int), client func(unix.Sockaddr) error) {
	tb.Helper()
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatalf("%s: %v", p.Name, err)
		}
	}
	listener, err := Listen(p)
	check(err)
	bound, err := target(p, listener)
	check(err)
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
	err = kernel.Do(p.From, func() error { return client(bound) })
	stopping.Store(true)
	_ = unix.Shutdown(listener, unix.SHUT_RDWR)
	<-stopped
	_ = unix.Close(listener)
	check(err)
}

// target gives where a path's client connects to.
func target(p Path, listener int) (unix.Sockaddr, error) {
	if p.Dial.IsValid() {
		return &unix.SockaddrInet4{Addr: p.Dial.Addr().As4(), Port: int(p.Dial.Port())}, nil
	}
	return unix.Getsockname(listener)
}

// Listen opens a path's listening socket.
func Listen(p Path) (listener int, err error) {
	at := &unix.SockaddrInet4{Port: int(p.Port)}
	if p.Addr.IsValid() {
		at.Addr = p.Addr.As4()
	}
	err = kernel.Do(p.To, func() (err error) {
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		if err := unix.Bind(listener, at); err != nil {
			return err
		}
		return unix.Listen(listener, 128)
	})
	return listener, err
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

// VTEP is a host's network namespace and its address on the underlay.
type VTEP struct {
	NS   *kernel.Namespace
	Addr netip.Addr
}

// ByHand makes a VXLAN between two hosts as one would with the ip command, a
// container on each, and gives the path from the first host's to the other's.
// Its VNI is 77, its port 4789.
func ByHand(tb testing.TB, hosts [2]VTEP) Path {
	tb.Helper()
	var ends [2]*kernel.Namespace
	for i, h := range hosts {
		ns, _ := Sandbox(tb)
		ends[i] = ns
		mac := func(i int) string { return fmt.Sprintf("02:42:0a:4d:00:%02x", i+1) }
		Exec(tb, h.NS, "sh", "-ec", fmt.Sprintf(`
			ip link add hand-br type bridge
			ip link set hand-br mtu 1450 up
			ip link add hand-vx mtu 1450 type vxlan id 77 dstport 4789 local %s nolearning proxy
			ip link set hand-vx master hand-br up
			bridge fdb add %s dev hand-vx dst %s self permanent
			ip neigh add 10.77.0.%d lladdr %s dev hand-vx nud permanent
			ip link add hand-veth mtu 1450 type veth peer name eth0 mtu 1450 address %s netns %s
			ip link set hand-veth master hand-br up`,
			h.Addr, mac(1-i), hosts[1-i].Addr, 2-i, mac(1-i), mac(i), ns.Path()))
		Exec(tb, ns, "ip", "addr", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", "eth0")
		Exec(tb, ns, "ip", "link", "set", "eth0", "up")
	}
	return Path{Name: "hand-made", From: ends[0], To: ends[1], Addr: netip.AddrFrom4([4]byte{10, 77, 0, 2})}
}
