package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/model"
)

// reservation holds a published port on the host: nobody else can have it, and
// what the rules do not redirect is carried over by a relay.
type reservation struct {
	port   model.PublishedPort
	socket io.Closer // nil for SCTP, which has the rules alone
	relay  *relay
}

// protocols gives IP's numbers (RFC 5237's registry) of what has ports.
func protocols() map[string]byte {
	return map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}
}

// anyPortTries bounds the search for a port that is free on all addresses.
const anyPortTries = 64

// reserveAny takes the first port of the binding's range that is free on all
// the addresses, or any where it names none.
func reserveAny(host *kernel.Namespace, w model.PortBinding, hosts []netip.Addr) ([]*reservation, error) {
	first, last := int(w.HostPort), int(max(w.HostPortEnd, w.HostPort))
	if first == 0 {
		last = anyPortTries
	}
	var err error
	for port := first; port <= last; port++ {
		try := model.PublishedPort{Port: w.Port, HostPort: uint16(port)} //nolint:gosec // up to 65535
		if first == 0 {
			try.HostPort = 0 // the kernel chooses
		}
		var got []*reservation
		if got, err = reserveAll(host, try, hosts); err == nil {
			return got, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
	}
	return nil, err
}

// reserveAll takes one port on all the addresses.
func reserveAll(host *kernel.Namespace, p model.PublishedPort, hosts []netip.Addr) ([]*reservation, error) {
	var out []*reservation
	for _, h := range hosts {
		p.HostIP = h
		r, err := reserve(host, p)
		if errors.Is(err, unix.EAFNOSUPPORT) && len(hosts) > 1 && h.Is6() {
			continue // a host without IPv6
		}
		if err != nil {
			return nil, errors.Join(err, release(out))
		}
		p.HostPort = r.port.HostPort
		out = append(out, r)
	}
	return out, nil
}

// reserve binds the port in host; port 0 lets the kernel choose.
func reserve(host *kernel.Namespace, p model.PublishedPort) (*reservation, error) {
	switch p.Proto {
	case "tcp", "udp":
	case "sctp": // a protocol of the kernel's that Go has no sockets for
		if p.HostPort == 0 {
			return nil, fault.Unsupported("publish port %d/sctp: name the port of the host too: -p PORT:%d/sctp", p.Port.Port, p.Port.Port)
		}
		return &reservation{port: p}, nil
	default:
		return nil, fault.Invalid("publish port %d: no protocol %q: use tcp, udp or sctp", p.Port.Port, p.Proto)
	}
	r := &reservation{port: p}
	err := kernel.Do(host, func() (err error) {
		r.socket, r.port.HostPort, err = bind(p)
		return err
	})
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, &portTaken{host: net.JoinHostPort(p.HostIP.String(), strconv.Itoa(int(p.HostPort)))}
	}
	if err != nil {
		return nil, fmt.Errorf("publish port %d/%s: %w", p.Port.Port, p.Proto, err)
	}
	return r, nil
}

// bind opens the socket in the calling thread's namespace.
func bind(p model.PublishedPort) (socket io.Closer, port uint16, err error) {
	network, address := p.Proto+"4", netip.AddrPortFrom(p.HostIP, p.HostPort).String()
	if p.HostIP.Is6() {
		network = p.Proto + "6"
	}
	var lc net.ListenConfig
	if p.Proto == "tcp" {
		l, err := lc.Listen(context.Background(), network, address)
		if err != nil {
			return nil, 0, err
		}
		at, err := netip.ParseAddrPort(l.Addr().String())
		return l, at.Port(), err
	}
	c, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, 0, err
	}
	at, err := netip.ParseAddrPort(c.LocalAddr().String())
	return c, at.Port(), err
}

// portTaken is a port of the host that somebody else has.
type portTaken struct{ host string }

// Error gives Docker's words.
func (e *portTaken) Error() string {
	return fmt.Sprintf("Bind for %s failed: port is already allocated", e.host)
}

// Unwrap lets callers look for the cause.
func (e *portTaken) Unwrap() error { return unix.EADDRINUSE }

// System marks the error, in the way of containerd/errdefs, as Docker's API
// has it (HTTP 500).
func (e *portTaken) System() {}

// serve carries connections that reach the socket itself to the container.
func (r *reservation) serve(log *slog.Logger, host *kernel.Namespace, to netip.AddrPort) {
	if r.socket != nil {
		r.relay = newRelay(log, host, r.socket, to)
	}
}

// release gives the ports back and ends what runs over their sockets.
func release(list []*reservation) error {
	var errs []error
	for _, r := range list {
		if r.socket != nil {
			errs = append(errs, r.socket.Close())
		}
		if r.relay != nil {
			r.relay.stop()
		}
	}
	return errors.Join(errs...)
}

// Reserve takes a port of the host for somebody else's rules: nobody else
// listens there, and what the rules do not redirect is carried over to an
// address. It is free again with Close.
func (d *Driver) Reserve(p model.PublishedPort, to netip.AddrPort) (io.Closer, error) {
	r, err := reserve(d.host, p)
	if err != nil {
		return nil, err
	}
	r.serve(d.log, d.host, to)
	return r, nil
}

// Close gives the port back and ends what runs over its socket.
func (r *reservation) Close() error { return release([]*reservation{r}) }
