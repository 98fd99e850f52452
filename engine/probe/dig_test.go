package probe

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"weft/engine/netnstest"
)

// nameServer answers on loopback, UDP and TCP on one port.
func nameServer(t *testing.T, h dns.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	pc, err := net.ListenPacket("udp", l.Addr().String())
	must(t, err)
	for _, s := range []*dns.Server{{Listener: l, Handler: h}, {PacketConn: pc, Handler: h}} {
		up, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() {
			defer close(done)
			_ = s.ActivateAndServe()
		}()
		<-up
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return l.Addr().String()
}

// records are the resource records in lines of a zone file.
func records(t *testing.T, lines ...string) (rrs []dns.RR) {
	t.Helper()
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		must(t, err)
		rrs = append(rrs, rr)
	}
	return rrs
}

func TestQuestion(t *testing.T) {
	for args, want := range map[string]question{
		"web":                     {"", "web.", dns.TypeA},
		"web. aaaa":               {"", "web.", dns.TypeAAAA},
		". NS":                    {"", ".", dns.TypeNS},
		"@10.0.0.1 web":           {"10.0.0.1:53", "web.", dns.TypeA},
		"@10.0.0.1:5353 web SRV":  {"10.0.0.1:5353", "web.", dns.TypeSRV},
		"@fd98::1 web":            {"[fd98::1]:53", "web.", dns.TypeA},
		"@[fd98::1] web":          {"[fd98::1]:53", "web.", dns.TypeA},
		"@[fd98::1]:5353 web":     {"[fd98::1]:5353", "web.", dns.TypeA},
		"@fe80::1%eth0 web ANY":   {"[fe80::1%eth0]:53", "web.", dns.TypeANY},
		"@ns.example tasks.web A": {"ns.example:53", "tasks.web.", dns.TypeA},
	} {
		got, err := parseQuestion(strings.Fields(args))
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", args, got, err)
		}
	}
	for args, want := range map[string]string{
		"@10.0.0.1": "name a name", "web A A": "name a name", "@ web": "name a server after the @", "@:53 web": "name a server after the @",
		"web XYZ": "unknown type XYZ", "web @10.0.0.1": "unknown type @10.0.0.1",
	} {
		if got, err := parseQuestion(strings.Fields(args)); err == nil || err.Error() != want {
			t.Errorf("%s: %+v %v, want %s", args, got, err, want)
		}
	}
}

func TestNameServerOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string]string{
		"nameserver 127.0.0.11\nnameserver 10.0.0.1\n":        "127.0.0.11:53",
		"# none\nsearch example\nnameserver fd98::1\n":        "[fd98::1]:53",
		"options ndots:0\nnameserver fe80::1%eth0 # a zone\n": "[fe80::1%eth0]:53",
	} {
		must(t, os.WriteFile(file, []byte(text), 0o600))
		if got, err := nameServerOf(file); err != nil || got != want {
			t.Errorf("%q: %s %v", text, got, err)
		}
	}
	must(t, os.WriteFile(file, []byte("search example\nnameserver\n"), 0o600))
	if got, err := nameServerOf(file); err == nil || !strings.Contains(err.Error(), file+" names no server: give one as @ADDR") {
		t.Errorf("%s %v", got, err)
	}
	if got, err := nameServerOf(file + "x"); err == nil {
		t.Errorf("no file: %s", got)
	}
}

func TestDig(t *testing.T) {
	server := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		_, overTCP := w.RemoteAddr().(*net.TCPAddr)
		switch q.Question[0].Name {
		case "web.":
			m.Answer = records(t, "web. 600 IN A 10.0.0.2", "web. 600 IN A 10.0.0.3")
		case "odd.":
			m.Answer = records(t, `odd. 1 IN TXT "a\027[31m\010"`)
		case "many.":
			for i := range 100 {
				m.Answer = append(m.Answer, records(t, fmt.Sprintf("many. 600 IN A 10.0.1.%d", i))...)
			}
			if !overTCP {
				m.Truncate(dns.MinMsgSize)
			}
		case "short.": // by a server that doesn't do TCP any better
			m.Truncated = true
		case "none.":
			m.Rcode = dns.RcodeNameError
		case "refused.":
			m.Rcode = dns.RcodeRefused
		case "unknown.":
			m.Rcode = 13
		case "stray.":
			stray := m.Copy()
			stray.Id++
			_ = w.WriteMsg(stray)
			m.Answer = records(t, "stray. 1 IN A 10.0.0.4")
		case "cut.":
			b, _ := m.Pack()
			_, _ = w.Write(b[:15])
			return
		case "tiny.":
			_, _ = w.Write([]byte("x"))
			return
		case "half.": // says that there is more, and has no TCP for it
			if overTCP {
				_ = w.Close()
				return
			}
			m.Truncated = true
		}
		_ = w.WriteMsg(m)
	})
	from := " from " + server + "\n"
	for _, test := range []struct {
		name      string
		code      int
		out, errs string
	}{
		{"web", 0, ";; NOERROR" + from + "web.\t600\tIN\tA\t10.0.0.2\nweb.\t600\tIN\tA\t10.0.0.3\n", ""},
		{"odd", 0, `odd.	1	IN	TXT	"a\027[31m\010"` + "\n", ""},
		{"empty", 0, ";; NOERROR" + from, ""},
		{"short", 0, ";; NOERROR" + from, ""},
		{"none", 1, ";; NXDOMAIN" + from, ""},
		{"refused", 1, ";; REFUSED" + from, ""},
		{"unknown", 1, ";; RCODE13" + from, ""},
		{"stray", 0, "10.0.0.4\n", ""},
		{"cut", 1, "", "probe dig: "},
		{"tiny", 1, "", "probe dig: "},
		{"half", 1, "", "probe dig: ask over TCP: EOF\n"},
		{strings.Repeat("x", 64), 1, "", "probe dig: dns: bad "},
	} {
		t.Run(test.name, func(t *testing.T) {
			call(t.Context(), "dig", "@"+server, test.name).says(t, test.code, test.out, test.errs)
		})
	}
	if got := call(t.Context(), "dig", "@"+server, "many"); got.code != 0 || strings.Count(got.out, "many.\t600\tIN\tA\t10.0.1.") != 100 {
		t.Errorf("a long answer: %+v", got)
	}
	call(t.Context(), "dig", "@"+refused(t), "web").says(t, 1, "", "connection refused\n")
	silent, got := silentUDP(t)
	interrupted(t, got, "dig", "@"+silent, "web")
}

func TestDigTheUnreachable(t *testing.T) {
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
	for _, server := range []string{"198.51.100.1", "fd99::1"} {
		in(t, ns, "dig", "@"+server, "web").says(t, 1, "", "network is unreachable\n")
	}
	for _, server := range []string{"127.0.0.1", "::1"} {
		in(t, ns, "dig", "@"+server, "web").says(t, 1, "", "connection refused\n")
	}
}
