package probe

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

func dial(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	text := fs.String("text", "hello", "line to send")
	timeout := fs.Duration("timeout", reachTimeout, "how long to try")
	rest, err := parse(fs, args, 2, 2)
	if err != nil {
		return err
	}
	if rest[0] != "tcp" && rest[0] != "udp" {
		return usage("the protocol is tcp or udp, not " + rest[0])
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, rest[0], rest[1])
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the answer has come, or not
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(c, *text); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return fmt.Errorf("no echo from %s: %w", rest[1], err)
	}
	_, err = fmt.Fprintf(s.out, "%s -> %s: %s", c.LocalAddr(), c.RemoteAddr(), line)
	return err
}

func get(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	timeout := fs.Duration("timeout", reachTimeout, "how long to try")
	rest, err := parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	addr, path, _ := strings.Cut(rest[0], "/")
	b, err := fetch(ctx, pageOf(addr, "/"+path))
	if err != nil {
		return err
	}
	_, err = s.out.Write(b)
	return err
}

func dig(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	rest, err := parse(fs, args, 1, 3)
	if err != nil {
		return err
	}
	server := ""
	if strings.HasPrefix(rest[0], "@") {
		server, rest = rest[0][1:], rest[1:]
	}
	if len(rest) == 0 || len(rest) > 2 {
		return usage("name a name")
	}
	kind := dns.TypeA
	if len(rest) == 2 {
		k, ok := dns.StringToType[strings.ToUpper(rest[1])]
		if !ok {
			return usage("unknown type " + rest[1])
		}
		kind = k
	}
	if server == "" {
		conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return err
		}
		if len(conf.Servers) == 0 {
			return errors.New("/etc/resolv.conf names no server: give one as @ADDR")
		}
		server = conf.Servers[0]
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	m := new(dns.Msg).SetQuestion(dns.Fqdn(rest[0]), kind)
	in, _, err := (&dns.Client{Timeout: reachTimeout}).ExchangeContext(ctx, m, server)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, ";; %s from %s\n", dns.RcodeToString[in.Rcode], server)
	for _, rr := range in.Answer {
		fmt.Fprintln(s.out, rr)
	}
	if in.Rcode != dns.RcodeSuccess {
		return exit(1)
	}
	return nil
}

func listLinks(_ context.Context, s streams, fs *flag.FlagSet, args []string) error {
	if _, err := parse(fs, args, 0, 1); err != nil { // `ip addr` is what fingers type
		return err
	}
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		fmt.Fprintf(s.out, "%d: %s: <%s> mtu %d\n", l.Index, l.Name, strings.ToUpper(strings.ReplaceAll(l.Flags.String(), "|", ",")), l.MTU)
		if len(l.HardwareAddr) > 0 {
			fmt.Fprintf(s.out, "    ether %s\n", l.HardwareAddr)
		}
		addrs, err := l.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			fmt.Fprintf(s.out, "    inet %s\n", a)
		}
	}
	return nil
}

func sleep(ctx context.Context, _ streams, fs *flag.FlagSet, args []string) error {
	rest, err := parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	if rest[0] == "infinity" {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	text := rest[0]
	if strings.Trim(text, "0123456789.") == "" {
		text += "s"
	}
	d, err := time.ParseDuration(strings.Replace(text, "d", "h", 1))
	if strings.HasSuffix(text, "d") {
		d *= 24
	}
	if err != nil || d < 0 {
		return usage("a duration is 30, 30s, 5m, 1h or 1d, not " + rest[0])
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
