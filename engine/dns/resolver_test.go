package dns_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"weft/engine/dns"
	"weft/engine/kernel"
	"weft/engine/model"
)

func TestNames(t *testing.T) {
	local := model.Network{ID: "l", Name: "lan", Scope: model.ScopeLocal}
	v := &view{zones: []*dns.Zone{
		dns.NewZone(overlay(), records()),
		dns.NewZone(local, []model.Record{
			{Name: "box", Addr: addr("172.18.0.2"), AddrV6: addr("fd01::2")}, {Name: "only-here", Addr: addr("172.18.0.3")},
		}),
	}}
	ns := start(t, v)
	for _, tt := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.", mdns.TypeA, "10.20.0.100"},
		{"WEB.", mdns.TypeA, "10.20.0.100"},
		{"www.", mdns.TypeA, "10.20.0.100"},
		{"web.", mdns.TypeAAAA, "fd00:20::a14:64"},
		{"tasks.web.", mdns.TypeA, "10.20.0.11 10.20.0.12"},
		{"tasks.www.", mdns.TypeA, "10.20.0.11 10.20.0.12"},
		{"web.1.x.", mdns.TypeA, "10.20.0.11"},
		{"web.1.x.my-net.", mdns.TypeA, "10.20.0.11"},
		{"aaaa.", mdns.TypeA, "10.20.0.11"},
		{"db.", mdns.TypeA, "10.20.0.21 10.20.0.22"},
		{"db.my-net.", mdns.TypeA, "10.20.0.21 10.20.0.22"},
		{"box.", mdns.TypeA, "10.20.0.31"},
		{"box.lan.", mdns.TypeA, "172.18.0.2"},
		{"box.lan.", mdns.TypeAAAA, "fd01::2"},
		{"alias.", mdns.TypeA, "10.20.0.31"},
		{"only-here.", mdns.TypeA, "172.18.0.3"},
		{"only-here.", mdns.TypeAAAA, ""},
		{"only-here.", mdns.TypeMX, ""},
		{"31.0.20.10.in-addr.arpa.", mdns.TypePTR, "Box.my-net."},
		{"2.0.18.172.in-addr.arpa.", mdns.TypePTR, "box.lan."},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa.", mdns.TypePTR, "box.lan."},
	} {
		for _, network := range []string{"udp", "tcp"} {
			resp := ask(t, ns, network, question(tt.name, tt.kind))
			if got := data(resp); got != tt.want || resp.Rcode != mdns.RcodeSuccess {
				t.Errorf("%s %s %s: %q, %s; want %q", network, mdns.TypeToString[tt.kind], tt.name, got, mdns.RcodeToString[resp.Rcode], tt.want)
			}
		}
	}
	// Nobody to forward to: an internal network.
	for _, q := range []*mdns.Msg{
		question("web.3.z.", mdns.TypeA), question("nobody.", mdns.TypeA), question("web.lan.", mdns.TypeA),
		question("100.0.20.10.in-addr.arpa.", mdns.TypePTR), question("web.", mdns.TypeTXT), question("_http._tcp.web.", mdns.TypeSRV),
	} {
		if resp := ask(t, ns, "udp", q); resp.Rcode != mdns.RcodeServerFailure || len(resp.Answer) > 0 {
			t.Errorf("%s: %s", q.Question[0].String(), resp)
		}
	}
	v.set(nil)
	if resp := ask(t, ns, "udp", question("web.", mdns.TypeA)); resp.Rcode != mdns.RcodeServerFailure {
		t.Errorf("after it left its networks: %s", resp)
	}
}

// TestUnsettled asks while the other nodes have not been heard.
func TestUnsettled(t *testing.T) {
	v := &view{settled: make(chan struct{})}
	ns := start(t, v)
	if resp := ask(t, ns, "udp", question("web.", mdns.TypeA)); resp.Rcode != mdns.RcodeServerFailure {
		t.Errorf("nobody is heard: %s", resp)
	}
	conn := dial(t, ns, "udp")
	defer func() { _ = conn.Close() }()
	answered := make(chan string, 1)
	go func() {
		if resp := exchange(t, conn, question("web.", mdns.TypeA)); resp != nil {
			answered <- data(resp)
		}
		close(answered)
	}()
	select {
	case got := <-answered:
		t.Errorf("answered %q before the others were heard", got)
	case <-time.After(500 * time.Millisecond): // an answer would take 1 ms
	}
	v.set([]*dns.Zone{dns.NewZone(overlay(), records())})
	close(v.settled)
	if got := <-answered; got != "10.20.0.100" {
		t.Errorf("answered %q", got)
	}
}

func TestForwarding(t *testing.T) {
	refuses := upstream(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		_ = w.WriteMsg(new(mdns.Msg).SetRcode(q, mdns.RcodeRefused))
	})
	deaf := dns.Upstream{Addr: netip.MustParseAddrPort("192.0.2.1:53"), Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, net.ErrClosed
	}}
	v := &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}, upstreams: []dns.Upstream{refuses, deaf, upstream(t, many)}}
	ns := start(t, v)
	if got := data(ask(t, ns, "udp", question("example.com.", mdns.TypeA))); got != "192.0.2.1" {
		t.Errorf("a name of others: %q", got)
	}
	if resp := ask(t, ns, "udp", question("example.com.", mdns.TypeMX)); resp.Rcode != mdns.RcodeNameError {
		t.Errorf("a name nobody knows: %s", resp)
	}
	short := ask(t, ns, "udp", question("example.com.", mdns.TypeTXT))
	if !short.Truncated {
		t.Errorf("%d bytes, truncated: %t", short.Len(), short.Truncated)
	}
	large := question("example.com.", mdns.TypeTXT)
	large.SetEdns0(4096, false)
	if resp := ask(t, ns, "udp", large); resp.Truncated || len(resp.Answer) != 30 {
		t.Errorf("with EDNS: %s", resp)
	}
	if resp := ask(t, ns, "tcp", question("example.com.", mdns.TypeTXT)); resp.Truncated || len(resp.Answer) != 30 {
		t.Errorf("over TCP: %s", resp)
	}
	v.set(v.Zones(), refuses, deaf)
	if resp := ask(t, ns, "udp", question("example.com.", mdns.TypeA)); resp.Rcode != mdns.RcodeServerFailure {
		t.Errorf("without a server that answers: %s", resp)
	}
	if got := data(ask(t, ns, "udp", question("box.", mdns.TypeA))); got != "10.20.0.31" {
		t.Errorf("a name of ours then: %q", got)
	}
}

func TestLargeAnswers(t *testing.T) {
	var list []model.Record
	a := addr("10.20.1.0")
	for i := range 200 {
		a = a.Next()
		list = append(list, model.Record{EndpointID: fmt.Sprint(i), Name: fmt.Sprintf("big.%d", i), ServiceName: "big", Addr: a})
	}
	ns := start(t, &view{zones: []*dns.Zone{dns.NewZone(overlay(), list)}})
	plain := ask(t, ns, "udp", question("big.", mdns.TypeA))
	if !plain.Truncated {
		t.Errorf("%d bytes, truncated: %t", plain.Len(), plain.Truncated)
	}
	if resp := ask(t, ns, "tcp", question("big.", mdns.TypeA)); len(resp.Answer) != 200 {
		t.Errorf("%d answers over TCP", len(resp.Answer))
	}
	first := map[string]bool{}
	for range 20 {
		first[ask(t, ns, "tcp", question("big.", mdns.TypeA)).Answer[0].String()] = true
	}
	if len(first) < 5 {
		t.Errorf("always the same first addresses: %v", first)
	}
}

// TestPort53StaysFree is about containers that are DNS servers themselves.
func TestPort53StaysFree(t *testing.T) {
	ns := start(t, &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}})
	err := kernel.Do(ns, func() error {
		var lc net.ListenConfig
		udp, err := lc.ListenPacket(t.Context(), "udp", ":53")
		if err != nil {
			return err
		}
		defer func() { _ = udp.Close() }()
		tcp, err := lc.Listen(t.Context(), "tcp", ":53")
		if err != nil {
			return err
		}
		return tcp.Close()
	})
	if err != nil {
		t.Error(err)
	}
}

func TestBadQuestions(t *testing.T) {
	ns := start(t, &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}})
	notify := question("web.", mdns.TypeA)
	notify.Opcode = mdns.OpcodeUpdate
	if resp := ask(t, ns, "udp", notify); resp.Rcode != mdns.RcodeNotImplemented {
		t.Errorf("an update: %s", resp)
	}
	chaos := question("version.bind.", mdns.TypeTXT)
	chaos.Question[0].Qclass = mdns.ClassCHAOS
	if resp := ask(t, ns, "udp", chaos); resp.Rcode != mdns.RcodeServerFailure {
		t.Errorf("another class: %s", resp)
	}
	err := kernel.Do(ns, func() error {
		c, err := new(net.Dialer).DialContext(t.Context(), "udp", "127.0.0.11:53")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		for _, garbage := range []string{"", "x", strings.Repeat("\xff", 512), strings.Repeat("\x00", 12), strings.Repeat("\xc0\x0c", 300)} {
			if _, err := c.Write([]byte(garbage)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := data(ask(t, ns, "udp", question("web.", mdns.TypeA))); got != "10.20.0.100" {
		t.Errorf("after garbage: %q", got)
	}
}
