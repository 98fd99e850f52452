package dns_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"weft/engine/dns"
	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
	"weft/engine/nft"
)

// view is what a container may know, as the test says.
type view struct {
	mu        sync.Mutex
	zones     []*dns.Zone
	upstreams []dns.Upstream
	ndots     bool
	settled   chan struct{} // nil: all is known
}

func (v *view) Zones() []*dns.Zone {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.zones
}

func (v *view) Upstreams() []dns.Upstream {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.upstreams
}

func (v *view) Ndots() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ndots
}

func (v *view) Settle(ctx context.Context) bool {
	if v.settled == nil {
		return false
	}
	select {
	case <-v.settled:
	case <-ctx.Done():
	}
	return true
}

func (v *view) set(zones []*dns.Zone, upstreams ...dns.Upstream) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.zones, v.upstreams = zones, upstreams
}

func overlay() model.Network {
	return model.Network{ID: "n", Name: "my-net", Scope: model.ScopeSwarm, IPv6: true, Subnets: []model.Subnet{
		{Prefix: netip.MustParsePrefix("10.20.0.0/16")}, {Prefix: netip.MustParsePrefix("fd00:20::/64")},
	}}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// records are two services, one of them with a virtual IP, and a container.
func records() []model.Record {
	return []model.Record{
		{EndpointID: "1", Name: "web.1.x", ServiceName: "web", VIP: addr("10.20.0.100"), Addr: addr("10.20.0.11"), Aliases: []string{"www"}, TaskAliases: []string{"aaaa"}},
		{EndpointID: "2", Name: "web.2.y", ServiceName: "web", VIP: addr("10.20.0.100"), Addr: addr("10.20.0.12"), Aliases: []string{"www"}},
		{EndpointID: "3", Name: "web.3.z", ServiceName: "web", VIP: addr("10.20.0.100"), Addr: addr("10.20.0.13"), Disabled: true},
		{EndpointID: "4", Name: "db.1.v", ServiceName: "db", Addr: addr("10.20.0.21")},
		{EndpointID: "5", Name: "db.2.w", ServiceName: "db", Addr: addr("10.20.0.22")},
		{EndpointID: "6", Name: "Box", Addr: addr("10.20.0.31"), TaskAliases: []string{"alias"}},
	}
}

// start gives a sandbox with a resolver, which has to leave nothing behind.
func start(tb testing.TB, v *view) *kernel.Namespace {
	tb.Helper()
	ns := sandbox(tb)
	stop := resolve(tb, ns, v, slog.DiscardHandler)
	tb.Cleanup(func() {
		stop()
		left := netnstest.Exec(tb, ns, "nft", "list", "ruleset") + netnstest.Exec(tb, ns, "ss", "-Hlntu", "src", "127.0.0.11")
		if left != "" {
			tb.Errorf("left behind: %s", left)
		}
	})
	return ns
}

// sandbox gives a namespace with its loopback device up.
func sandbox(tb testing.TB) *kernel.Namespace {
	tb.Helper()
	netnstest.Require(tb)
	ns, _ := netnstest.Sandbox(tb)
	netnstest.Exec(tb, ns, "ip", "link", "set", "lo", "up")
	return ns
}

// resolve starts a resolver in ns; stop ends it.
func resolve(tb testing.TB, ns *kernel.Namespace, v *view, log slog.Handler) (stop func()) {
	tb.Helper()
	rules, err := nft.Open(ns)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := dns.Start(ns, rules, v, slog.New(log))
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
		if err := rules.Close(); err != nil {
			tb.Error(err)
		}
	}
}

// dial opens a connection to 127.0.0.11:53 in ns.
func dial(tb testing.TB, ns *kernel.Namespace, network string) net.Conn {
	tb.Helper()
	var conn net.Conn
	err := kernel.Do(ns, func() (err error) {
		conn, err = new(net.Dialer).DialContext(tb.Context(), network, "127.0.0.11:53")
		return err
	})
	if err != nil {
		tb.Fatalf("dial the resolver: %v", err)
	}
	return conn
}

// exchange asks over an open connection; nil after an error.
func exchange(tb testing.TB, conn net.Conn, q *mdns.Msg) *mdns.Msg {
	tb.Helper()
	c := &mdns.Client{Net: conn.RemoteAddr().Network(), Timeout: 20 * time.Second}
	resp, _, err := c.ExchangeWithConn(q, &mdns.Conn{Conn: conn, UDPSize: 4096})
	if err != nil {
		tb.Errorf("%s: %v", q.Question[0].String(), err)
		return nil
	}
	return resp
}

// ask puts a question to 127.0.0.11:53 in ns.
func ask(tb testing.TB, ns *kernel.Namespace, network string, q *mdns.Msg) *mdns.Msg {
	tb.Helper()
	conn := dial(tb, ns, network)
	defer func() { _ = conn.Close() }()
	resp := exchange(tb, conn, q)
	if resp == nil {
		tb.FailNow()
	}
	return resp
}

func question(name string, kind uint16) *mdns.Msg { return new(mdns.Msg).SetQuestion(name, kind) }

// data gives the answers of a response, sorted.
func data(m *mdns.Msg) string {
	var out []string
	for _, rr := range m.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// upstream is a server on the test's own loopback device.
func upstream(tb testing.TB, handle mdns.HandlerFunc) dns.Upstream {
	tb.Helper()
	return dns.Upstream{Addr: serve(tb, func(fn func() error) error { return fn() }, handle), Dial: new(net.Dialer).DialContext}
}

// upstreamIn is a server on the loopback device of ns, asked from there.
func upstreamIn(tb testing.TB, ns *kernel.Namespace, handle mdns.HandlerFunc) dns.Upstream {
	tb.Helper()
	inside := func(fn func() error) error { return kernel.Do(ns, fn) }
	return dns.Upstream{
		Addr: serve(tb, inside, handle),
		Dial: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = inside(func() (err error) {
				c, err = new(net.Dialer).DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}
}

// serve answers questions on a port of 127.0.0.1, over UDP and TCP.
func serve(tb testing.TB, within func(func() error) error, handle mdns.HandlerFunc) netip.AddrPort {
	tb.Helper()
	var lc net.ListenConfig
	var tcp net.Listener
	var udp net.PacketConn
	err := within(func() (err error) {
		if tcp, err = lc.Listen(tb.Context(), "tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		udp, err = lc.ListenPacket(tb.Context(), "udp", tcp.Addr().String())
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := udp.(*net.UDPConn).SetReadBuffer(1 << 20); err != nil {
		tb.Fatal(err)
	}
	for _, s := range []*mdns.Server{{Listener: tcp, Handler: handle}, {PacketConn: udp, Handler: handle}} {
		started, ended := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			_ = s.ActivateAndServe() // ends with Shutdown
		}()
		<-started
		tb.Cleanup(func() {
			_ = s.Shutdown()
			<-ended
		})
	}
	return netip.MustParseAddrPort(tcp.Addr().String())
}

// many answers TXT with so many records that only TCP or a large buffer takes
// them, A with one address, and knows nothing else.
func many(w mdns.ResponseWriter, q *mdns.Msg) {
	resp := txts(q)
	if w.LocalAddr().Network() == "udp" {
		size := mdns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		resp.Truncate(size)
	}
	_ = w.WriteMsg(resp)
}

// txts is what many answers, however long.
func txts(q *mdns.Msg) *mdns.Msg {
	resp := new(mdns.Msg).SetReply(q)
	header := mdns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: mdns.ClassINET}
	switch q.Question[0].Qtype {
	case mdns.TypeTXT:
		for i := range 30 {
			resp.Answer = append(resp.Answer, &mdns.TXT{Hdr: header, Txt: []string{fmt.Sprintf("%040d", i)}})
		}
	case mdns.TypeA:
		resp.Answer = append(resp.Answer, &mdns.A{Hdr: header, A: net.IPv4(192, 0, 2, 1)})
	default:
		resp.Rcode = mdns.RcodeNameError
	}
	return resp
}
