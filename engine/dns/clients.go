package dns

import (
	"context"
	"net"

	"golang.org/x/net/netutil"
)

// clients gives the listener the server accepts from: so many connections at a
// time, which end with the resolver. The server has no deadline for writing;
// a client that does not read would have Close wait for it for ever.
func (r *Resolver) clients(l net.Listener) net.Listener {
	return &listener{Listener: netutil.LimitListener(l, maxClients), ctx: r.ctx}
}

type listener struct {
	net.Listener
	ctx context.Context
}

// Accept waits for the next client.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &client{Conn: c, release: context.AfterFunc(l.ctx, func() { _ = c.Close() })}, nil
}

type client struct {
	net.Conn
	release func() bool
}

// Close ends the connection.
func (c *client) Close() error {
	c.release()
	return c.Conn.Close()
}
