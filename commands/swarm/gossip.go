package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/system"

	"weft/commands/cmdenv"
)

// A node that cannot bind its gossip port joins its swarm all the same, and
// dockerd says so in its log only: names and overlay networks do not work
// then. gossipWait is how long the port may take to answer after init or join.
const (
	gossipPort = "7946"
	gossipWait = 3 * time.Second
	gossipPoll = 50 * time.Millisecond
)

type infoer interface {
	Info(ctx context.Context) (system.Info, error)
}

// warnDeaf says on Err if this node has no gossip port. It keeps silent where
// that cannot be told from here: with an engine on another machine or in
// another network namespace, and with loopback addresses, which are everywhere.
func warnDeaf(ctx context.Context, env *cmdenv.Env, api infoer) {
	probe := proberFor(ctx, env)
	if probe == nil {
		return
	}
	info, err := api.Info(ctx)
	if err != nil || !isOwn(info.Swarm.NodeAddr) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, gossipWait)
	defer cancel()
	reportDeaf(ctx, env.Err, net.JoinHostPort(info.Swarm.NodeAddr, gossipPort), probe)
}

// reportDeaf polls until the port answers or ctx ends. Only a port that refused
// to the end is reported: one that keeps silent may be filtered.
func reportDeaf(ctx context.Context, out io.Writer, addr string, probe prober) {
	tick := time.NewTicker(gossipPoll)
	defer tick.Stop()
	for errors.Is(probe(ctx, addr), syscall.ECONNREFUSED) {
		select {
		case <-tick.C:
			if ctx.Err() == nil {
				continue
			}
		case <-ctx.Done():
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			fmt.Fprintf(out, "WARNING: this node is in the swarm, but nothing answers at %s/tcp: the engine could not bind its gossip port,\n"+
				"%s/tcp and udp. Overlay networks and names will not work here until it can. `ss -lntup 'sport = :%s'` shows\n"+
				"who holds the port, the engine's log shows why it failed; then leave the swarm and join again.\n", addr, gossipPort, gossipPort)
		}
		return
	}
}

// isOwn reports whether an address is one of this network namespace's, other
// than a loopback one.
func isOwn(address string) bool {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.IsLoopback() {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == addr.Unmap() {
			return true
		}
	}
	return false
}
