package netnstest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// Use is what is counted of a path.
type Use struct {
	kept        int                // connections of a client; 0: a new one each time
	ask, answer func(fd int) error // what the two ends of a connection do, once
	held        bool               // both ends on one processor
}

// The uses.
var (
	// NewConnections are opened, used for a byte each way, and closed.
	NewConnections = Use{ask: exchange, answer: answer}
	// Exchanges are of a byte each way over a connection that is kept.
	Exchanges = Use{kept: 1, ask: exchange, answer: answer}
	// HeldExchanges are the same with one processor for both ends: what a packet
	// costs on its way is all there is, and who is woken where is no chance.
	HeldExchanges = Use{kept: 1, ask: exchange, answer: answer, held: true}
	// Requests are of HTTP, over a connection that is kept.
	Requests = Use{kept: 1, ask: request, answer: answerRequest}
	// Load is Requests over so many connections at once.
	Load = Use{kept: 16, ask: request, answer: answerRequest}
)

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
		s.slice(clients[i]) // warm up: neighbors, caches
	}
	for range sliceCount {
		// In an order of chance: who comes after whom finds other caches.
		for _, i := range rand.Perm(len(paths)) {
			rates[i] = append(rates[i], s.slice(clients[i]))
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
	kept []int // connections
}

func (s *served) client(p Path) *client {
	s.tb.Helper()
	at := server{p.To, p.Addr.String(), p.Port}
	fd, ok := s.open[at]
	if !ok && !p.Served {
		var err error
		if fd, err = Listen(p); err != nil {
			s.tb.Fatalf("%s: %v", p.Name, err)
		}
		s.open[at] = fd
		s.running.Go(func() { _ = s.hold(func() error { return s.serve(fd) }) })
	}
	c := &client{Path: p}
	var err error
	if c.to, err = target(p, fd); err == nil {
		err = kernel.Do(p.From, func() error {
			for range s.use.kept {
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
func (s *served) serve(listener int) error {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil || s.stopping.Load() {
			return err
		}
		if s.use.kept == 0 {
			_ = s.use.answer(fd)
			_ = unix.Close(fd)
			continue
		}
		s.running.Go(func() {
			_ = s.hold(func() error { return s.answerAll(fd) })
			_ = unix.Close(fd)
		})
	}
}

// answerAll answers until the connection ends.
func (s *served) answerAll(fd int) error {
	for {
		if err := s.use.answer(fd); err != nil {
			return err
		}
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

// slice uses a client's path for a slice's time and gives how often a second.
func (s *served) slice(c *client) float64 {
	s.tb.Helper()
	var n atomic.Int64
	begin := time.Now()
	during := func(use func() error) error {
		return s.hold(func() error {
			for time.Since(begin) < sliceTime {
				if err := use(); err != nil {
					return err
				}
				n.Add(1)
			}
			return nil
		})
	}
	var err error
	if len(c.kept) == 0 {
		err = kernel.Do(c.From, func() error { return during(func() error { return converse(c.to) }) })
	} else {
		var all errgroup.Group
		for _, fd := range c.kept {
			all.Go(func() error { return during(func() error { return s.use.ask(fd) }) })
		}
		err = all.Wait()
	}
	if err != nil {
		s.tb.Fatalf("%s: %v", c.Name, err)
	}
	return float64(n.Load()) / time.Since(begin).Seconds()
}

// hold runs fn where both ends are held, if they are.
func (s *served) hold(fn func() error) error {
	if !s.use.held {
		return fn()
	}
	var all, one unix.CPUSet
	runtime.LockOSThread()
	err := unix.SchedGetaffinity(0, &all)
	if err == nil {
		one.Set(first(all))
		err = unix.SchedSetaffinity(0, &one)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("hold an end on a processor: %w", err)
	}
	defer func() {
		if unix.SchedSetaffinity(0, &all) == nil { // else the thread ends with its goroutine
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}

// first gives the first processor of a set that has one.
func first(set unix.CPUSet) int {
	cpu := 0
	for !set.IsSet(cpu) {
		cpu++
	}
	return cpu
}
