package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// serve answers one question.
func (r *Resolver) serve(w dns.ResponseWriter, q *dns.Msg) {
	resp := r.answer(w.LocalAddr().Network(), q)
	if resp == nil {
		return
	}
	if w.LocalAddr().Network() == "udp" {
		resp.Truncate(udpSize(q))
	}
	_ = w.WriteMsg(resp) // a client that is gone is none of our business
}

// udpSize is how large an answer the client takes (RFC 6891, section 6.2.3).
func udpSize(q *dns.Msg) int {
	if opt := q.IsEdns0(); opt != nil {
		return max(int(opt.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

// answer gives the response to q, by what is known here or by others.
func (r *Resolver) answer(network string, q *dns.Msg) *dns.Msg {
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return failure(q, dns.RcodeNotImplemented)
	case len(q.Question) != 1:
		return failure(q, dns.RcodeFormatError)
	}
	if rrs, known := r.local(q.Question[0]); known {
		resp := reply(q)
		resp.RecursionAvailable = true
		resp.Answer = rrs
		return resp
	}
	return r.forward(network, q)
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
// addresses of the other, and nobody else is asked for them.
//
// SRV is not answered here: Docker's resolver has the code, and nothing ever
// fills its table.
func (r *Resolver) local(q dns.Question) (rrs []dns.RR, known bool) {
	if q.Qclass != dns.ClassINET {
		return nil, false
	}
	switch q.Qtype {
	case dns.TypeA, dns.TypeAAAA:
		name := strings.ToLower(strings.TrimSuffix(q.Name, "."))
		for _, z := range r.view.Zones() {
			if a := z.lookup(name); a != nil {
				return addresses(q, a), true
			}
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

func addresses(q dns.Question, a *answer) []dns.RR {
	var out []dns.RR
	if q.Qtype == dns.TypeA {
		for _, addr := range shuffled(a.v4) {
			out = append(out, &dns.A{Hdr: header(q), A: addr.AsSlice()})
		}
		return out
	}
	for _, addr := range shuffled(a.v6) {
		out = append(out, &dns.AAAA{Hdr: header(q), AAAA: addr.AsSlice()})
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
