package dns_test

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"weft/engine/dns"
	"weft/engine/netnstest"
)

// TestTakesOver is about what an engine that was killed has left: a table that
// leads to sockets which are gone.
func TestTakesOver(t *testing.T) {
	v := &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}}
	ns := sandbox(t)
	netnstest.Exec(t, ns, "nft", `table inet weft-dns {
		chain ask {
			type nat hook output priority -100; policy accept;
			ip daddr 127.0.0.11 udp dport 53 dnat ip to 127.0.0.11:1
			ip daddr 127.0.0.11 tcp dport 53 dnat ip to 127.0.0.11:1
		}
		chain of-another-build { }
	}`)
	stop := resolve(t, ns, v, slog.DiscardHandler)
	for _, network := range []string{"udp", "tcp"} {
		if got := data(ask(t, ns, network, question("box.", mdns.TypeA))); got != "10.20.0.31" {
			t.Errorf("%s: %q", network, got)
		}
	}
	if rules := netnstest.Exec(t, ns, "nft", "list", "ruleset"); strings.Contains(rules, "another-build") {
		t.Errorf("the old table is still there: %s", rules)
	}
	stop()
	if left := netnstest.Exec(t, ns, "nft", "list", "ruleset"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestStartFails wants nothing left of a resolver that can't be.
func TestStartFails(t *testing.T) {
	netnstest.Require(t)
	ns, _ := netnstest.Sandbox(t) // its loopback device is down, which does no harm
	resolve(t, ns, &view{}, slog.DiscardHandler)()
	before := netnstest.Exec(t, ns, "ss", "-Hlntu")
	if before != "" {
		t.Errorf("left behind: %s", before)
	}
}

// TestConnection asks often over one connection, also before the answers came.
func TestConnection(t *testing.T) {
	ns := start(t, &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}, upstreams: []dns.Upstream{upstream(t, many)}})
	conn := &mdns.Conn{Conn: dial(t, ns, "tcp")}
	defer conn.Close()
	for i := range 100 {
		q := question([]string{"db.", "example.com."}[i%2], mdns.TypeA)
		q.Id = uint16(i)
		if err := conn.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[uint16]bool{}
	for range 100 {
		resp, err := conn.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		seen[resp.Id] = len(resp.Answer) == 2-int(resp.Id%2)
	}
	for i := range uint16(100) {
		if !seen[i] {
			t.Errorf("question %d", i)
		}
	}
}

// TestManyConnections opens more than are served at a time: the others wait.
func TestManyConnections(t *testing.T) {
	ns := start(t, &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}})
	const most, more = 256, 20
	var conns []net.Conn
	for range most + more {
		conns = append(conns, dial(t, ns, "tcp"))
	}
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			defer c.Close() // makes room for the next
			if resp := exchange(t, c, question("box.", mdns.TypeA)); resp == nil || len(resp.Answer) != 1 {
				t.Errorf("connection %d: %v", i, resp)
			}
		})
	}
	wg.Wait()
}

// TestEDNS wants an OPT record in answers of ours for those who sent one.
func TestEDNS(t *testing.T) {
	ns := start(t, &view{zones: []*dns.Zone{dns.NewZone(overlay(), crowd(60, 60))}})
	resp := ask(t, ns, "udp", question("svc0.", mdns.TypeA))
	resp.Compress = true
	if resp.IsEdns0() != nil || !resp.Truncated || resp.Len() > 512 || len(resp.Answer) < 28 {
		t.Errorf("without: %d bytes, %d answers, truncated: %t", resp.Len(), len(resp.Answer), resp.Truncated)
	}
	for size, want := range map[uint16]int{0: 28, 100: 28, 512: 28, 700: 40, 1232: 60} {
		q := question("svc0.", mdns.TypeA)
		q.SetEdns0(size, true)
		resp = ask(t, ns, "udp", q)
		resp.Compress = true
		opt := resp.IsEdns0()
		if opt == nil || !opt.Do() || len(resp.Answer) < want || resp.Truncated != (len(resp.Answer) < 60) || resp.Len() > max(int(size), 512) {
			t.Errorf("size %d: %d bytes, %d answers, truncated: %t, %v", size, resp.Len(), len(resp.Answer), resp.Truncated, opt)
		}
		if !resp.Response || !resp.RecursionAvailable || resp.Answer[0].Header().Ttl != 600 {
			t.Errorf("%v", resp.MsgHdr)
		}
	}
}

// TestMoreThanFits is about services whose addresses no message holds.
func TestMoreThanFits(t *testing.T) {
	ns := start(t, &view{zones: []*dns.Zone{dns.NewZone(overlay(), crowd(5000, 5000))}})
	for kind, least := range map[uint16]int{mdns.TypeA: 4000, mdns.TypeAAAA: 2300} {
		if resp := ask(t, ns, "tcp", question("svc0.", kind)); !resp.Truncated || len(resp.Answer) < least {
			t.Errorf("%s: %d answers, truncated: %t", mdns.TypeToString[kind], len(resp.Answer), resp.Truncated)
		}
	}
}

// TestZonesChange has the records change while questions are asked.
func TestZonesChange(t *testing.T) {
	v := &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}}
	ns := start(t, v)
	conn := dial(t, ns, "udp")
	defer conn.Close()
	for i := range 20 {
		a := fmt.Sprintf("10.20.3.%d", i)
		list := records()
		list[5].Addr = addr(a)
		v.set([]*dns.Zone{dns.NewZone(overlay(), list)})
		begin := time.Now()
		if resp := exchange(t, conn, question("box.", mdns.TypeA)); resp == nil || data(resp) != a {
			t.Fatalf("%v, want %s", resp, a)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
}
