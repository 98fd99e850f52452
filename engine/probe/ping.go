package probe

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// pinger sends ICMP echo requests (RFC 792, RFC 4443) to one address.
type pinger struct {
	to       *net.IPAddr
	conn     *icmp.PacketConn
	v6       bool
	id       int
	size     int
	sent     map[int]time.Time
	received int
	low, sum time.Duration
	high     time.Duration
}

func ping(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	count := fs.Int("c", 0, "stop after this many requests (0: never)")
	interval := fs.Float64("i", 1, "seconds between requests")
	wait := fs.Float64("W", 5, "seconds to wait for the last reply")
	size := fs.Int("s", 56, "bytes of payload")
	discover := fs.String("M", "", "`do`: forbid fragments")
	rest, err := parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	if *interval <= 0 || *wait <= 0 || *size < 0 || *size > 65000 || *count < 0 || (*discover != "" && *discover != "do") {
		return usage("an option has a value that makes no sense")
	}
	to, err := net.ResolveIPAddr("ip", rest[0])
	if err != nil {
		return fmt.Errorf("%w", errors.Join(exit(codeUsage), err))
	}
	p := &pinger{to: to, v6: to.IP.To4() == nil, id: os.Getpid() & 0xffff, size: *size, sent: map[int]time.Time{}}
	if err := p.open(*discover == "do"); err != nil {
		return err
	}
	defer p.conn.Close() //nolint:errcheck // nothing was written to a file
	overhead := 28
	if p.v6 {
		overhead = 48
	}
	fmt.Fprintf(s.out, "PING %s (%s) %d(%d) bytes of data.\n", rest[0], to, *size, *size+overhead)
	begin := time.Now() //nolint:forbidigo // a duration is what is measured
	p.exchange(ctx, s, *count, seconds(*interval), seconds(*wait))
	p.summary(s, rest[0], time.Since(begin))
	if p.received == 0 {
		return exit(1)
	}
	return nil
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

func (p *pinger) open(dontFragment bool) (err error) {
	network, any := "ip4:icmp", "0.0.0.0"
	if p.v6 {
		network, any = "ip6:ipv6-icmp", "::"
	}
	if p.conn, err = icmp.ListenPacket(network, any); err != nil {
		return fmt.Errorf("open an ICMP socket: %w", err)
	}
	if !dontFragment {
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
func (p *pinger) exchange(ctx context.Context, s streams, count int, interval, wait time.Duration) {
	replies := make(chan reply)
	done := make(chan struct{})
	go func() { // ends when the socket is closed below
		defer close(done)
		p.read(ctx, replies)
	}()
	defer func() {
		_ = p.conn.Close()
		<-done
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last <-chan time.Time
	p.send(s, 1)
	for seq := 1; ; {
		if seq == count && last == nil {
			last = time.After(wait) //nolint:forbidigo // once per run
		}
		select {
		case <-tick.C:
			if count == 0 || seq < count {
				seq++
				p.send(s, seq)
			}
		case r := <-replies:
			p.receive(s, r)
			if count > 0 && seq == count && len(p.sent) == 0 {
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
		p.sent[seq&0xffff] = time.Now() //nolint:forbidigo // a duration is what is measured
		_, err = p.conn.WriteTo(b, p.to)
	}
	if err != nil {
		fmt.Fprintf(s.err, "ping: icmp_seq=%d: %v\n", seq, err)
	}
}

// read hands echo replies over until the socket is closed.
func (p *pinger) read(ctx context.Context, replies chan<- reply) {
	buf := make([]byte, 66000)
	protocol := 1 // ICMP, IANA's protocol numbers
	if p.v6 {
		protocol = 58
		_ = p.conn.IPv6PacketConn().SetControlMessage(ipv6.FlagHopLimit, true)
	} else {
		_ = p.conn.IPv4PacketConn().SetControlMessage(ipv4.FlagTTL, true)
	}
	for {
		n, ttl, from, err := p.readFrom(buf)
		if err != nil {
			return
		}
		m, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || (m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply) {
			continue
		}
		e, ok := m.Body.(*icmp.Echo)
		if !ok || e.ID != p.id {
			continue
		}
		select {
		case replies <- reply{from, e.Seq, n, ttl, time.Now()}: //nolint:forbidigo // a duration is what is measured
		case <-ctx.Done():
			return
		case <-time.After(time.Second): //nolint:forbidigo // nobody waits for replies any more
			return
		}
	}
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

func (p *pinger) receive(s streams, r reply) {
	at, ok := p.sent[r.seq]
	if !ok {
		return // a duplicate, or somebody else's
	}
	delete(p.sent, r.seq)
	rtt := r.at.Sub(at)
	if p.received == 0 || rtt < p.low {
		p.low = rtt
	}
	p.high = max(p.high, rtt)
	p.sum += rtt
	p.received++
	fmt.Fprintf(s.out, "%d bytes from %s: icmp_seq=%d ttl=%d time=%s ms\n", r.size, r.from, r.seq, r.ttl, millis(rtt))
}

func (p *pinger) summary(s streams, name string, took time.Duration) {
	sent := p.received + len(p.sent)
	loss := 0
	if sent > 0 {
		loss = 100 * len(p.sent) / sent
	}
	fmt.Fprintf(s.out, "\n--- %s ping statistics ---\n%d packets transmitted, %d received, %d%% packet loss, time %dms\n",
		name, sent, p.received, loss, took.Milliseconds())
	if p.received > 0 {
		fmt.Fprintf(s.out, "rtt min/avg/max = %s/%s/%s ms\n", millis(p.low), millis(p.sum/time.Duration(p.received)), millis(p.high))
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d.Nanoseconds())/1e6) }
