package mesh

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"weft/engine/kernel"
)

// Reach connects from an ingress sandbox to a task at a published port of TCP,
// as the node does for clients that it hides, and hangs up.
func Reach(ctx context.Context, sandbox *kernel.Namespace, task netip.Addr, port uint16) error {
	return kernel.Do(sandbox, func() error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(task.String(), strconv.Itoa(int(port))))
		if err != nil {
			return err
		}
		return c.Close()
	})
}
