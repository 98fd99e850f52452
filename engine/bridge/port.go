package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/model"
)

// reservation holds a published port on the host: nobody else can have it, and
// what the rules do not redirect is carried over by a relay.
type reservation struct {
	port    model.PublishedPort
	sockets []io.Closer // none for SCTP, which has the rules alone
	relays  []*relay
}

// protocols gives IP's numbers (RFC 5237's registry) of what has ports.
func protocols() map[string]byte {
	return map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}
}

// anyPortTries bounds the search for a port that is free on all addresses.
const anyPortTries = 64

// reserveAny takes the first port of the binding's range that is free on all
// the addresses, or any where it names none.
func (d *Driver) reserveAny(w model.PortBinding, hosts []netip.Addr) ([]*reservation, error) {
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
		if got, err = d.reserveAll(try, hosts); err == nil {
			return got, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
	}
	return nil, err
}

// reserveAll takes one port on all the addresses.
func (d *Driver) reserveAll(p model.PublishedPort, hosts []netip.Addr) ([]*reservation, error) {
	var out []*reservation
	for _, h := range hosts {
		p.HostIP = h
		r, err := d.reserve(p)
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

// reserve binds the port on the host; port 0 lets the kernel choose.
func (d *Driver) reserve(p model.PublishedPort) (*reservation, error) {
	switch p.Proto {
	case "tcp", "udp":
	case "sctp": // a protocol of the kernel's that Go has no sockets for
		if d.outside != nil {
			return nil, fault.Unsupported("publish port %d/sctp: an engine without root publishes tcp and udp", p.Port.Port)
		}
		if p.HostPort == 0 {
			return nil, fault.Unsupported("publish port %d/sctp: name the port of the host too: -p PORT:%d/sctp", p.Port.Port, p.Port.Port)
		}
		return &reservation{port: p}, nil
	default:
		return nil, fault.Invalid("publish port %d: no protocol %q: use tcp, udp or sctp", p.Port.Port, p.Proto)
	}
	r := &reservation{port: p}
	err := r.bind(d)
	if err == nil {
		return r, nil
	}
	err = errors.Join(err, release([]*reservation{r}))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, &portTaken{host: net.JoinHostPort(p.HostIP.String(), strconv.Itoa(int(p.HostPort)))}
	}
	if d.outside != nil && errors.Is(err, unix.EACCES) {
		err = fmt.Errorf("%w: allow ordinary users such ports with `sysctl net.ipv4.ip_unprivileged_port_start=%d`, or publish a higher one", err, p.HostPort)
	}
	return nil, fmt.Errorf("publish port %d/%s: %w", p.Port.Port, p.Proto, err)
}

// bind opens the port's sockets: in the driver's namespace, and before that
// outside, where the host's clients are in another one.
func (r *reservation) bind(d *Driver) error {
	if d.outside != nil {
		socket, port, err := d.outside.bind(r.port)
		if err != nil {
			return err
		}
		r.sockets, r.port.HostPort = append(r.sockets, socket), port
	}
	err := kernel.Do(d.host, func() error {
		socket, port, err := bind(r.port)
		if err == nil {
			r.sockets, r.port.HostPort = append(r.sockets, socket), port
		}
		return err
	})
	if d.outside != nil && errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil // an address of the outside's alone
	}
	return err
}

// Opener opens a port in another network namespace; network and address are as
// in package net. Its errors have the kernel's as their cause.
type Opener func(ctx context.Context, network, address string) (*os.File, error)

func (open Opener) bind(p model.PublishedPort) (io.Closer, uint16, error) {
	network, address := place(p)
	f, err := open(context.Background(), network, address)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // the socket is another descriptor
	if p.Proto == "tcp" {
		l, err := net.FileListener(f)
		if err != nil {
			return nil, 0, err
		}
		return opened(l, l.Addr())
	}
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, 0, err
	}
	return opened(c, c.LocalAddr())
}

// opened gives a socket with its port.
func opened(socket io.Closer, at net.Addr) (io.Closer, uint16, error) {
	a, err := netip.ParseAddrPort(at.String())
	return socket, a.Port(), err
}

// place gives the port as package net has it.
func place(p model.PublishedPort) (network, address string) {
	family := "4"
	if p.HostIP.Is6() {
		family = "6"
	}
	return p.Proto + family, netip.AddrPortFrom(p.HostIP, p.HostPort).String()
}

// bind opens the socket in the calling thread's namespace.
func bind(p model.PublishedPort) (socket io.Closer, port uint16, err error) {
	network, address := place(p)
	var lc net.ListenConfig
	if p.Proto == "tcp" {
		l, err := lc.Listen(context.Background(), network, address)
		if err != nil {
			return nil, 0, err
		}
		return opened(l, l.Addr())
	}
	c, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, 0, err
	}
	return opened(c, c.LocalAddr())
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

// serve carries connections that reach the sockets themselves to the container.
func (r *reservation) serve(log *slog.Logger, host *kernel.Namespace, to netip.AddrPort) {
	for _, socket := range r.sockets {
		r.relays = append(r.relays, newRelay(log, host, socket, to))
	}
}

// release gives the ports back and ends what runs over their sockets.
func release(list []*reservation) error {
	var errs []error
	for _, r := range list {
		for _, socket := range r.sockets {
			errs = append(errs, socket.Close())
		}
		for _, relay := range r.relays {
			relay.stop()
		}
	}
	return errors.Join(errs...)
}

// Reserve takes a port of the host for somebody else's rules: nobody else
// listens there, and what the rules do not redirect is carried over to an
// address. It is free again with Close.
func (d *Driver) Reserve(p model.PublishedPort, to netip.AddrPort) (io.Closer, error) {
	r, err := d.reserve(p)
	if err != nil {
		return nil, err
	}
	r.serve(d.log, d.host, to)
	return r, nil
}

// Close gives the port back and ends what runs over its socket.
func (r *reservation) Close() error { return release([]*reservation{r}) }
