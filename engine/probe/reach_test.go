package probe

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"weft/engine/netnstest"
)

func TestReach(t *testing.T) {
	good := page(t, func(http.ResponseWriter, *http.Request) {})
	bad := page(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	elsewhere := page(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+good+"/", http.StatusFound)
	})
	closed := refused(t)
	ok := func(addr string) string { return regexp.QuoteMeta(addr) + ` ok \d+\.\d ms\n` }
	fails := func(addr, why string) string { return regexp.QuoteMeta(addr) + ` FAIL .*` + why + `\n` }
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"one":               {[]string{good}, 0, ok(good)},
		"the same twice":    {[]string{good, good}, 0, ok(good) + ok(good)},
		"some, in order":    {[]string{closed, good, bad, good}, 1, fails(closed, "connection refused") + ok(good) + fails(bad, "answers 503 Service Unavailable") + ok(good)},
		"the last one":      {[]string{good, closed}, 1, ok(good) + fails(closed, "connection refused")},
		"none":              {[]string{closed, bad}, 1, fails(closed, "connection refused") + fails(bad, "503 Service Unavailable")},
		"what isn't one":    {[]string{"", "a/b", "127.0.0.1:99999"}, 1, fails("", "no Host in request URL") + fails("a/b", "invalid URL escape.*") + fails("127.0.0.1:99999", "invalid port")},
		"pointed elsewhere": {[]string{elsewhere}, 1, fails(elsewhere, "answers 302 Found")},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t.Context(), append([]string{"reach"}, test.args...)...)
			if got.code != test.code || got.err != "" || !regexp.MustCompile("^"+test.want+"$").MatchString(got.out) {
				t.Errorf("exit %d, want %d; %s\n%s\nwant %s", got.code, test.code, got.err, got.out, test.want)
			}
		})
	}
}

func TestReachGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := make(chan struct{}, 2)
	silent := page(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	call(t.Context(), "reach", "-timeout", "20ms", silent, silent).says(t, 1, silent+" FAIL ", "")
	call(t.Context(), "reach", "-timeout", "0s", silent).says(t, 1, "context deadline exceeded\n", "")
	for len(asked) > 0 { // what the first had time for
		<-asked
	}
	go func() {
		<-asked
		cancel(caught{syscall.SIGINT})
	}()
	call(ctx, "reach", "-timeout", "1h", silent).says(t, 130, "interrupt\n", "")
}

func TestReachBetweenHosts(t *testing.T) {
	hosts := netnstest.Hosts(t, 3, 0)
	a, b, idle := hosts[0], hosts[1], hosts[2]
	serving(t, b.NS)
	a.Exec("ip", "route", "add", "unreachable", "192.0.2.0/24")
	a.Exec("ip", "-6", "route", "add", "unreachable", "2001:db8::/32")
	families(t, func(t *testing.T, addr func(*netnstest.Host) string) {
		in(t, a.NS, "reach", addr(b)).says(t, 0, addr(b)+" ok ", "")
		unreachable := "192.0.2.1"
		if strings.Contains(addr(b), ":") {
			unreachable = "2001:db8::1"
		}
		got := in(t, a.NS, "reach", addr(idle), addr(b), unreachable)
		lines := strings.SplitAfter(got.out, "\n")
		if got.code != 1 || len(lines) != 4 ||
			!strings.HasPrefix(lines[0], addr(idle)+" FAIL ") || !strings.HasSuffix(lines[0], "connection refused\n") ||
			!strings.HasPrefix(lines[1], addr(b)+" ok ") ||
			!strings.HasPrefix(lines[2], unreachable+" FAIL ") || !strings.HasSuffix(lines[2], "no route to host\n") {
			t.Errorf("exit %d\n%s%s", got.code, got.out, got.err)
		}
		// Both families at once.
		in(t, a.NS, "reach", b.Addr.String(), b.AddrV6.String()).says(t, 0, b.AddrV6.String()+" ok ", "")
	})
	b.Unplug(true)
	for _, to := range []string{b.Addr.String(), b.AddrV6.String()} {
		in(t, a.NS, "reach", "-timeout", "100ms", to).says(t, 1, to+" FAIL ", "")
	}
}
