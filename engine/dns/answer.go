package dns

import (
	"context"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// serve answers one question.
func (r *Resolver) serve(w dns.ResponseWriter, q *dns.Msg) {
	network := w.LocalAddr().Network()
	size := room(network, q)
	resp := r.answer(network, size, q)
	if resp == nil {
		return
	}
	resp.Truncate(size)
	if err := w.WriteMsg(resp); err != nil && r.ctx.Err() == nil {
		// What others answered may be impossible to write; a client that is
		// gone is none of our business.
		r.log.Debug("answer of the resolver not written", "sandbox", r.name, "err", err)
		_ = w.WriteMsg(failure(q, dns.RcodeServerFailure))
	}
}

// room is how large an answer the client takes, in bytes (RFC 6891, section
// 6.2.3).
func room(network string, q *dns.Msg) int {
	if network == "tcp" {
		return dns.MaxMsgSize
	}
	if opt := q.IsEdns0(); opt != nil {
		return max(int(opt.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

// answer gives the response to q, by what is known here or by others.
func (r *Resolver) answer(network string, size int, q *dns.Msg) *dns.Msg {
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return failure(q, dns.RcodeNotImplemented)
	case len(q.Question) != 1:
		return failure(q, dns.RcodeFormatError)
	}
	rrs, known := r.local(q.Question[0], size)
	if !known && r.settle() {
		rrs, known = r.local(q.Question[0], size)
	}
	if !known && r.mayForward(q.Question[0]) {
		return r.forward(network, q)
	}
	resp := reply(q)
	resp.RecursionAvailable = true
	resp.Answer = rrs
	return resp
}

// settle waits until the zones are complete, if they are not: an engine that
// has just begun would deny the names it has not heard of yet. It reports
// whether they may say more now. Not more questions wait than may be forwarded.
func (r *Resolver) settle() bool {
	if !r.forwards.TryAcquire(1) {
		return false
	}
	defer r.forwards.Release(1)
	ctx, cancel := context.WithTimeout(r.ctx, settleTime)
	defer cancel()
	return r.view.Settle(ctx)
}

// mayForward reports whether others are asked what is not known here. As in
// Docker, they are not when somebody chose ndots and the name has no dots: the
// answer without addresses has the client append its search domains.
func (r *Resolver) mayForward(q dns.Question) bool {
	single := !strings.Contains(strings.TrimSuffix(q.Name, "."), ".")
	return !single || (q.Qtype != dns.TypeA && q.Qtype != dns.TypeAAAA) || !r.view.Ndots()
}

// reply begins a response, with EDNS if the client speaks it.
func reply(q *dns.Msg) *dns.Msg {
	resp := new(dns.Msg).SetReply(q)
	if opt := q.IsEdns0(); opt != nil {
		resp.SetEdns0(dns.DefaultMsgSize, opt.Do())
	}
	return resp
}

func failure(q *dns.Msg, code int) *dns.Msg {
	resp := reply(q)
	resp.Rcode = code
	return resp
}

// local answers from the zones. A name that is known in one family has no
// addresses of the other, nor a mail server (RFC 5321, section 5.1, leads
// clients to the address then), and nobody else is asked for them.
//
// SRV is not answered here: Docker's resolver has the code, and nothing ever
// fills its table (libnetwork svcInfo.service).
func (r *Resolver) local(q dns.Question, size int) (rrs []dns.RR, known bool) {
	if q.Qclass != dns.ClassINET {
		return nil, false
	}
	switch q.Qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeMX:
		if a := find(r.view.Zones(), strings.ToLower(strings.TrimSuffix(q.Name, "."))); a != nil {
			return addresses(q, a, size), true
		}
	case dns.TypePTR:
		addr, ok := reversed(q.Name)
		if !ok {
			return nil, false
		}
		for _, z := range r.view.Zones() {
			if name, ok := z.names[addr]; ok {
				return []dns.RR{&dns.PTR{Hdr: header(q), Ptr: name}}, true
			}
		}
	}
	return nil, false
}

// Sizes of a record whose name is a pointer to the question's, in bytes (RFC
// 1035, sections 3.2.1 and 4.1.4).
const (
	sizeA    = 12 + 4
	sizeAAAA = 12 + 16
)

// addresses gives the records of a name: one more than there is room for at
// most, so that the client learns of the others.
func addresses(q dns.Question, a *answer, size int) []dns.RR {
	var out []dns.RR
	switch q.Qtype {
	case dns.TypeA:
		for _, addr := range sample(a.v4, size/sizeA+1) {
			out = append(out, &dns.A{Hdr: header(q), A: addr.AsSlice()})
		}
	case dns.TypeAAAA:
		for _, addr := range sample(a.v6, size/sizeAAAA+1) {
			out = append(out, &dns.AAAA{Hdr: header(q), AAAA: addr.AsSlice()})
		}
	}
	return out
}

func header(q dns.Question) dns.RR_Header {
	return dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
}

// reversed reads the address of a name below in-addr.arpa or ip6.arpa (RFC
// 1035, section 3.5; RFC 3596, section 2.5).
func reversed(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if labels, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(labels, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		addr, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
		return addr, err == nil && addr.Is4()
	}
	labels, ok := strings.CutSuffix(name, ".ip6.arpa")
	parts := strings.Split(labels, ".")
	if !ok || len(parts) != 32 {
		return netip.Addr{}, false
	}
	var text strings.Builder
	for i := range parts {
		digit := parts[len(parts)-1-i]
		if len(digit) != 1 {
			return netip.Addr{}, false
		}
		if i > 0 && i%4 == 0 {
			text.WriteByte(':')
		}
		text.WriteString(digit)
	}
	addr, err := netip.ParseAddr(text.String())
	return addr, err == nil
}
