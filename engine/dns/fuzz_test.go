package dns

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/semaphore"

	"weft/engine/model"
)

// fakeView knows one network and one server.
type fakeView struct {
	zones  []*Zone
	server Upstream
	ndots  bool
}

func (v *fakeView) Zones() []*Zone        { return v.zones }
func (v *fakeView) Upstreams() []Upstream { return []Upstream{v.server} }
func (v *fakeView) Ndots() bool           { return v.ndots }

func (v *fakeView) Settle(context.Context) bool { return false }

// datagrams is a connection on which one answer waits, to whatever is asked.
type datagrams struct {
	net.Conn // nil
	id       []byte
	reply    []byte
}

func (d *datagrams) Write(p []byte) (int, error) {
	d.id = append(d.id, p[:2]...)
	return len(p), nil
}

func (d *datagrams) Read(p []byte) (int, error) {
	if d.reply == nil {
		return 0, io.EOF
	}
	n := copy(p, d.reply)
	copy(p[:n], d.id) // past the first obstacle
	d.reply = nil
	return n, nil
}

func (d *datagrams) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, io.EOF }
func (d *datagrams) WriteTo([]byte, net.Addr) (int, error)  { return 0, io.EOF }
func (*datagrams) Close() error                             { return nil }
func (*datagrams) SetDeadline(time.Time) error              { return nil }
func (*datagrams) SetReadDeadline(time.Time) error          { return nil }
func (*datagrams) SetWriteDeadline(time.Time) error         { return nil }
func (*datagrams) LocalAddr() net.Addr                      { return &net.UDPAddr{} }

func (*datagrams) RemoteAddr() net.Addr                                     { return &net.UDPAddr{} }
func (d *datagrams) dial(context.Context, string, string) (net.Conn, error) { return d, nil }

// writer takes the answers.
type writer struct {
	dns.ResponseWriter // nil
	local              net.Addr
	written            [][]byte
	failed             int
}

func (w *writer) LocalAddr() net.Addr { return w.local }

func (w *writer) WriteMsg(m *dns.Msg) error {
	out, err := m.Pack()
	if err != nil {
		w.failed++
		return err
	}
	w.written = append(w.written, out)
	return nil
}

// FuzzServe puts any question, with any answer of the server it is forwarded
// to: there is one answer, to this question, no longer than asked for.
func FuzzServe(f *testing.F) {
	pack := func(m *dns.Msg) []byte {
		out, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return out
	}
	for _, name := range []string{"web.", "tasks.web.", "box.lan.", "2.0.18.172.in-addr.arpa.", "a.example.", "nobody."} {
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeMX, dns.TypeSRV, dns.TypeANY} {
			q := new(dns.Msg).SetQuestion(name, kind)
			f.Add(pack(q), pack(new(dns.Msg).SetRcode(q, dns.RcodeNameError)), false)
			q.SetEdns0(1232, true)
			f.Add(pack(q), pack(new(dns.Msg).SetReply(q)), true)
		}
	}
	signed := new(dns.Msg).SetQuestion("web.", dns.TypeA)
	signed.SetTsig("key.", dns.HmacSHA256, 300, 0)
	f.Add(pack(signed), pack(signed), false)
	lan := model.Network{Name: "lan"}
	zones := []*Zone{NewZone(lan, []model.Record{
		{Name: "web.1", ServiceName: "web", Addr: v4("172.18.0.2")},
		{Name: "web.2", ServiceName: "web", Addr: v4("172.18.0.3"), AddrV6: v4("fd01::3")},
		{Name: "box", Addr: v4("172.18.0.4")},
	})}
	f.Fuzz(func(t *testing.T, question, reply []byte, tcp bool) {
		q := new(dns.Msg)
		if q.Unpack(question) != nil {
			return
		}
		var local net.Addr = &net.UDPAddr{}
		if tcp {
			local = &net.TCPAddr{}
		}
		d := &datagrams{reply: reply}
		v := &fakeView{zones: zones, server: Upstream{Addr: netip.MustParseAddrPort("127.0.0.1:53"), Dial: d.dial}, ndots: tcp}
		r := &Resolver{view: v, log: slog.New(slog.DiscardHandler), ctx: t.Context(), forwards: semaphore.NewWeighted(maxForwards)}
		id, size := q.Id, room(local.Network(), q)
		w := &writer{local: local}
		r.serve(w, q)
		if len(w.written) != 1 {
			t.Fatalf("%d answers, %d impossible, to\n%s", len(w.written), w.failed, q)
		}
		resp := new(dns.Msg)
		if err := resp.Unpack(w.written[0]); err != nil {
			t.Fatalf("no message: %v", err)
		}
		if resp.Id != id || !resp.Response {
			t.Fatalf("no answer to\n%s\nis\n%s", q, resp)
		}
		if len(w.written[0]) > size {
			t.Fatalf("%d bytes, %d are taken: %s", len(w.written[0]), size, resp)
		}
	})
}

// FuzzReversed wants what is read from a name to make that name again.
func FuzzReversed(f *testing.F) {
	for _, name := range []string{"4.3.2.1.in-addr.arpa.", "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa.", "x.ip6.arpa", ".in-addr.arpa"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		a, ok := reversed(name)
		if !ok {
			return
		}
		back, err := dns.ReverseAddr(a.String())
		if err != nil || dns.CanonicalName(name) != back {
			t.Errorf("%q is %s, whose name is %q, %v", name, a, back, err)
		}
	})
}
