package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

func (p *pinger) open() (err error) {
	network, any := "ip4:icmp", "0.0.0.0"
	if p.v6 {
		network, any = "ip6:ipv6-icmp", "::"
	}
	if p.conn, err = icmp.ListenPacket(network, any); err != nil {
		return fmt.Errorf("open an ICMP socket: %w", err)
	}
	if p.v6 {
		_ = p.conn.IPv6PacketConn().SetControlMessage(ipv6.FlagHopLimit, true)
	} else {
		_ = p.conn.IPv4PacketConn().SetControlMessage(ipv4.FlagTTL, true)
	}
	if !p.dontFragment {
		return nil
	}
	level, option, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO
	var raw syscall.RawConn
	if p.v6 {
		level, option, value = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO
		raw, err = rawConn(p.conn.IPv6PacketConn().PacketConn)
	} else {
		raw, err = rawConn(p.conn.IPv4PacketConn().PacketConn)
	}
	if err != nil {
		return err
	}
	if ctl := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) }); ctl != nil {
		return ctl
	}
	return err
}

func rawConn(c net.PacketConn) (syscall.RawConn, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("this socket has no options")
	}
	return sc.SyscallConn()
}

// exchange sends requests and prints replies until the last one has come, or
// can't be waited for any longer.
func (p *pinger) exchange(ctx context.Context, s streams) {
	ctx, cancel := context.WithCancel(ctx)
	replies := make(chan reply)
	done := make(chan struct{})
	go func() { // ends with the context or when the socket is closed, below
		defer close(done)
		p.read(ctx, p.readFrom, replies)
	}()
	defer func() {
		cancel()
		_ = p.conn.Close()
		<-done
	}()
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	var last <-chan time.Time
	p.send(s, 1)
	for seq := 1; ; {
		if seq == p.count && last == nil {
			last = time.After(p.wait) //nolint:forbidigo // once per run
		}
		select {
		case <-tick.C:
			if p.count == 0 || seq < p.count {
				seq++
				p.send(s, seq)
			}
		case r := <-replies:
			p.receive(s, r)
			if seq == p.count && len(p.sent) == 0 {
				return
			}
		case <-last:
			return
		case <-ctx.Done():
			return
		}
	}
}

type reply struct {
	from net.Addr
	seq  int
	size int
	ttl  int
	at   time.Time
}

func (p *pinger) send(s streams, seq int) {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: p.id, Seq: seq & 0xffff, Data: make([]byte, p.size)}}
	if p.v6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	b, err := m.Marshal(nil)
	if err == nil {
		p.note(seq, time.Now()) //nolint:forbidigo // a duration is what is measured
		_, err = p.conn.WriteTo(b, p.to)
	}
	if err != nil {
		fmt.Fprintf(s.err, "ping: icmp_seq=%d: %v\n", seq, err)
	}
}

// note remembers a request until its reply comes, or its number does again.
func (p *pinger) note(seq int, at time.Time) {
	p.sent[seq&0xffff] = at
	p.requests++
}

// read hands echo replies over until the context ends or the socket is closed.
func (p *pinger) read(ctx context.Context, from func([]byte) (n, ttl int, from net.Addr, err error), replies chan<- reply) {
	buf := make([]byte, 66000)
	for {
		n, ttl, addr, err := from(buf)
		if err != nil {
			return
		}
		seq, ok := parseReply(p.v6, p.id, buf[:n])
		if !ok {
			continue
		}
		select {
		case replies <- reply{addr, seq, n, ttl, time.Now()}: //nolint:forbidigo // a duration is what is measured
		case <-ctx.Done():
			return
		}
	}
}

// parseReply gives the number in an echo reply to the pinger id, and false for
// any other message: the socket gets all there are.
func parseReply(v6 bool, id int, b []byte) (seq int, ok bool) {
	protocol, want := 1, icmp.Type(ipv4.ICMPTypeEchoReply) // IANA's protocol numbers
	if v6 {
		protocol, want = 58, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(protocol, b)
	if err != nil || m.Type != want {
		return 0, false
	}
	e, ok := m.Body.(*icmp.Echo)
	if !ok || e.ID != id {
		return 0, false
	}
	return e.Seq, true
}

func (p *pinger) readFrom(buf []byte) (n, ttl int, from net.Addr, err error) {
	if p.v6 {
		n, cm, from, err := p.conn.IPv6PacketConn().ReadFrom(buf)
		if cm != nil {
			ttl = cm.HopLimit
		}
		return n, ttl, from, err
	}
	n, cm, from, err := p.conn.IPv4PacketConn().ReadFrom(buf)
	if cm != nil {
		ttl = cm.TTL
	}
	return n, ttl, from, err
}
