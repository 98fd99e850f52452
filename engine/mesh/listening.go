package mesh

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// listenState is TCP_LISTEN (include/net/tcp_states.h) in /proc/net/tcp.
const listenState = "0A"

// Listening counts the ports of its own, of those published over TCP, that a
// task accepts connections at, and those it does not.
func Listening(sandbox *kernel.Namespace, ports []Target) (open, closed int, err error) {
	found := map[uint16]bool{}
	for _, table := range []string{"tcp", "tcp6"} {
		err := kernel.Do(sandbox, func() error {
			f, err := os.Open("/proc/thread-self/net/" + table) //nolint:gosec // one of two names
			if os.IsNotExist(err) && table == "tcp6" {
				return nil
			}
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			return listeners(bufio.NewScanner(f), found)
		})
		if err != nil {
			return 0, 0, fmt.Errorf("sockets in %s: %w", sandbox.Path(), err)
		}
	}
	for _, p := range ports {
		switch {
		case p.Proto != unix.IPPROTO_TCP:
		case found[p.To]:
			open++
		default:
			closed++
		}
	}
	return open, closed, nil
}

// listeners reads the ports of a table of sockets (proc_net_tcp(5)).
func listeners(lines *bufio.Scanner, open map[uint16]bool) error {
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || f[3] != listenState {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
			open[uint16(port)] = true
		}
	}
	return lines.Err()
}
