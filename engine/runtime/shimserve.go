package runtime

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// requestTimeout bounds how long a connection may say nothing.
const requestTimeout = 10 * time.Second

// serve answers connections until the listener is closed.
func (s *shim) serve() {
	defer s.conns.Done()
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		s.conns.Add(1)
		go func() {
			defer s.conns.Done()
			defer func() { _ = conn.Close() }()
			s.answer(conn)
		}()
	}
}

func (s *shim) answer(conn *net.UnixConn) {
	in := bufio.NewReader(conn)
	var req request
	_ = conn.SetReadDeadline(s.now().Add(requestTimeout))
	if err := readLine(in, &req); err != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	switch req.Op {
	case opSignal:
		_ = writeLine(conn, s.signal(syscall.Signal(req.Signal)))
	case opWait:
		if s.orGone(s.done, in) {
			_ = writeLine(conn, reply{Exit: &s.exit})
		}
	case opAttach:
		s.attach(conn, in, req)
	case opWatch:
		s.watch(conn, in)
	case opQuit:
		s.quitOnce.Do(func() { close(s.quit) })
		_ = s.signal(syscall.SIGKILL)
		<-s.done
	default:
		_ = writeLine(conn, reply{Error: "unknown operation " + req.Op})
	}
}

// orGone waits for ch to be closed and reports true, or false when the other
// end of the connection is closed before.
func (s *shim) orGone(ch <-chan struct{}, in io.Reader) bool {
	select {
	case <-ch:
		return true
	case <-s.hungUp(in):
		return false
	}
}

// hungUp gives a channel that is closed when the other end has gone. It reads
// the connection, from which nothing more may be expected.
func (s *shim) hungUp(in io.Reader) <-chan struct{} {
	gone := make(chan struct{})
	go func() { // ends with its connection, which answer's caller closes
		defer close(gone)
		_, _ = io.Copy(io.Discard, in)
	}()
	return gone
}

func (s *shim) signal(sig syscall.Signal) reply {
	s.mu.Lock()
	proc := s.proc
	s.mu.Unlock()
	if proc == nil {
		return reply{Gone: true}
	}
	err := proc.Signal(sig)
	switch {
	case errors.Is(err, os.ErrProcessDone), errors.Is(err, syscall.ESRCH):
		return reply{Gone: true}
	case err != nil:
		return reply{Error: err.Error()}
	}
	return reply{}
}

// attach sends output from now on and takes standard input, until the output
// has ended, or the process where no output is wanted, or the client is gone.
func (s *shim) attach(conn *net.UnixConn, in *bufio.Reader, req request) {
	c := &client{conn: conn, stdout: req.Stdout, stderr: req.Stderr, gone: make(chan struct{})}
	s.out.attach(c)
	defer s.out.detach(c)
	if err := writeLine(conn, reply{}); err != nil {
		return
	}
	inputEnded := make(chan error, 1)
	go func() { inputEnded <- s.stdio.takeInput(in, req) }() // ends with conn, which answer's caller closes
	for {
		select {
		case <-c.gone:
			return
		case err := <-inputEnded:
			if err != nil || !(req.Stdout || req.Stderr) {
				return
			}
			inputEnded = nil
		}
	}
}

// watch sends a byte whenever the log has grown, until its end.
func (s *shim) watch(conn *net.UnixConn, in *bufio.Reader) {
	grown, cancel := s.out.watch()
	defer cancel()
	if err := writeLine(conn, reply{}); err != nil {
		return
	}
	gone := s.hungUp(in)
	for {
		select {
		case _, more := <-grown:
			if !more {
				return
			}
			if _, err := conn.Write([]byte{'.'}); err != nil {
				return
			}
		case <-gone:
			return
		}
	}
}
