package netnstest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// Use is what is counted of a path.
type Use int

// The uses.
const (
	NewConnections Use = iota // opened, used for a byte each way, and closed
	Exchanges                 // a byte each way over a connection that is kept
	Requests                  // of HTTP, likewise; To serves it already
	Load                      // Requests over loadConns connections at once
)

// http reports whether requests of HTTP are counted.
func (u Use) http() bool { return u == Requests || u == Load }

// loadConns is how many clients a path under Load has.
const loadConns = 16

// In CompareSlices a round has so many slices of every path, short ones, since
// what else the machine does changes from moment to moment; and new connections
// after every few, for which processors the ends of one are on is chance, and
// lasts.
const (
	turnCount  = 7
	sliceCount = 5 // in a turn
	sliceTime  = 20 * time.Millisecond
)

// CompareSlices gives how often a second each path is used, in Rounds rounds:
// the median of the round's slices, which take turns.
func CompareSlices(tb testing.TB, paths []Path, use Use) [][]float64 {
	tb.Helper()
	s := &served{tb: tb, use: use, open: map[server]int{}}
	defer s.end()
	results := make([][]float64, len(paths))
	for range Rounds {
		rates := make([][]float64, len(paths))
		for range turnCount {
			s.turn(paths, rates)
		}
		for i, r := range rates {
			results[i] = append(results[i], Median(r))
		}
	}
	return results
}

// turn adds some slices' rates to those of each path.
func (s *served) turn(paths []Path, rates [][]float64) {
	s.tb.Helper()
	defer s.hangUp()
	clients := make([]*client, len(paths))
	for i, p := range paths {
		clients[i] = s.client(p)
		clients[i].slice(s.tb) // warm up: neighbors, caches
	}
	for range sliceCount {
		// In an order of chance: who comes after whom finds other caches.
		for _, i := range rand.Perm(len(paths)) {
			rates[i] = append(rates[i], clients[i].slice(s.tb))
		}
	}
}

// server is where paths end.
type server struct {
	to   *kernel.Namespace
	addr string
	port uint16
}

// served is the servers of some paths.
type served struct {
	tb       testing.TB
	use      Use
	open     map[server]int // listeners
	conns    []int
	stopping atomic.Bool
	running  sync.WaitGroup
}

// client uses one path.
type client struct {
	Path
	to   unix.Sockaddr
	kept []int              // connections; none: a new one each time
	use  func(fd int) error // of a kept one
}

// request asks and reads an answer, which is small enough for one read.
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

func (s *served) client(p Path) *client {
	s.tb.Helper()
	at := server{p.To, p.Addr.String(), p.Port}
	fd, ok := s.open[at]
	if !ok && !s.use.http() {
		var err error
		if fd, err = Listen(p); err != nil {
			s.tb.Fatalf("%s: %v", p.Name, err)
		}
		s.open[at] = fd
		s.running.Go(func() { s.serve(fd) })
	}
	c := &client{Path: p, use: exchange}
	if s.use.http() {
		c.use = request
	}
	kept := map[Use]int{Exchanges: 1, Requests: 1, Load: loadConns}[s.use]
	var err error
	if c.to, err = target(p, fd); err == nil {
		err = kernel.Do(p.From, func() error {
			for range kept {
				conn, err := connect(c.to)
				if err != nil {
					return err
				}
				c.kept = append(c.kept, conn)
			}
			return nil
		})
	}
	s.conns = append(s.conns, c.kept...)
	if err != nil {
		s.tb.Fatalf("%s: %v", p.Name, err)
	}
	return c
}

// serve answers until the listener ends.
func (s *served) serve(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil || s.stopping.Load() {
			return
		}
		if s.use == NewConnections {
			_ = answer(fd)
			_ = unix.Close(fd)
			continue
		}
		s.running.Go(func() {
			for answer(fd) == nil {
			}
			_ = unix.Close(fd)
		})
	}
}

// hangUp closes all clients' connections.
func (s *served) hangUp() {
	for _, fd := range s.conns {
		_ = unix.Close(fd)
	}
	s.conns = nil
}

func (s *served) end() {
	s.stopping.Store(true)
	s.hangUp()
	for _, fd := range s.open {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	s.running.Wait()
	for _, fd := range s.open {
		_ = unix.Close(fd)
	}
}

// slice uses the path for a slice's time and gives how often a second.
func (c *client) slice(tb testing.TB) float64 {
	tb.Helper()
	var n atomic.Int64
	begin := time.Now()
	during := func(use func() error) error {
		for time.Since(begin) < sliceTime {
			if err := use(); err != nil {
				return err
			}
			n.Add(1)
		}
		return nil
	}
	var err error
	if len(c.kept) == 0 {
		err = kernel.Do(c.From, func() error { return during(func() error { return converse(c.to) }) })
	} else {
		var all errgroup.Group
		for _, fd := range c.kept {
			all.Go(func() error { return during(func() error { return c.use(fd) }) })
		}
		err = all.Wait()
	}
	if err != nil {
		tb.Fatalf("%s: %v", c.Name, err)
	}
	return float64(n.Load()) / time.Since(begin).Seconds()
}
