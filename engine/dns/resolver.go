package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"weft/engine/kernel"
	"weft/engine/nft"
)

// Addr is where containers ask, as in Docker.
func Addr() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 11}) }

const (
	port      = 53
	tableName = "weft-dns"
	// ttl of what is answered here, in seconds, Docker's.
	ttl = 600
	// maxForwards bounds the questions one container has put to other servers
	// at a time, as Docker does.
	maxForwards = 1024
	// idleTime ends a TCP connection nobody asks anything over.
	idleTime = 8 * time.Second
	// maxClients bounds the TCP connections of one container; more of them
	// wait to be accepted.
	maxClients = 256
	// settleTime bounds how long a name nobody knows yet is waited for: less
	// than the 5 s most clients wait before they ask again (resolv.conf(5)).
	settleTime = 3 * time.Second
	// queueSize is how many bytes of questions may wait, of which the kernel
	// counts 768 for a small one: 1,365, where the default is 277.
	queueSize = 1 << 20
)

// Upstream is a server that is asked for names not known here.
type Upstream struct {
	Addr netip.AddrPort
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// View is what a container may know, asked anew for every question.
type View interface {
	// Zones gives the zones of the networks the container is on, the first to
	// be looked in first.
	Zones() []*Zone
	// Upstreams gives who else is asked, in order. None: nobody, as on internal
	// networks.
	Upstreams() []Upstream
	// Ndots reports whether the container or the host has an ndots option of
	// its own in resolv.conf, so that its clients append search domains to
	// names without a dot.
	Ndots() bool
	// Settle waits until the zones say what the other nodes know, or ctx ends: a
	// new engine hears from them within a moment. It reports whether the zones
	// may say more than before.
	Settle(ctx context.Context) bool
}

// Resolver serves one sandbox from Start to Close.
type Resolver struct {
	view     View
	log      *slog.Logger
	name     string    // of the sandbox
	rules    *nft.Conn // nil: nothing leads to the sockets but their address
	forwards *semaphore.Weighted
	crowded  rate.Sometimes
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	servers  []*dns.Server
	done     sync.WaitGroup
}

// Start opens the sockets in the sandbox, and takes over from a resolver an
// earlier engine had there. Namespace and connection stay the caller's, who
// closes them after the resolver.
func Start(sandbox *kernel.Namespace, rules *nft.Conn, view View, log *slog.Logger) (*Resolver, error) {
	r := newResolver(sandbox, view, log)
	r.rules = rules
	udp, tcp, err := r.listen(sandbox, netip.AddrPortFrom(Addr(), 0))
	if err != nil {
		return nil, err
	}
	if err := r.redirect(udp, tcp); err != nil {
		r.cancel()
		return nil, errors.Join(err, udp.Close(), tcp.Close())
	}
	r.serveAt(udp, tcp)
	return r, nil
}

// StartAt serves at port 53 of addresses of the namespace, for clients outside
// of it.
func StartAt(ns *kernel.Namespace, addrs []netip.Addr, view View, log *slog.Logger) (*Resolver, error) {
	r := newResolver(ns, view, log)
	for _, a := range addrs {
		udp, tcp, err := r.listen(ns, netip.AddrPortFrom(a, port))
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.serveAt(udp, tcp)
	}
	return r, nil
}

func newResolver(ns *kernel.Namespace, view View, log *slog.Logger) *Resolver {
	r := &Resolver{
		view: view, log: log, name: ns.Path(),
		forwards: semaphore.NewWeighted(maxForwards), crowded: rate.Sometimes{Interval: crowdedEvery},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// serveAt answers at a pair of sockets from now on.
func (r *Resolver) serveAt(udp net.PacketConn, tcp net.Listener) {
	for _, s := range []*dns.Server{{PacketConn: udp}, {Listener: r.clients(tcp), IdleTimeout: func() time.Duration { return idleTime }}} {
		s.Handler = dns.HandlerFunc(r.serve)
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		r.servers = append(r.servers, s)
		r.done.Go(func() {
			if err := s.ActivateAndServe(); err != nil && r.ctx.Err() == nil {
				r.log.Error("resolver ended", "sandbox", r.name, "err", err)
			}
		})
		<-started
	}
}

// listen opens both sockets in the sandbox.
func (r *Resolver) listen(sandbox *kernel.Namespace, at netip.AddrPort) (udp net.PacketConn, tcp net.Listener, err error) {
	err = kernel.Do(sandbox, func() (err error) {
		lc := net.ListenConfig{Control: widen}
		if udp, err = lc.ListenPacket(r.ctx, "udp4", at.String()); err != nil {
			return err
		}
		if tcp, err = new(net.ListenConfig).Listen(r.ctx, "tcp4", at.String()); err != nil {
			return errors.Join(err, udp.Close())
		}
		return nil
	})
	if err != nil {
		r.cancel()
		return nil, nil, fmt.Errorf("open the resolver's sockets in %s: %w", r.name, err)
	}
	return udp, tcp, nil
}

// widen makes room for questions: as much as wanted or, without the right to,
// as the kernel allows. A smaller queue is no reason not to serve.
func widen(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queueSize/2) != nil { // the kernel doubles it
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, queueSize/2)
		}
	})
}

// redirect leads port 53 to the sockets.
func (r *Resolver) redirect(udp net.PacketConn, tcp net.Listener) error {
	rules := make([]nft.Rule, 0, 2)
	for _, s := range []struct {
		proto byte
		at    net.Addr
	}{{unix.IPPROTO_UDP, udp.LocalAddr()}, {unix.IPPROTO_TCP, tcp.Addr()}} {
		to, err := netip.ParseAddrPort(s.at.String())
		if err != nil {
			return fmt.Errorf("read the resolver's port: %w", err)
		}
		rules = append(rules, nft.When(nft.ToAddr(Addr()), nft.Transport(s.proto, port), nft.Redirect(to)))
	}
	return r.rules.Replace(nft.Table{Name: tableName, Chains: []nft.Chain{
		{Name: "ask", Kind: nft.NAT, Hook: nft.Output, Priority: nft.PriorityDstNAT, Rules: rules},
	}})
}

// Close ends the resolver. Its table goes with it.
func (r *Resolver) Close() error {
	r.cancel()
	var errs []error
	for _, s := range r.servers {
		errs = append(errs, s.Shutdown())
	}
	r.done.Wait()
	if r.rules != nil {
		errs = append(errs, r.rules.Delete(tableName))
	}
	return errors.Join(errs...)
}
