package probe

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/netnstest"
)

func TestDial(t *testing.T) {
	_, echo, end := local(t)
	defer end()
	for _, network := range []string{"tcp", "udp"} {
		for name, text := range map[string]string{
			"a word": "hi", "nothing": "", "bytes": "\x00\xff\xfe \t", "more than a buffer": strings.Repeat("x", 5000), "the longest": strings.Repeat("x", 65506),
		} {
			got := call(t.Context(), "dial", "-text", text, network, echo)
			from, line, _ := strings.Cut(got.out, " -> ")
			if host, _, err := net.SplitHostPort(from); err != nil || host != "127.0.0.1" || line != echo+": "+text+"\n" || got.code != 0 {
				t.Errorf("%s over %s: exit %d %.80q %.80q", name, network, got.code, got.out, got.err)
			}
		}
	}
	call(t.Context(), "dial", "udp", "-text", "x", echo).says(t, codeUsage, "", "too many arguments: ")
	call(t.Context(), "dial", "tcp", "127.0.0.1").says(t, 1, "", "missing port in address\n")
	call(t.Context(), "dial", "udp", "127.0.0.1:x").says(t, 1, "", "unknown port\n")
	call(t.Context(), "dial", "-text", strings.Repeat("x", 65508), "udp", echo).says(t, 1, "", "message too long\n")
}

// answering accepts connections on loopback and answers each with text.
func answering(tb testing.TB, text func(net.Conn) io.Reader) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, text(c))
			_ = c.Close()
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// endless is a line that doesn't end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte("x"), len(b))), nil }

func TestDialWithoutAnEcho(t *testing.T) {
	read := func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, len("hello\n"))) }
	at := func(text string) string {
		return answering(t, func(c net.Conn) io.Reader { read(c); return strings.NewReader(text) })
	}
	call(t.Context(), "dial", "tcp", at("")).says(t, 1, "", ": EOF\n")
	call(t.Context(), "dial", "tcp", at("no end")).says(t, 1, "", ": EOF\n")
	call(t.Context(), "dial", "tcp", at("other\nlines\n")).says(t, 0, ": other\n", "")
	call(t.Context(), "dial", "-timeout", "1h", "tcp", answering(t, func(net.Conn) io.Reader { return endless{} })).
		says(t, 1, "", "no echo from 127.0.0.1:")
	for _, network := range []string{"tcp", "udp"} {
		call(t.Context(), "dial", network, refused(t)).says(t, 1, "", "connection refused\n")
	}
	silent, _ := silentUDP(t)
	call(t.Context(), "dial", "-timeout", "20ms", "udp", silent).says(t, 1, "", "i/o timeout\n")
	call(t.Context(), "dial", "-timeout", "-1s", "tcp", silent).says(t, 1, "", "i/o timeout\n")
}

// silentUDP reads and doesn't answer; got is closed when something has come.
func silentUDP(tb testing.TB) (addr string, got chan struct{}) {
	tb.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(tb, err)
	got = make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for first := true; ; first = false {
			if _, _, err := c.ReadFrom(buf); err != nil {
				return
			}
			if first {
				close(got)
			}
		}
	}()
	tb.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c.LocalAddr().String(), got
}

// interrupted ends an applet by a signal once it waits for an answer.
func interrupted(t *testing.T, got <-chan struct{}, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-got
		cancel(caught{syscall.SIGINT})
	}()
	begin := time.Now()
	call(ctx, args...).says(t, 130, "", "")
	if took := time.Since(begin); took > reachTimeout {
		t.Errorf("%s went on for %v", args[0], took)
	}
}

func TestDialIsInterrupted(t *testing.T) {
	silent, got := silentUDP(t)
	interrupted(t, got, "dial", "-timeout", "10s", "udp", silent)
}

func TestDialBetweenHosts(t *testing.T) {
	a, b := netnstest.TwoHosts(t)
	serving(t, b.NS)
	a.Exec("ip", "route", "add", "unreachable", "192.0.2.0/24")
	a.Exec("ip", "-6", "route", "add", "unreachable", "2001:db8::/32")
	families(t, func(t *testing.T, addr func(*netnstest.Host) string) {
		echo := net.JoinHostPort(addr(b), "7")
		for _, network := range []string{"tcp", "udp"} {
			got := in(t, a.NS, "dial", "-text", "over there", network, echo)
			got.says(t, 0, fmt.Sprintf(" -> %s: over there\n", echo), "")
			if from, _, _ := strings.Cut(got.out, " -> "); !strings.Contains(from, addr(a)) {
				t.Errorf("came from %s", from)
			}
			in(t, a.NS, "dial", network, net.JoinHostPort(addr(b), "9")).says(t, 1, "", "connection refused\n")
		}
		// In fragments, there and back.
		in(t, a.NS, "dial", "-text", strings.Repeat("x", 9000), "udp", echo).says(t, 0, strings.Repeat("x", 9000), "")
	})
	for _, to := range []string{"192.0.2.1:7", "[2001:db8::1]:7"} {
		in(t, a.NS, "dial", "tcp", to).says(t, 1, "", "no route to host\n")
	}
	for _, to := range []string{"198.51.100.1:7", "[fd99::1]:7"} {
		in(t, a.NS, "dial", "udp", to).says(t, 1, "", "network is unreachable\n")
	}
}
