package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/netnstest"
)

func TestPages(t *testing.T) {
	other := page(t, func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct {
		method, path string
		want         string
	}{
		{"GET", "/healthz", "ok\n"},
		{"GET", "/reach", "[]\n"},
		{"GET", "/reach?to=", "[]\n"},
		{"GET", "/reach?to=" + other, `[{"addr":"` + other + `","ok":true,"ms":`},
		{"GET", "/reach?to=" + refused(t) + "," + other, `"error":"Get \"http://127.0.0.1:`},
		{"GET", "/reach?to=%00,a%2fb", `[{"addr":"\u0000","ok":false,"ms":`},
		{"POST", "/a/b%20c?d", `,"method":"POST","host":"web","path":"/a/b c"}` + "\n"},
		{"DELETE", "/", `"client":"192.0.2.1:1234","server":"","method":"DELETE"`},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), test.method, test.path, http.NoBody)
		r.Host = "web"
		handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s %s: %d %s", test.method, test.path, w.Code, w.Body)
		}
		if kind := w.Header().Get("Content-Type"); test.path != "/healthz" && (kind != "application/json" || !json.Valid(w.Body.Bytes())) {
			t.Errorf("%s %s: %s %q", test.method, test.path, kind, w.Body)
		}
	}
}

// local runs `probe serve` in this process on loopback and gives its
// addresses. end ends it and gives what it left.
func local(t *testing.T) (page, echo string, end func() result) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	out, w := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve", "-http", "127.0.0.1:0", "-echo", "127.0.0.1:0"}, streams{nil, w, &errs})
		_ = w.Close()
	}()
	if _, err := fmt.Fscanf(out, "probe: HTTP on %s echo on tcp and udp %s\n", &page, &echo); err != nil {
		cancel(nil)
		t.Fatalf("serve: %v: %s", err, &errs)
	}
	return strings.TrimSuffix(page, ","), echo, func() result {
		cancel(caught{syscall.SIGTERM})
		select {
		case c := <-code:
			return result{code: c, err: errs.String()}
		case <-time.After(patience):
			return result{err: "serve goes on"}
		}
	}
}

// TestServeEnds closes what it opened, connections included.
func TestServeEnds(t *testing.T) {
	page, echo, end := local(t)
	call(t.Context(), "http", page+"/healthz").says(t, 0, "ok\n", "")
	open, err := net.Dial("tcp", echo)
	must(t, err)
	defer open.Close()
	_, err = open.Write([]byte("x"))
	must(t, err)
	_, err = io.ReadFull(open, make([]byte, 1))
	must(t, err)
	if got := end(); got != (result{}) {
		t.Errorf("%+v", got)
	}
	must(t, open.SetReadDeadline(time.Now().Add(patience)))
	if _, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an echo connection stays: %v", err)
	}
	for network, addr := range map[string]string{"tcp": echo, "udp": echo, "http": page} {
		if network == "http" {
			call(t.Context(), "http", addr).says(t, 1, "", "connection refused\n")
			continue
		}
		call(t.Context(), "dial", network, addr).says(t, 1, "", "connection refused\n")
	}
}

// TestServeNeedsItsPorts: each of the three may be taken, and leaves nothing
// of the others open.
func TestServeNeedsItsPorts(t *testing.T) {
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
	first := start(t, ns, "serve")
	first.await("probe: HTTP on [::]:80, echo on tcp and udp [::]:7\n")
	in(t, ns, "serve").says(t, 1, "", "listen tcp :80: bind: address already in use\n")
	in(t, ns, "serve", "-http", ":81").says(t, 1, "", "listen tcp :7: bind: address already in use\n")
	in(t, ns, "serve", "-http", "198.51.100.1:81").says(t, 1, "", "cannot assign requested address\n")
	in(t, ns, "serve", "-http", "x").says(t, 1, "", "missing port in address\n")
	first.signal(syscall.SIGTERM).says(t, 0, "", "")
	var udp net.PacketConn
	must(t, kernel.Do(ns, func() (err error) {
		udp, err = net.ListenPacket("udp", ":7")
		return err
	}))
	defer udp.Close()
	in(t, ns, "serve").says(t, 1, "", ":7: bind: address already in use\n")
}

// TestServeLetsGo of what it has when it doesn't get the rest.
func TestServeLetsGo(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer udp.Close()
	for _, taken := range []net.Addr{tcp.Addr(), udp.LocalAddr()} {
		free := refused(t)
		call(t.Context(), "serve", "-http", free, "-echo", taken.String()).says(t, 1, "", "address already in use\n")
		call(t.Context(), "http", free).says(t, 1, "", "connection refused\n")
	}
	call(t.Context(), "dial", "tcp", udp.LocalAddr().String()).says(t, 1, "", "connection refused\n")
}

// TestServeWithoutIPv6 is a host that has it switched off.
func TestServeWithoutIPv6(t *testing.T) {
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "sh", "-ec", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up")
	serving(t, ns)
	in(t, ns, "http", "127.0.0.1/healthz").says(t, 0, "ok\n", "")
	in(t, ns, "dial", "udp", "127.0.0.1:7").says(t, 0, "hello\n", "")
	in(t, ns, "ping", "-c", "1", "127.0.0.1").says(t, 0, " 0% packet loss", "")
}
