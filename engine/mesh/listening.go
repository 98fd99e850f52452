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

// Listeners is which of its own ports, of those published over TCP, a task
// accepts connections at.
type Listeners struct {
	Open, Closed []uint16
	Anywhere     []uint16 // those of Open that it listens at on any address
}

// Listening looks at a task's sockets.
func Listening(sandbox *kernel.Namespace, ports []Target) (Listeners, error) {
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
			return Listeners{}, fmt.Errorf("sockets in %s: %w", sandbox.Path(), err)
		}
	}
	var out Listeners
	for _, p := range ports {
		if p.Proto != unix.IPPROTO_TCP {
			continue
		}
		anywhere, open := found[p.To]
		if open {
			out.Open = append(out.Open, p.To)
		} else {
			out.Closed = append(out.Closed, p.To)
		}
		if anywhere {
			out.Anywhere = append(out.Anywhere, p.To)
		}
	}
	return out, nil
}

// listeners reads the ports of a table of sockets (proc_net_tcp(5)) that are
// open, and whether on any address.
func listeners(lines *bufio.Scanner, open map[uint16]bool) error {
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || f[3] != listenState {
			continue
		}
		addr, hex, _ := strings.Cut(f[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
			open[uint16(port)] = open[uint16(port)] || strings.Trim(addr, "0") == ""
		}
	}
	return lines.Err()
}
