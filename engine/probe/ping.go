package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/icmp"
)

// pinger sends ICMP echo requests (RFC 792, RFC 4443) to one address.
type pinger struct {
	pingOptions
	to       *net.IPAddr
	conn     *icmp.PacketConn
	v6       bool
	id       int
	sent     map[int]time.Time // unanswered, by the number in the request
	requests int
	received int
	low, sum time.Duration
	high     time.Duration
}

// pingOptions are those of the command line.
type pingOptions struct {
	count, size    int
	interval, wait time.Duration
	dontFragment   bool
}

func ping(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	name, options, err := parsePing(fs, args)
	if err != nil {
		return err
	}
	p, err := newPinger(options)
	if err != nil {
		return err
	}
	if p.to, err = resolve(ctx, name); err != nil {
		fmt.Fprintf(s.err, "probe ping: %v\n", err)
		return exit(codeUsage) // as ping's
	}
	p.v6 = p.to.IP.To4() == nil
	if err := p.open(); err != nil {
		return err
	}
	defer p.conn.Close() //nolint:errcheck // nothing was written to a file
	overhead := 28
	if p.v6 {
		overhead = 48
	}
	fmt.Fprintf(s.out, "PING %s (%s) %d(%d) bytes of data.\n", name, p.to, p.size, p.size+overhead)
	begin := time.Now() //nolint:forbidigo // a duration is what is measured
	p.exchange(ctx, s)
	p.summary(s, name, time.Since(begin))
	if p.received == 0 {
		return exit(1)
	}
	return nil
}

func parsePing(fs *flag.FlagSet, args []string) (name string, o pingOptions, err error) {
	fs.IntVar(&o.count, "c", 0, "stop after this many requests (0: never)")
	interval := fs.Float64("i", 1, "seconds between requests")
	wait := fs.Float64("W", 5, "seconds to wait for the last reply")
	fs.IntVar(&o.size, "s", 56, "bytes of payload")
	discover := fs.String("M", "", "`do`: forbid fragments")
	rest, err := parse(fs, args, 1, 1)
	if err != nil {
		return "", o, err
	}
	var intervalOK, waitOK bool
	o.interval, intervalOK = seconds(*interval)
	o.wait, waitOK = seconds(*wait)
	o.dontFragment = *discover == "do"
	switch {
	case !intervalOK:
		err = usage("-i takes 0.001 to 86400 seconds")
	case !waitOK:
		err = usage("-W takes 0.001 to 86400 seconds")
	case o.count < 0:
		err = usage("-c takes a number of requests, or 0 for no end")
	case o.size < 0 || o.size > 65000:
		err = usage("-s takes 0 to 65000 bytes")
	case *discover != "" && !o.dontFragment:
		err = usage("-M takes do")
	}
	return rest[0], o, err
}

// seconds gives false for what a timer can't run for, NaN included.
func seconds(f float64) (d time.Duration, ok bool) {
	if !(f >= 0.001 && f <= 86400) { // NaN is on neither side
		return 0, false
	}
	return time.Duration(f * float64(time.Second)), true
}

// newPinger gives a pinger an ID. It isn't the PID, which is 1 in every
// container: those that share a network all get every reply.
func newPinger(o pingOptions) (*pinger, error) {
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	return &pinger{pingOptions: o, id: int(binary.BigEndian.Uint16(id[:])), sent: map[int]time.Time{}}, nil
}

// resolve gives an address of a name, preferably of IPv4.
func resolve(ctx context.Context, name string) (*net.IPAddr, error) {
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if a.IP.To4() != nil {
			return &a, nil
		}
	}
	return &addrs[0], nil
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
	loss := 0
	if p.requests > 0 {
		loss = 100 * (p.requests - p.received) / p.requests
	}
	fmt.Fprintf(s.out, "\n--- %s ping statistics ---\n%d packets transmitted, %d received, %d%% packet loss, time %dms\n",
		name, p.requests, p.received, loss, took.Milliseconds())
	if p.received > 0 {
		fmt.Fprintf(s.out, "rtt min/avg/max = %s/%s/%s ms\n", millis(p.low), millis(p.sum/time.Duration(p.received)), millis(p.high))
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d.Nanoseconds())/1e6) }
