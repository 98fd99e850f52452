package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/ca"
	"github.com/moby/swarmkit/v2/connectionbroker"
	"github.com/moby/swarmkit/v2/remotes"

	"weft/engine/fault"
)

// dialTimeout bounds the look whether a manager answers at all.
const dialTimeout = 5 * time.Second

// Join makes this node a member of the swarm of one of req.RemoteAddrs, the
// first that answers. What can be known to fail is refused before anything is
// made, and a failed Join leaves nothing behind; one that takes too long goes
// on in the background.
func (n *Node) Join(ctx context.Context, req swarm.JoinRequest) error {
	n.control.Lock()
	defer n.control.Unlock()
	if n.current() != nil {
		return errSwarmExists
	}
	conf, err := n.joinConfig(ctx, req)
	if err != nil {
		return err
	}
	if err := n.check(ctx, conf); err != nil {
		return err
	}
	r, err := startRunner(&n.cfg, conf)
	if err != nil {
		return undone(err, wipeState(n.cfg.StateDir))
	}
	n.set(r)
	waitCtx, cancel := context.WithTimeout(ctx, n.cfg.JoinTimeout)
	defer cancel()
	err = r.wait(waitCtx)
	if err == nil {
		err = r.hostUp(waitCtx)
	}
	if err == nil {
		return nil
	}
	if waitCtx.Err() != nil {
		n.cfg.Log.WarnContext(ctx, "joining the swarm goes on in the background", "err", err)
		return errJoinTimeout
	}
	return undone(classify(err), n.forget(ctx, r, false))
}

func (n *Node) joinConfig(ctx context.Context, req swarm.JoinRequest) (startConfig, error) {
	var none startConfig
	addr, err := withPort(req.ListenAddr)
	if err != nil {
		return none, fault.Invalid("invalid ListenAddr %q: %w", req.ListenAddr, err)
	}
	listen, err := resolveListen(addr)
	if err != nil {
		return none, err
	}
	advertise := ""
	if req.AdvertiseAddr != "" || n.cfg.DefaultAdvertiseAddr != "" {
		a, err := n.resolveAdvertise(req.AdvertiseAddr, listen.Port())
		if err != nil {
			return none, err
		}
		advertise = a.String()
	}
	dataPath, err := n.resolveDataPath(req.DataPathAddr)
	if err != nil {
		return none, err
	}
	token, err := ca.ParseJoinToken(req.JoinToken)
	if err != nil {
		if !strings.Contains(err.Error(), "join token") { // SwarmKit tells what of it is wrong, or that it is one
			err = fmt.Errorf("invalid join token: %w", err)
		}
		return none, fault.Invalid("%w", err)
	}
	remote, err := reachable(ctx, req.RemoteAddrs, listen)
	if err != nil {
		return none, err
	}
	// A worker needs this port as soon as it is promoted, and would fall out
	// of the swarm then.
	if err := checkListen(listen); err != nil {
		return none, err
	}
	if err := sameSwarm(ctx, remote, token); err != nil {
		return none, err
	}
	return startConfig{
		RemoteAddr: remote, ListenAddr: listen.String(), AdvertiseAddr: advertise, DataPathAddr: dataPath,
		joinAddr: remote, joinToken: req.JoinToken, availability: req.Availability,
	}, nil
}

// reachable gives the first of the managers' addresses that accepts a
// connection.
func reachable(ctx context.Context, addrs []string, listen netip.AddrPort) (string, error) {
	if len(addrs) == 0 {
		return "", fault.Invalid("at least 1 RemoteAddr is required to join")
	}
	var failed []error
	for _, a := range addrs {
		remote, err := withPort(a)
		if err != nil {
			return "", fault.Invalid("invalid remoteAddr %q: %w", a, err)
		}
		if isSelf(remote, listen) {
			failed = append(failed, fault.Invalid("%s is the address of this node itself: give the address of a manager of the swarm to join", remote))
			continue
		}
		if err := dial(ctx, remote); err != nil {
			failed = append(failed, err)
			continue
		}
		return remote, nil
	}
	if len(failed) == 1 {
		return "", failed[0]
	}
	return "", fault.Unavailable("%w", errors.Join(failed...))
}

func dial(ctx context.Context, remote string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", remote)
	if err != nil {
		_, port, _ := net.SplitHostPort(remote)
		return fault.Unavailable("no manager answers at %s: %w: check the address, that a manager runs there, and that port %s/tcp is open from this node to it", remote, err, port)
	}
	return c.Close()
}

// isSelf reports whether remote is where this node itself would listen.
func isSelf(remote string, listen netip.AddrPort) bool {
	r, err := netip.ParseAddrPort(remote)
	if err != nil || r.Port() != listen.Port() {
		return false
	}
	if listen.Addr().IsUnspecified() {
		return isLocal(r.Addr().Unmap()) && checkListen(listen) == nil
	}
	return r.Addr().Unmap() == listen.Addr()
}

// sameSwarm asks the manager for its root certificate and compares it with the
// token's: SwarmKit would repeat the question for ten seconds.
func sameSwarm(ctx context.Context, remote string, token *ca.ParsedJoinToken) error {
	broker := connectionbroker.New(remotes.NewRemotes(api.Peer{Addr: remote}))
	if _, err := ca.GetRemoteCA(ctx, token.RootDigest, broker); err != nil {
		return fault.Unavailable("could not join the swarm of %s: %w: check that a swarm manager listens there, and that the join token is its own (\"docker swarm join-token\" on a manager prints it)", remote, err)
	}
	return nil
}
