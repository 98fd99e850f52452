package dns_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"weft/engine/dns"
)

// TestRate asks 5,000 questions a second, half of them about names of others,
// and wants every one answered, the first time. A client with 50 questions
// open waits, as resolvers do: on a machine that is slow or busy the rate is
// less then, but nothing is lost.
func TestRate(t *testing.T) {
	v := &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}, upstreams: []dns.Upstream{upstream(t, many)}}
	ns := start(t, v)
	const clients, each, perTick, tick, window = 20, 500, 10, 40 * time.Millisecond, 50
	var wg sync.WaitGroup
	begin := time.Now()
	for range clients {
		conn := &mdns.Conn{Conn: dial(t, ns, "udp"), UDPSize: 4096}
		open := make(chan struct{}, window)
		wg.Go(func() { // writes
			ticker := time.NewTicker(tick)
			defer ticker.Stop()
			for i := range each {
				if i%perTick == 0 {
					<-ticker.C
				}
				q := question("db.", mdns.TypeA)
				if i%2 == 1 {
					q = question(fmt.Sprintf("unknown%d.", i), mdns.TypeMX)
				}
				open <- struct{}{}
				if err := conn.WriteMsg(q); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() { // reads
			defer conn.Close()
			for i := range each {
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				resp, err := conn.ReadMsg()
				<-open
				if err != nil {
					t.Errorf("answer %d: %v", i, err)
					continue
				}
				if known := resp.Question[0].Qtype == mdns.TypeA; known != (resp.Rcode == mdns.RcodeSuccess) {
					t.Errorf("%s", resp)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d questions in %v", clients*each, time.Since(begin))
}

// TestBurst puts more questions at once than a socket holds by default.
func TestBurst(t *testing.T) {
	v := &view{zones: []*dns.Zone{dns.NewZone(overlay(), records())}}
	ns := start(t, v)
	const clients, each = 50, 20
	var conns []*mdns.Conn
	for range clients {
		conns = append(conns, &mdns.Conn{Conn: dial(t, ns, "udp"), UDPSize: 4096})
	}
	for range each {
		for _, c := range conns {
			if err := c.WriteMsg(question("db.", mdns.TypeA)); err != nil {
				t.Fatal(err)
			}
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, c := range conns {
		_ = c.SetReadDeadline(deadline)
		for i := range each {
			if _, err := c.ReadMsg(); err != nil {
				t.Errorf("answer %d: %v", i, err)
				break
			}
		}
		_ = c.Close()
	}
}
