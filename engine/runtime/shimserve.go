package runtime

import (
	"bufio"
	"io"
	"net"
	"syscall"
	"time"
)

// requestTimeout bounds how long a connection may say nothing.
const requestTimeout = 10 * time.Second

// serveSocket answers connections until the listener is closed.
func (s *shim) serveSocket() {
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
	if req.Op == opExec {
		s.exec(conn, in, req)
		return
	}
	of := s.sessionOf(req.Exec)
	if of == nil {
		_ = writeLine(conn, reply{Gone: true})
		return
	}
	switch req.Op {
	case opSignal:
		_ = writeLine(conn, of.signal(syscall.Signal(req.Signal)))
	case opResize:
		_ = writeLine(conn, of.resize(req.Rows, req.Cols))
	case opWait:
		if orGone(of.done, in) {
			_ = writeLine(conn, reply{Exit: &of.exit})
		}
	case opAttach:
		of.attach(conn, in, req)
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

// sessionOf gives the process a request is about; nil: there is none.
func (s *shim) sessionOf(exec string) *session {
	if exec == "" {
		return s.session
	}
	s.execMu.Lock()
	defer s.execMu.Unlock()
	return s.execs[exec]
}

// orGone waits for ch to be closed and reports true, or false when the other
// end of the connection is closed before.
func orGone(ch <-chan struct{}, in io.Reader) bool {
	select {
	case <-ch:
		return true
	case <-hungUp(in):
		return false
	}
}

// hungUp gives a channel that is closed when the other end has gone. It reads
// the connection, from which nothing more may be expected.
func hungUp(in io.Reader) <-chan struct{} {
	gone := make(chan struct{})
	go func() { // ends with its connection, which answer's caller closes
		defer close(gone)
		_, _ = io.Copy(io.Discard, in)
	}()
	return gone
}

// watch sends a byte whenever the log has grown, until its end.
func (s *shim) watch(conn *net.UnixConn, in *bufio.Reader) {
	grown, cancel := s.out.watch()
	defer cancel()
	if err := writeLine(conn, reply{}); err != nil {
		return
	}
	gone := hungUp(in)
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
