package probe

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"weft/engine/netnstest"
)

func TestPingOptions(t *testing.T) {
	for _, test := range []struct{ args, errs string }{
		{"-i 0", "-i takes 0.001 to 86400 seconds"},
		{"-i -1", "-i takes 0.001 to 86400 seconds"},
		{"-i 1e-10", "-i takes 0.001 to 86400 seconds"}, // less than a nanosecond, once a panic
		{"-i NaN", "-i takes 0.001 to 86400 seconds"},
		{"-i Inf", "-i takes 0.001 to 86400 seconds"},
		{"-i 1e300", "-i takes 0.001 to 86400 seconds"},
		{"-W 0", "-W takes 0.001 to 86400 seconds"},
		{"-W NaN", "-W takes 0.001 to 86400 seconds"},
		{"-W 1e300", "-W takes 0.001 to 86400 seconds"},
		{"-c -1", "-c takes a number of requests, or 0 for no end"},
		{"-s -1", "-s takes 0 to 65000 bytes"},
		{"-s 65001", "-s takes 0 to 65000 bytes"},
		{"-M dont", "-M takes do"},
	} {
		t.Run(test.args, func(t *testing.T) {
			args := append(append([]string{"ping"}, strings.Fields(test.args)...), "127.0.0.1")
			call(t.Context(), args...).says(t, codeUsage, "", "probe ping: "+test.errs+"\nUsage: probe ping ADDR\n")
		})
	}
}

// TestPingOfNoAddress says what is wrong, with the exit code of ping.
func TestPingOfNoAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no name is to be looked up outside
	for _, name := range []string{"", "nowhere.invalid", "1.2.3"} {
		got := call(ctx, "ping", "-c", "1", "-W", "0.01", "--", name)
		if got.code != codeUsage || !strings.HasPrefix(got.err, "probe ping: ") || strings.Count(got.err, "\n") != 1 || got.out != "" {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

func TestPing(t *testing.T) {
	a, b := netnstest.TwoHosts(t)
	families(t, func(t *testing.T, addr func(*netnstest.Host) string) {
		overhead := 28
		if strings.Contains(addr(b), ":") {
			overhead = 48
		}
		for _, size := range []int{0, 56, 1400, 4000} { // the last one in fragments
			got := in(t, a.NS, "ping", "-c", "3", "-i", "0.01", "-W", "3600", "-s", fmt.Sprint(size), addr(b))
			want := fmt.Sprintf(`^PING %s \(%[1]s\) %d\(%d\) bytes of data\.\n`, addr(b), size, size+overhead)
			for seq := 1; seq <= 3; seq++ {
				want += fmt.Sprintf(`%d bytes from %s: icmp_seq=%d ttl=64 time=\d+\.\d{3} ms\n`, size+8, addr(b), seq)
			}
			want += fmt.Sprintf(`\n--- %s ping statistics ---\n3 packets transmitted, 3 received, 0%% packet loss, time \d+ms\n`, addr(b)) +
				`rtt min/avg/max = \d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3} ms\n$`
			if got.code != 0 || got.err != "" || !regexp.MustCompile(want).MatchString(got.out) {
				t.Errorf("%d bytes: exit %d, %s\n%s\nwant %s", size, got.code, got.err, got.out, want)
			}
		}
	})
}

func TestPingOfTheUnreachable(t *testing.T) {
	a, b := netnstest.TwoHosts(t)
	a.Exec("ip", "route", "add", "unreachable", "192.0.2.0/24")
	a.Exec("ip", "-6", "route", "add", "unreachable", "2001:db8::/32")
	// What b is asked for gets lost there.
	b.Exec("ip", "route", "add", "blackhole", "10.98.0.1/32")
	b.Exec("ip", "-6", "route", "add", "blackhole", "fd98::1/128")
	const lost = "1 packets transmitted, 0 received, 100% packet loss"
	ping := func(args ...string) result {
		return in(t, a.NS, append([]string{"ping", "-c", "1", "-W", "0.05"}, args...)...)
	}
	for _, to := range []string{b.Addr.String(), b.AddrV6.String()} {
		ping(to).says(t, 1, lost, "")
		ping("-M", "do", "-s", "2000", to).says(t, 1, lost, "icmp_seq=1: write ip")
		ping("-M", "do", "-s", "2000", to).says(t, 1, lost, "message too long\n")
	}
	for _, to := range []string{"198.51.100.1", "fd99::1"} {
		ping(to).says(t, 1, lost, "network is unreachable\n")
	}
	for _, to := range []string{"192.0.2.1", "2001:db8::1"} {
		ping(to).says(t, 1, lost, "no route to host\n")
	}
}

// TestPingLosesSome drops one request on the way and expects the others.
func TestPingLosesSome(t *testing.T) {
	a, b := netnstest.TwoHosts(t)
	b.Exec("nft", `table inet lossy { chain in { type filter hook input priority 0;
		icmp type echo-request icmp sequence 2 drop
		icmpv6 type echo-request icmpv6 sequence 2 drop
	}; }`)
	families(t, func(t *testing.T, addr func(*netnstest.Host) string) {
		p := start(t, a.NS, "ping", "-i", "0.01", addr(b))
		p.await("icmp_seq=1 ")
		if line := p.await("icmp_seq="); !strings.Contains(line, "icmp_seq=3 ") {
			t.Errorf("after the first reply comes %s", line)
		}
		got := p.signal(syscall.SIGINT)
		var requests, replies, loss int
		_, summary, _ := strings.Cut(got.out, "ping statistics ---\n")
		_, err := fmt.Sscanf(summary, "%d packets transmitted, %d received, %d%% packet loss", &requests, &replies, &loss)
		if err != nil || replies < 2 || requests <= replies || loss != 100*(requests-replies)/requests || got.code != 0 {
			t.Errorf("%v: exit %d\n%s", err, got.code, got.out)
		}
	})
}

func TestPingIsInterrupted(t *testing.T) {
	a, b := netnstest.TwoHosts(t)
	p := start(t, a.NS, "ping", "-i", "0.01", b.Addr.String())
	p.await("icmp_seq=2 ")
	p.signal(syscall.SIGINT).says(t, 0, "received, ", "")

	b.Exec("ip", "route", "add", "blackhole", "10.98.0.1/32")
	p = start(t, a.NS, "ping", b.Addr.String())
	p.await("PING ")
	p.signal(syscall.SIGTERM).says(t, 143, " 0 received, 100% packet loss", "")
}

// TestPingOfMany gets more replies than it waits for.
func TestPingOfMany(t *testing.T) {
	hosts := netnstest.Hosts(t, 3, 0)
	for i, h := range hosts {
		h.Exec("ip", "addr", "add", fmt.Sprintf("fe80::%d/64", i+1), "dev", "eth0", "nodad")
	}
	for range 5 {
		in(t, hosts[0].NS, "ping", "-c", "1", "ff02::1%eth0").says(t, 0, "1 packets transmitted, 1 received, 0% packet loss", "")
	}
}

// TestPingersDontMixUp: each container's first process has the same PID, and
// containers that share a network all see every reply.
func TestPingersDontMixUp(t *testing.T) {
	ids := map[int]bool{}
	for range 4 { // two may be alike by chance
		p, err := newPinger(pingOptions{})
		must(t, err)
		ids[p.id] = true
	}
	if len(ids) == 1 {
		t.Errorf("every pinger is %v", ids)
	}
}

func TestPingStatistics(t *testing.T) {
	var out bytes.Buffer
	s := streams{out: &out}
	at := time.Unix(0, 0)
	p := &pinger{sent: map[int]time.Time{}}
	for seq := range 4 {
		p.note(seq, at)
	}
	p.receive(s, reply{seq: 1, at: at.Add(3 * time.Millisecond)})
	p.receive(s, reply{seq: 1, at: at.Add(time.Hour)}) // again
	p.receive(s, reply{seq: 2, at: at.Add(time.Millisecond)})
	p.receive(s, reply{seq: 9, at: at}) // never sent
	out.Reset()
	p.summary(s, "web", 20*time.Millisecond)
	const want = "\n--- web ping statistics ---\n4 packets transmitted, 2 received, 50% packet loss, time 20ms\nrtt min/avg/max = 1.000/2.000/3.000 ms\n"
	if out.String() != want {
		t.Errorf("got %q", &out)
	}

	// Numbers begin anew after 65536 requests; those before stay lost.
	p = &pinger{sent: map[int]time.Time{}}
	for seq := range 1 << 17 {
		p.note(seq+1, at)
	}
	p.receive(s, reply{seq: 1, at: at})
	out.Reset()
	p.summary(s, "web", 0)
	if !strings.Contains(out.String(), "131072 packets transmitted, 1 received, 99% packet loss") {
		t.Errorf("got %q", &out)
	}
}

// TestRepliesWait for a terminal that stands still, however long, and for
// nobody once the context has ended.
func TestRepliesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seq := 0
		source := func(b []byte) (n, ttl int, from net.Addr, err error) {
			seq++
			return copy(b, echoReply(t, false, 7, seq)), 64, nil, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		replies := make(chan reply)
		done := make(chan struct{})
		go func() {
			defer close(done)
			(&pinger{id: 7}).read(ctx, source, replies)
		}()
		for want := range 3 {
			<-time.After(time.Hour) // of the bubble's own clock
			if r := <-replies; r.seq != want+1 || r.ttl != 64 || r.size != 8 {
				t.Errorf("%+v", r)
			}
		}
		cancel()
		<-done
	})
}

func echoReply(tb testing.TB, v6 bool, id, seq int) []byte {
	tb.Helper()
	m := icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: &icmp.Echo{ID: id, Seq: seq}}
	if v6 {
		m.Type = ipv6.ICMPTypeEchoReply
	}
	b, err := m.Marshal(nil)
	must(tb, err)
	return b
}

// TestReplies has what the socket gets besides replies to this pinger.
func TestReplies(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for id, seq := range map[int]int{0: 0, 7: 1, 0xffff: 0xffff} {
			if got, ok := parseReply(v6, id, echoReply(t, v6, id, seq)); got != seq || !ok {
				t.Errorf("reply %d/%d: %d %t", id, seq, got, ok)
			}
		}
		own := echoReply(t, v6, 7, 1)
		request := bytes.Clone(own)
		request[0] = 8
		if v6 {
			request[0] = 128
		}
		for name, b := range map[string][]byte{
			"nothing": nil, "cut short": own[:7], "another's": echoReply(t, v6, 8, 1), "the other family's": echoReply(t, !v6, 7, 1), "a request": request,
		} {
			if seq, ok := parseReply(v6, 7, b); ok {
				t.Errorf("%s is taken for reply %d", name, seq)
			}
		}
	}
}
