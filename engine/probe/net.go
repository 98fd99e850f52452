package probe

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// lineSize is the longest line dial reads back: the longest argument there is
// (MAX_ARG_STRLEN), and more than a datagram, which has to be read at once.
const lineSize = 128 << 10

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
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintln(c, *text); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(c, lineSize).ReadSlice('\n')
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
	addr, path, _ := strings.Cut(strings.TrimPrefix(rest[0], "http://"), "/")
	b, err := fetch(ctx, pageOf(addr, "/"+path))
	if err != nil {
		return err
	}
	_, err = s.out.Write(b)
	return err
}

func listLinks(_ context.Context, s streams, fs *flag.FlagSet, args []string) error {
	rest, err := parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	// These are what fingers type; the rest of ip there isn't.
	if len(rest) == 1 && !slices.Contains([]string{"a", "addr", "address", "l", "link"}, rest[0]) {
		return usage("it lists links and addresses, not " + rest[0])
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
