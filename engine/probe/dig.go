package probe

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// question is what dig asks whom.
type question struct {
	server, name string
	kind         uint16
}

func dig(ctx context.Context, s streams, fs *flag.FlagSet, args []string) error {
	rest, err := parse(fs, args, 1, 3)
	if err != nil {
		return err
	}
	q, err := parseQuestion(rest)
	if err != nil {
		return err
	}
	if q.server == "" {
		if q.server, err = nameServerOf("/etc/resolv.conf"); err != nil {
			return err
		}
	}
	in, err := lookUp(ctx, q)
	if err != nil {
		return err
	}
	writeReply(s.out, in, q.server)
	if in.Rcode != dns.RcodeSuccess {
		return exit(1)
	}
	return nil
}

// parseQuestion reads [@SERVER] NAME [TYPE]. The server is empty when none is
// named.
func parseQuestion(args []string) (q question, err error) {
	if strings.HasPrefix(args[0], "@") {
		q.server = withPort(args[0][1:])
		if host, _, err := net.SplitHostPort(q.server); err != nil || host == "" {
			return q, usage("name a server after the @")
		}
		args = args[1:]
	}
	if len(args) == 0 || len(args) > 2 {
		return q, usage("name a name")
	}
	q.name, q.kind = dns.Fqdn(args[0]), dns.TypeA
	if len(args) == 2 {
		kind, ok := dns.StringToType[strings.ToUpper(args[1])]
		if !ok {
			return q, usage("unknown type " + args[1])
		}
		q.kind = kind
	}
	return q, nil
}

// withPort adds DNS's port to an address that has none.
func withPort(server string) string {
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), "53")
}

// nameServerOf gives the first server of a resolv.conf.
func nameServerOf(file string) (string, error) {
	conf, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return "", err
	}
	if len(conf.Servers) == 0 {
		return "", fmt.Errorf("%s names no server: give one as @ADDR", file)
	}
	return withPort(conf.Servers[0]), nil
}

// lookUp asks over UDP, and over TCP for an answer that is too long for that.
func lookUp(ctx context.Context, q question) (*dns.Msg, error) {
	in, err := exchange(ctx, "udp", q)
	if err != nil || !in.Truncated {
		return in, err
	}
	if in, err = exchange(ctx, "tcp", q); err != nil {
		return nil, fmt.Errorf("ask over TCP: %w", err)
	}
	return in, nil
}

func exchange(ctx context.Context, network string, q question) (*dns.Msg, error) {
	client := &dns.Client{Net: network, Timeout: reachTimeout}
	c, err := client.DialContext(ctx, q.server)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // the client only minds its deadline
	defer stop()
	defer c.Close() //nolint:errcheck // the answer has come, or not
	in, _, err := client.ExchangeWithConnContext(ctx, new(dns.Msg).SetQuestion(q.name, q.kind), c)
	return in, err
}

func writeReply(out io.Writer, in *dns.Msg, server string) {
	status, ok := dns.RcodeToString[in.Rcode]
	if !ok {
		status = fmt.Sprintf("RCODE%d", in.Rcode)
	}
	fmt.Fprintf(out, ";; %s from %s\n", status, server)
	for _, rr := range in.Answer {
		fmt.Fprintln(out, printable(rr.String()))
	}
}
