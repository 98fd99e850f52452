package dns

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// askTime bounds one question to one server, and maxUpstreams how many are
	// asked, as in Docker.
	askTime      = 4 * time.Second
	maxUpstreams = 3
	// crowdedEvery bounds how often a container fills the log with its crowds.
	crowdedEvery = 2 * time.Second
	// largestUDP is what a server's datagram may have, in bytes: more than any
	// that comes in one piece, for those that don't come so are rare.
	largestUDP = dns.DefaultMsgSize
)

// forward asks the upstream servers in turn, over the client's own protocol,
// and gives the first answer that is one. A truncated one goes to the client,
// which asks again over TCP.
func (r *Resolver) forward(network string, q *dns.Msg) *dns.Msg {
	upstreams := r.view.Upstreams()
	if len(upstreams) == 0 {
		return failure(q, dns.RcodeServerFailure)
	}
	if !r.forwards.TryAcquire(1) {
		// Docker has them wait for 4 s, without end to their number, and is
		// REFUSED, which some clients (Go's) take for final.
		r.crowded.Do(func() {
			r.log.Warn("container asks too much of other servers at once", "sandbox", r.name, "limit", maxForwards)
		})
		return failure(q, dns.RcodeServerFailure)
	}
	defer r.forwards.Release(1)
	for _, u := range upstreams[:min(len(upstreams), maxUpstreams)] {
		resp, err := r.ask(u, network, q)
		if r.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.log.Debug("DNS server did not answer", "server", u.Addr, "sandbox", r.name, "err", err)
			continue
		}
		if resp.Rcode == dns.RcodeServerFailure || resp.Rcode == dns.RcodeRefused {
			continue
		}
		return resp
	}
	return failure(q, dns.RcodeServerFailure)
}

// ask puts the client's question, as it is, to one server.
func (r *Resolver) ask(u Upstream, network string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(r.ctx, askTime)
	defer cancel()
	conn, err := u.Dial(ctx, network, u.Addr.String())
	if err != nil {
		return nil, err
	}
	// The client below looks at deadlines, not at the end of a context.
	closed := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if closed() {
			_ = conn.Close()
		}
	}()
	c := &dns.Client{Net: network, Timeout: askTime}
	// The ID is what a forged answer has to guess (RFC 5452); the client's own
	// may be a poor one.
	mine := *q
	mine.Id = dns.Id()
	// Some servers don't know EDNS and send more than they may: what is too
	// much for the client is cut off for it, with a word.
	resp, _, err := c.ExchangeWithConnContext(ctx, &mine, &dns.Conn{Conn: conn, UDPSize: largestUDP})
	if err != nil {
		return nil, err
	}
	if !answers(resp, q) {
		return nil, fmt.Errorf("%s answered something else than %s", u.Addr, q.Question[0].String())
	}
	resp.Id = q.Id
	return resp, nil
}

// answers reports whether a server's message is one to q (RFC 5452, section
// 9.1). Some leave the question out of a failure.
func answers(resp, q *dns.Msg) bool {
	if !resp.Response || resp.Opcode != q.Opcode || len(resp.Question) > 1 {
		return false
	}
	if len(resp.Question) == 0 {
		return len(resp.Answer) == 0
	}
	got, want := resp.Question[0], q.Question[0]
	return got.Qtype == want.Qtype && got.Qclass == want.Qclass && strings.EqualFold(got.Name, want.Name)
}
