package probe

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failures is how often a call fails, as one does without free descriptors or
// memory.
type failures int

func (f *failures) fail() error {
	if *f--; *f >= 0 {
		return syscall.EMFILE
	}
	return nil
}

// flakyListener accepts one connection, and is closed then.
type flakyListener struct {
	net.Listener
	failures failures
	conn     net.Conn
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if err := l.failures.fail(); err != nil {
		return nil, err
	}
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

// flakySocket gets one datagram, and is closed then.
type flakySocket struct {
	net.PacketConn
	failures failures
	from     string
	echoed   []byte
}

func (s *flakySocket) ReadFrom(b []byte) (int, net.Addr, error) {
	if err := s.failures.fail(); err != nil {
		return 0, nil, err
	}
	if s.from == "" {
		return 0, nil, net.ErrClosed
	}
	from := addrPort(s.from)
	s.from = ""
	return copy(b, "x"), from, nil
}

func (s *flakySocket) WriteTo(b []byte, _ net.Addr) (int, error) {
	s.echoed = bytes.Clone(b)
	return len(b), nil
}

func (*flakySocket) LocalAddr() net.Addr { return addrPort("[::]:7") }

func addrPort(text string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(text)) }

func TestEchoOutlivesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go echoTCP(t.Context(), &flakyListener{failures: 3, conn: theirs})
		must(t, ours.SetDeadline(time.Now().Add(time.Hour)))
		_, err := ours.Write([]byte("x"))
		must(t, err)
		b := make([]byte, 1)
		if _, err := io.ReadFull(ours, b); err != nil || b[0] != 'x' {
			t.Errorf("%q %v", b, err)
		}
		must(t, ours.Close())
	})
	synctest.Test(t, func(t *testing.T) {
		s := &flakySocket{failures: 3, from: "10.98.0.2:1234"}
		answerUDP(t.Context(), s, sameAgain)
		if string(s.echoed) != "x" {
			t.Errorf("echoed %q", s.echoed)
		}
	})
	synctest.Test(t, func(t *testing.T) { // what fails for ever ends with the context
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		echoTCP(ctx, &flakyListener{failures: 1 << 40})
		if ctx.Err() == nil {
			t.Error("TCP ended early")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		answerUDP(ctx, &flakySocket{failures: 1 << 40}, sameAgain)
		if ctx.Err() == nil {
			t.Error("UDP ended early")
		}
	})
}

// TestEchoesDontPlayBall: two echo servers would go on for ever about one
// datagram with a forged source.
func TestEchoesDontPlayBall(t *testing.T) {
	s := &flakySocket{from: "10.98.0.2:7"}
	answerUDP(t.Context(), s, sameAgain)
	if s.echoed != nil {
		t.Errorf("echoed %q to another echo server", s.echoed)
	}
}
