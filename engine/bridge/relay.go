package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

const (
	relayDialTime = 10 * time.Second
	// flowIdle ends a datagram flow nobody uses, as Docker's proxy does.
	flowIdle = 90 * time.Second
	// maxFlows bounds the clients of a datagram port.
	maxFlows     = 4096
	datagramSize = 65535
	// acceptPause is for the cause of a failure to go, most likely a want of
	// descriptors.
	acceptPause = 100 * time.Millisecond
)

// relay carries what arrives at a socket to a container. The rules redirect
// most clients before; these are those they can't, with the host's address of
// the bridge as their source.
type relay struct {
	log    *slog.Logger
	host   *kernel.Namespace
	to     netip.AddrPort
	ctx    context.Context // ends with stop
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex // guards flows
	flows map[netip.AddrPort]*net.UDPConn
}

// newRelay serves socket, a listener or a datagram socket, until that is
// closed and stop was called.
func newRelay(log *slog.Logger, host *kernel.Namespace, socket any, to netip.AddrPort) *relay {
	r := &relay{log: log, host: host, to: to, flows: map[netip.AddrPort]*net.UDPConn{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	switch s := socket.(type) {
	case net.Listener:
		r.done.Go(func() { r.accept(s) })
	case *net.UDPConn:
		r.done.Go(func() { r.receive(s) })
	}
	return r
}

// stop ends the flows. The socket must be closed.
func (r *relay) stop() {
	r.cancel()
	r.mu.Lock()
	for _, c := range r.flows {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.done.Wait()
}

func (r *relay) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("connection to a published port not accepted", "target", r.to, "err", err)
			pause := time.NewTimer(acceptPause)
			select {
			case <-r.ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
			continue
		}
		r.done.Go(func() { r.carry(c) })
	}
}

// carry copies a connection both ways, each until its end.
func (r *relay) carry(client net.Conn) {
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(r.ctx, relayDialTime)
	defer cancel()
	var server net.Conn
	err := kernel.Do(r.host, func() (err error) {
		server, err = new(net.Dialer).DialContext(ctx, "tcp", r.to.String())
		return err
	})
	if err != nil {
		return // as if the rules had led there
	}
	defer func() { _ = server.Close() }()
	end := context.AfterFunc(r.ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer end()
	var both sync.WaitGroup
	both.Go(func() { oneWay(server, client) })
	both.Go(func() { oneWay(client, server) })
	both.Wait()
}

// oneWay copies until from ends, and tells to that nothing more comes.
func oneWay(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}

// receive gives each client's datagrams a socket of their own, so that the
// answers find back.
func (r *relay) receive(s *net.UDPConn) {
	buf := make([]byte, datagramSize)
	for {
		n, client, err := s.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an earlier answer that did not arrive
		}
		if flow := r.flow(s, client); flow != nil {
			_, _ = flow.Write(buf[:n])
		}
	}
}

// flow gives the socket towards the container for a client; nil when there
// are too many, or none can be made.
func (r *relay) flow(s *net.UDPConn, client netip.AddrPort) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.flows[client]; c != nil {
		return c
	}
	if len(r.flows) >= maxFlows || r.ctx.Err() != nil {
		return nil
	}
	var c *net.UDPConn
	err := kernel.Do(r.host, func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.to))
		return err
	})
	if err != nil {
		return nil
	}
	r.flows[client] = c
	r.done.Go(func() { r.answer(s, c, client) })
	return c
}

// answer carries datagrams back to a client until the flow is idle.
func (r *relay) answer(s, flow *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, datagramSize)
	for {
		_ = flow.SetReadDeadline(time.Now().Add(flowIdle)) //nolint:forbidigo // a deadline of the network, not a value
		n, err := flow.Read(buf)
		if err != nil && !isRefused(err) {
			break
		}
		if n > 0 {
			_, _ = s.WriteToUDPAddrPort(buf[:n], client)
		}
	}
	r.mu.Lock()
	delete(r.flows, client)
	r.mu.Unlock()
	_ = flow.Close()
}

// isRefused reports whether the container's host said that nobody listens; a
// server may yet come.
func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }
