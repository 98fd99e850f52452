package dns_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"weft/engine/dns"
)

// deaf is a server that takes questions and says nothing; asked gets one
// element for each question, as long as it has room.
func deaf(tb testing.TB) (u dns.Upstream, asked chan struct{}, let func()) {
	tb.Helper()
	asked, open := make(chan struct{}, 5000), make(chan struct{})
	let = sync.OnceFunc(func() { close(open) })
	u = upstream(tb, func(w mdns.ResponseWriter, q *mdns.Msg) {
		asked <- struct{}{}
		<-open
		_ = w.WriteMsg(txts(q))
	})
	tb.Cleanup(let)
	return u, asked, let
}

// TestSilentServer is about a first server that does not answer.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	silent, _, _ := deaf(t)
	v := &view{upstreams: []dns.Upstream{silent, upstream(t, many)}}
	ns := start(t, v)
	begin := time.Now()
	if got := data(ask(t, ns, "udp", question("example.com.", mdns.TypeA))); got != "192.0.2.1" {
		t.Errorf("the second server's answer: %q", got)
	}
	if took := time.Since(begin); took < 3*time.Second || took > 8*time.Second {
		t.Errorf("the second was asked after %v, Docker's are 4 s", took)
	}
}

// TestOnlyThreeServers is about the fourth, which Docker does not ask.
func TestOnlyThreeServers(t *testing.T) {
	no := upstream(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		_ = w.WriteMsg(new(mdns.Msg).SetRcode(q, mdns.RcodeServerFailure))
	})
	ns := start(t, &view{upstreams: []dns.Upstream{no, no, no, upstream(t, many)}})
	if resp := ask(t, ns, "udp", question("example.com.", mdns.TypeA)); resp.Rcode != mdns.RcodeServerFailure {
		t.Errorf("%s", resp)
	}
}

// TestServerInSandbox is about a server that only the container reaches.
func TestServerInSandbox(t *testing.T) {
	v := &view{}
	ns := start(t, v)
	v.set(nil, upstreamIn(t, ns, many))
	for _, network := range []string{"udp", "tcp"} {
		if got := data(ask(t, ns, network, question("example.com.", mdns.TypeA))); got != "192.0.2.1" {
			t.Errorf("%s: %q", network, got)
		}
	}
}

// TestQuestionIsPassedOn wants servers to get what the client said, but under
// an ID of their own, and the client to get what the server said.
func TestQuestionIsPassedOn(t *testing.T) {
	got := make(chan *mdns.Msg, 1)
	ns := start(t, &view{upstreams: []dns.Upstream{upstream(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		got <- q.Copy()
		resp := new(mdns.Msg).SetRcode(q, mdns.RcodeNameError)
		resp.SetEdns0(1234, true)
		resp.AuthenticatedData = true
		resp.Ns = append(resp.Ns, &mdns.SOA{Hdr: mdns.RR_Header{Name: "example.", Rrtype: mdns.TypeSOA, Class: mdns.ClassINET, Ttl: 7}, Ns: "a.", Mbox: "b."})
		_ = w.WriteMsg(resp)
	})}})
	q := question("Nobody.Example.", mdns.TypeHTTPS)
	q.Id, q.CheckingDisabled = 77, true
	q.SetEdns0(1400, true)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &mdns.EDNS0_LOCAL{Code: 65001, Data: []byte("kept")})
	resp := ask(t, ns, "udp", q)
	sent := <-got
	if opt := sent.IsEdns0(); opt == nil || opt.UDPSize() != 1400 || !opt.Do() || len(opt.Option) != 1 || !sent.CheckingDisabled || !sent.RecursionDesired {
		t.Errorf("asked %s", sent)
	}
	if sent.Question[0] != q.Question[0] {
		t.Errorf("asked for %v", sent.Question[0])
	}
	if resp.Id != 77 || resp.Rcode != mdns.RcodeNameError || len(resp.Ns) != 1 || resp.Ns[0].Header().Ttl != 7 || !resp.AuthenticatedData || resp.IsEdns0().UDPSize() != 1234 {
		t.Errorf("answered %s", resp)
	}
}

// TestOversized is about servers that don't know EDNS and send what they have:
// it is cut for clients that can't take it.
func TestOversized(t *testing.T) {
	ns := start(t, &view{upstreams: []dns.Upstream{upstream(t, func(w mdns.ResponseWriter, q *mdns.Msg) { _ = w.WriteMsg(txts(q)) })}})
	short := ask(t, ns, "udp", question("example.com.", mdns.TypeTXT))
	if !short.Truncated || len(short.Answer) == 0 || len(short.Answer) == 30 {
		t.Errorf("%s", short)
	}
	if resp := ask(t, ns, "tcp", question("example.com.", mdns.TypeTXT)); len(resp.Answer) != 30 || resp.Truncated {
		t.Errorf("over TCP: %s", resp)
	}
}

// TestLongCompressed is about an answer that is too long without compression.
func TestLongCompressed(t *testing.T) {
	name := strings.Repeat("long-label-of-a-name.", 10)
	ns := start(t, &view{upstreams: []dns.Upstream{upstream(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		resp := new(mdns.Msg).SetReply(q)
		resp.Compress = true
		for i := range 1000 {
			header := mdns.RR_Header{Name: name, Rrtype: mdns.TypeA, Class: mdns.ClassINET}
			resp.Answer = append(resp.Answer, &mdns.A{Hdr: header, A: net.IPv4(10, 0, byte(i>>8), byte(i))})
		}
		_ = w.WriteMsg(resp)
	})}})
	if resp := ask(t, ns, "tcp", question(name, mdns.TypeA)); len(resp.Answer) != 1000 || resp.Truncated {
		t.Errorf("%d answers, truncated: %t", len(resp.Answer), resp.Truncated)
	}
}

// TestForwardsAreBounded has more questions under way than may be, and wants
// the rest refused at once, names of ours answered, and few words about it.
func TestForwardsAreBounded(t *testing.T) {
	silent, asked, let := deaf(t)
	v := &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}, upstreams: []dns.Upstream{silent}}
	ns := sandbox(t)
	var log bytes.Buffer
	stop := resolve(t, ns, v, slog.NewTextHandler(&log, nil))
	const clients, each, more = 8, 128, 100 // 1,024 may be under way
	var conns []*mdns.Conn
	for range clients + 1 {
		conns = append(conns, &mdns.Conn{Conn: dial(t, ns, "udp"), UDPSize: 4096})
	}
	write := func(c *mdns.Conn, n int) {
		t.Helper()
		for range n {
			if err := c.WriteMsg(question("nobody.", mdns.TypeA)); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(c *mdns.Conn, n, code int) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
		for i := range n {
			resp, err := c.ReadMsg()
			if err != nil || resp.Rcode != code {
				t.Fatalf("answer %d: %v, %v", i, resp, err)
			}
		}
	}
	for _, c := range conns[:clients] {
		write(c, each)
		for range each {
			<-asked
		}
	}
	over := conns[clients]
	write(over, more)
	read(over, more, mdns.RcodeServerFailure)
	if got := data(ask(t, ns, "udp", question("box.", mdns.TypeA))); got != "10.20.0.31" {
		t.Errorf("a name of ours meanwhile: %q", got)
	}
	let()
	for _, c := range conns[:clients] {
		read(c, each, mdns.RcodeSuccess)
	}
	write(over, 1)
	read(over, 1, mdns.RcodeSuccess)
	for _, c := range conns {
		_ = c.Close()
	}
	stop()
	if n := strings.Count(log.String(), "too much"); n < 1 || n > 3 {
		t.Errorf("%d lines about it", n)
	}
}

// TestNdots is Docker's rule for names without a dot where somebody wants
// search domains appended to them.
func TestNdots(t *testing.T) {
	v := &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}, upstreams: []dns.Upstream{upstream(t, many)}, ndots: true}
	ns := start(t, v)
	for name, want := range map[string]string{"nobody.": "", "nobody.example.": "192.0.2.1", "box.": "10.20.0.31"} {
		if resp := ask(t, ns, "udp", question(name, mdns.TypeA)); data(resp) != want || resp.Rcode != mdns.RcodeSuccess {
			t.Errorf("%s: %s", name, resp)
		}
	}
	if resp := ask(t, ns, "udp", question("nobody.", mdns.TypeTXT)); len(resp.Answer)+len(resp.Extra) == 0 && !resp.Truncated {
		t.Errorf("other records are asked for elsewhere: %s", resp)
	}
}

// TestGarbageFromServer is about servers that a container chose.
func TestGarbageFromServer(t *testing.T) {
	for _, garbage := range []string{"x", strings.Repeat("\xff", 600), strings.Repeat("\xc0\x0c", 300)} {
		var lc net.ListenConfig
		pc, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			buf := make([]byte, 600)
			for {
				n, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = pc.WriteTo(append(buf[:min(2, n):2], garbage...), from)
			}
		}()
		bad := dns.Upstream{Addr: netip.MustParseAddrPort(pc.LocalAddr().String()), Dial: new(net.Dialer).DialContext}
		ns := start(t, &view{upstreams: []dns.Upstream{bad, upstream(t, many)}})
		if got := data(ask(t, ns, "udp", question("example.com.", mdns.TypeA))); got != "192.0.2.1" {
			t.Errorf("%.10q: %q", garbage, got)
		}
		_ = pc.Close()
		<-ended
	}
}

// TestAnswersToOthers is about servers that answer what was not asked: nobody
// gets that.
func TestAnswersToOthers(t *testing.T) {
	for name, change := range map[string]func(*mdns.Msg){
		"another name":  func(m *mdns.Msg) { m.Question[0].Name = "evil.example." },
		"another type":  func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeTXT },
		"no question":   func(m *mdns.Msg) { m.Question = nil },
		"a question":    func(m *mdns.Msg) { m.Response = false },
		"another class": func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS },
		"a notice":      func(m *mdns.Msg) { m.Opcode = mdns.OpcodeNotify },
	} {
		wrong := upstream(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
			resp := txts(q)
			resp.Answer[0].(*mdns.A).A = net.IPv4(192, 0, 2, 66)
			change(resp)
			_ = w.WriteMsg(resp)
		})
		ns := start(t, &view{upstreams: []dns.Upstream{wrong, upstream(t, many)}})
		if got := data(ask(t, ns, "udp", question("example.com.", mdns.TypeA))); got != "192.0.2.1" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestCloseDoesNotWait is about what is under way when a container ends.
func TestCloseDoesNotWait(t *testing.T) {
	silent, asked, _ := deaf(t)
	never := dns.Upstream{Addr: netip.MustParseAddrPort("192.0.2.1:53"), Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for name, u := range map[string]dns.Upstream{"a silent server": silent, "a server out of reach": never} {
		t.Run(name, func(t *testing.T) {
			v := &view{zones: []*dns.Zone{dns.NewZone(overlay(), crowd(5000, 5000))}, upstreams: []dns.Upstream{u}}
			ns := sandbox(t)
			stop := resolve(t, ns, v, slog.DiscardHandler)
			udp, idle, stalled := dial(t, ns, "udp"), dial(t, ns, "tcp"), dial(t, ns, "tcp")
			defer udp.Close()
			defer idle.Close()
			defer stalled.Close()
			q := question("example.com.", mdns.TypeA)
			if err := (&mdns.Conn{Conn: udp}).WriteMsg(q); err != nil {
				t.Fatal(err)
			}
			<-asked
			// A client that asks and asks, and reads nothing, has the server
			// stuck in writing.
			_ = stalled.SetWriteDeadline(time.Now().Add(time.Second))
			for c := (&mdns.Conn{Conn: stalled}); c.WriteMsg(question("svc0.", mdns.TypeA)) == nil; {
			}
			begin := time.Now()
			stop()
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
