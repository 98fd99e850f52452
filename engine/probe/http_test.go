package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"weft/engine/netnstest"
)

// page serves h on loopback and gives its address.
func page(tb testing.TB, h http.HandlerFunc) string {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// refused gives an address of loopback where nobody listens.
func refused(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	must(tb, l.Close())
	return l.Addr().String()
}

func TestPageOf(t *testing.T) {
	for addr, want := range map[string]string{
		"10.98.0.1":               "http://10.98.0.1/x?y",
		"10.98.0.1:8080":          "http://10.98.0.1:8080/x?y",
		"web":                     "http://web/x?y",
		"tasks.web:80":            "http://tasks.web:80/x?y",
		"fd98::1":                 "http://[fd98::1]/x?y",
		"[fd98::1]":               "http://[fd98::1]/x?y",
		"[fd98::1]:8080":          "http://[fd98::1]:8080/x?y",
		"fe80::1%eth0":            "http://[fe80::1%25eth0]/x?y",
		"[fe80::1%eth0]:8080":     "http://[fe80::1%25eth0]:8080/x?y",
		"::ffff:10.98.0.1":        "http://[::ffff:10.98.0.1]/x?y",
		"[::ffff:10.98.0.1]:8080": "http://[::ffff:10.98.0.1]:8080/x?y",
	} {
		got := pageOf(addr, "/x?y")
		if got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
		if _, err := http.NewRequestWithContext(t.Context(), http.MethodGet, got, http.NoBody); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	requests := make(chan string, 9)
	asked := func() string {
		select {
		case r := <-requests:
			return r
		default:
			return ""
		}
	}
	addr := page(t, func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Method + " " + r.Host + " " + r.RequestURI
		switch r.URL.Path {
		case "/":
			fmt.Fprint(w, "a\n\x00b")
		case "/missing":
			http.Error(w, "not here", http.StatusNotFound)
		case "/elsewhere":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/full":
			fmt.Fprint(w, strings.Repeat("x", pageSize))
		case "/long":
			fmt.Fprint(w, strings.Repeat("x", pageSize+1))
		case "/cut":
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "short")
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		}
	})
	for _, test := range []struct {
		path, asked string
		code        int
		out, errs   string
	}{
		{"", "/", 0, "a\n\x00b", ""},
		{"/", "/", 0, "a\n\x00b", ""},
		{"/?q=a/b&c", "/?q=a/b&c", 0, "a\n\x00b", ""},
		{"/missing", "/missing", 1, "", "/missing answers 404 Not Found\n"},
		{"/none", "/none", 1, "", "/none answers 204 No Content\n"},
		// What answers is what was asked, not what that points at.
		{"/elsewhere", "/elsewhere", 1, "", "/elsewhere answers 302 Found\n"},
		{"/full", "/full", 0, strings.Repeat("x", pageSize), ""},
		{"/long", "/long", 1, "", "/long answers more than 1048576 bytes\n"},
		{"/cut", "/cut", 1, "", "unexpected EOF\n"},
	} {
		t.Run(test.path, func(t *testing.T) {
			got := call(t.Context(), "http", addr+test.path)
			if test.path == "/full" && len(got.out) != pageSize {
				t.Errorf("%d bytes", len(got.out))
			}
			got.says(t, test.code, test.out, test.errs)
			if got, want := asked(), "GET "+addr+" "+test.asked; got != want {
				t.Errorf("asked for %q, want %q", got, want)
			}
		})
	}
	call(t.Context(), "http", "http://"+addr+"/").says(t, 0, "a\n", "")
	if got := asked(); got != "GET "+addr+" /" {
		t.Errorf("asked for %q", got)
	}
	call(t.Context(), "http", refused(t)).says(t, 1, "", "connection refused\n")
	call(t.Context(), "http", "127.0.0.1:x/").says(t, 1, "", `invalid port ":x" after host`)
	call(t.Context(), "http", "").says(t, 1, "", "no Host in request URL")
}

func TestHTTPGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	addr := page(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/interrupted" {
			cancel(caught{syscall.SIGINT})
		}
		<-r.Context().Done()
	})
	call(t.Context(), "http", "-timeout", "30ms", addr).says(t, 1, "", "context deadline exceeded\n")
	call(ctx, "http", "-timeout", "1h", addr+"/interrupted").says(t, 130, "", "")
}

// TestHTTPBetweenHosts sees the addresses both ends have.
func TestHTTPBetweenHosts(t *testing.T) {
	a, b := netnstest.TwoHosts(t)
	serving(t, b.NS)
	serving(t, b.NS, "-http", ":8080", "-echo", ":8")
	families(t, func(t *testing.T, addr func(*netnstest.Host) string) {
		for _, at := range []string{addr(b), net.JoinHostPort(addr(b), "8080")} {
			to, port := at, "80"
			if at != addr(b) {
				port = "8080"
			}
			got := in(t, a.NS, "http", to+"/some/where?q=1")
			var answer Answer
			if err := json.Unmarshal([]byte(got.out), &answer); err != nil {
				t.Fatalf("%+v: %v", got, err)
			}
			client, _, err := net.SplitHostPort(answer.Client)
			if err != nil || client != addr(a) || answer.Server != net.JoinHostPort(addr(b), port) ||
				answer.Method != "GET" || answer.Path != "/some/where" || !strings.Contains(answer.Host, addr(b)) || answer.Hostname == "" {
				t.Errorf("%v: %+v", err, answer)
			}
		}
		if got := in(t, a.NS, "http", addr(b)+"/healthz"); got != (result{0, "ok\n", ""}) {
			t.Errorf("healthz: %+v", got)
		}
		in(t, a.NS, "http", net.JoinHostPort(addr(b), "81")).says(t, 1, "", "connection refused\n")
	})
	in(t, a.NS, "http", "198.51.100.1").says(t, 1, "", "network is unreachable\n")
	in(t, a.NS, "http", "fd99::1").says(t, 1, "", "network is unreachable\n")
	a.Exec("ip", "addr", "add", "fe80::a/64", "dev", "eth0", "nodad")
	b.Exec("ip", "addr", "add", "fe80::1/64", "dev", "eth0", "nodad")
	in(t, a.NS, "http", "fe80::1%eth0/healthz").says(t, 0, "ok\n", "")
}
