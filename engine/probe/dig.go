package probe

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"

	"github.com/miekg/dns"
)

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
