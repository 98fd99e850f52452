package probe

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"flag"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/miekg/dns"
)

func FuzzEchoReply(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		f.Add(v6, 7, echoReply(f, v6, 7, 1))
		f.Add(v6, 7, echoReply(f, v6, 7, 1)[:7])
		f.Add(v6, 0xffff, append(echoReply(f, v6, 0xffff, 0xffff), make([]byte, 56)...))
	}
	f.Add(false, 7, []byte{3, 1, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 28})                   // destination unreachable
	f.Add(false, 7, []byte{11, 0, 0, 0, 0, 17, 0, 0, 0x45, 0, 0, 28})                 // time exceeded, with extensions
	f.Add(true, 7, []byte{2, 0, 0, 0, 0, 0, 5, 0xdc, 0x60})                           // packet too big
	f.Add(true, 7, []byte{135, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0x98, 0, 0, 0, 0, 0, 0, 1}) // neighbor solicitation
	f.Fuzz(func(t *testing.T, v6 bool, id int, b []byte) {
		seq, ok := parseReply(v6, id, b)
		kind := byte(0)
		if v6 {
			kind = 129
		}
		want := len(b) >= 8 && b[0] == kind && int(binary.BigEndian.Uint16(b[4:])) == id
		if ok != want {
			t.Errorf("taken: %t", ok)
		}
		if ok && seq != int(binary.BigEndian.Uint16(b[6:])) {
			t.Errorf("reply %d", seq)
		}
	})
}

// serveRaw answers everything on loopback with what text gives, and gives its
// address.
func serveRaw(f *testing.F, text func(net.Conn) []byte) string {
	f.Helper()
	return answering(f, func(c net.Conn) io.Reader { return bytes.NewReader(text(c)) })
}

// FuzzDNSReply has a name server that answers anything over TCP, behind the
// question's ID.
func FuzzDNSReply(f *testing.F) {
	rr, err := dns.NewRR("web. 600 IN A 10.0.0.2")
	must(f, err)
	m := new(dns.Msg).SetQuestion("web.", dns.TypeA)
	m.Response, m.Answer = true, []dns.RR{rr}
	b, err := m.Pack()
	must(f, err)
	f.Add(b[2:])
	f.Add(b[2:20])
	f.Add([]byte{})
	f.Add([]byte("\x84\x0f\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04")) // a name that points at itself
	f.Add([]byte("\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x03\x02\x1b\x0a"))         // controls in a text
	f.Add([]byte("00\x00\x00000000\x00\x00)000000\x00\x00"))                                                                  // options, which have several lines
	f.Add([]byte("\x84\x00\x00\x00\xff\xff\x00\x00\x00\x00"))
	var reply atomic.Pointer[[]byte]
	server := serveRaw(f, func(c net.Conn) []byte {
		head := make([]byte, 4) // length and ID
		_, _ = io.ReadFull(c, head)
		_, _ = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(head))-2)
		b := *reply.Load()
		return append(append(binary.BigEndian.AppendUint16(nil, uint16(len(b)+2)), head[2:]...), b...)
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 1<<16-3)]
		reply.Store(&b)
		in, err := exchange(t.Context(), "tcp", question{server, "web.", dns.TypeA})
		if err != nil {
			return
		}
		var out strings.Builder
		writeReply(&out, in, server)
		lines(t, out.String(), 1+len(in.Answer))
	})
}

// lines fails the test unless text is n lines that leave a terminal alone.
func lines(t *testing.T, text string, n int) {
	t.Helper()
	if got := strings.Count(text, "\n"); got != n || !strings.HasSuffix(text, "\n") {
		t.Errorf("%d lines, not %d: %q", got, n, text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }); i >= 0 {
		t.Errorf("a control at %d: %q", i, text)
	}
}

// FuzzHTTPAnswer has a peer that answers anything.
func FuzzHTTPAnswer(f *testing.F) {
	for _, s := range []string{
		"", "\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[]", "HTTP/1.0 200 OK\r\n\r\n[]",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[]\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
		"HTTP/1.1 302 \x1b[2J\r\nLocation: /\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n" + `[{"addr":"fd98::1","ok":true,"ms":1}]`, "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200\x1b OK\r\nA:\x1b\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	var answer atomic.Pointer[[]byte]
	server := serveRaw(f, func(c net.Conn) []byte {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		return *answer.Load()
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		answer.Store(&b)
		for _, r := range reachAll(t.Context(), []string{server}, patience) {
			if r.Addr != server || r.OK != (r.Error == "") {
				t.Errorf("%+v", r)
			}
			lines(t, r.Error+"\n", 1)
		}
		others := []string{"fd98::1"}
		got := ask(t.Context(), server, others, patience)
		var out strings.Builder
		must(t, writeMatrix(&out, others, []row{{"this one", got}, {server, got}}))
		failed := 2 - worked([]row{{Paths: got}, {Paths: got}})
		lines(t, out.String(), 4+failed)
	})
}

func FuzzPaths(f *testing.F) {
	for _, s := range []string{
		`[{"addr":"a","ok":true,"ms":1.5},{"addr":"b","error":"\u001b[2J\n"}]`, "null", "[null,null]", "[]", "{}", `[{"addr":"a","ms":1e308},{"addr":"b","ms":-1}]`,
		`[{"addr":"a","ms":1e309},{"addr":"b"}]`, `[{"ADDR":"a"},{"addr":"b","addr":"a"}]`, strings.Repeat("[", 20000), "[{\"addr\":\"a\"},{\"addr\":\"b\",\"error\":\"\xff\"}]",
	} {
		f.Add([]byte(s))
	}
	others := []string{"a", "b"}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parsePaths(b, others)
		if err != nil {
			lines(t, err.Error()+"\n", 1)
			return
		}
		var out strings.Builder
		must(t, writeMatrix(&out, others, []row{{"x", got}}))
		lines(t, out.String(), 3+2-worked([]row{{"x", got}}))
	})
}

func FuzzPageOf(f *testing.F) {
	for _, s := range []string{
		"10.98.0.1", "fd98::1", "[fd98::1]:80", "fe80::1%eth0", "[fe80::1%eth0]:80", "::ffff:1.2.3.4%x", "", "a b", "a/b", "a?b", "a#b", "u:p@a", "%", "[", "a\x00b", "ä", "1:2:3",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		page := pageOf(addr, "/reach?to=x")
		u, err := url.Parse(page)
		if err != nil {
			return
		}
		if u.Scheme != "http" || u.Path != "/reach" || u.RawQuery != "to=x" || u.Fragment != "" || u.User != nil {
			t.Errorf("%s became %+v", page, u)
		}
	})
}

// FuzzArguments reads the arguments of the applets that read some, without
// what they would do next.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{
		"-c 3 -i 0.1 -W 5 -s 56 -M do 10.98.0.1", "-i NaN a", "-i -0 a", "-i 0x1p-30 a", "-W 1e300 a", "-s 99999999999999999999 a", "-- -x", "--help", "-c", "-c=-1 a",
		"@10.0.0.1 web AAAA", "@fd98::1 web", "@[ web", "@ web", "@0]0 web", "@:53 web", "@a:b:c web", "web", ". none", `\ web`, "1h", "30", "1d", "1d12h", "infinity", "-1", "1e9d", "9223372036s", "..", "\x00 \xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		fs := flag.NewFlagSet("ping", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		if name, o, err := parsePing(fs, args); err == nil {
			if o.interval < time.Millisecond || o.wait < time.Millisecond || o.count < 0 || o.size < 0 || o.size > 65000 {
				t.Errorf("ping %s: %+v", name, o)
			}
		}
		if len(args) > 0 {
			if q, err := parseQuestion(args); err == nil && q.server != "" {
				if host, port, err := net.SplitHostPort(q.server); err != nil || host == "" {
					t.Errorf("dig %q: %q %q %v", args, host, port, err)
				}
			}
			if d, ok := sleepTime(args[0]); ok && d < 0 {
				t.Errorf("sleep %s: %v", args[0], d)
			}
		}
	})
}
