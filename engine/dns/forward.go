package dns

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

const (
	// askTime bounds one question to one server, and maxUpstreams how many are
	// asked, as in Docker.
	askTime      = 4 * time.Second
	maxUpstreams = 3
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
		r.log.Warn("container asks too much of other servers at once", "sandbox", r.sandbox.Path(), "limit", maxForwards)
		return failure(q, dns.RcodeServerFailure)
	}
	defer r.forwards.Release(1)
	for _, u := range upstreams[:min(len(upstreams), maxUpstreams)] {
		resp, err := r.ask(u, network, q)
		if r.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.log.Debug("DNS server did not answer", "server", u.Addr, "sandbox", r.sandbox.Path(), "err", err)
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
	defer func() { _ = conn.Close() }()
	c := &dns.Client{Net: network, Timeout: askTime}
	// The ID is what a forged answer has to guess (RFC 5452); the client's own
	// may be a poor one.
	mine := q.Copy()
	mine.Id = dns.Id()
	resp, _, err := c.ExchangeWithConnContext(ctx, mine, &dns.Conn{Conn: conn, UDPSize: uint16(udpSize(q))}) //nolint:gosec // from 16 bits
	if err != nil {
		return nil, err
	}
	resp.Id = q.Id
	return resp, nil
}
