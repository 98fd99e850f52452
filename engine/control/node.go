package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/moby/swarmkit/v2/api"
)

// Node is this machine's membership in a swarm, or the lack of one. It is safe
// for concurrent use.
type Node struct {
	cfg Config

	control sync.Mutex // held by whoever changes the membership

	mu  sync.RWMutex // guards run
	run *runner      // nil outside a swarm
}

// New makes a node that is in no swarm yet; Start takes up a saved membership.
func New(cfg Config) (*Node, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Node{cfg: cfg}, nil
}

// Start takes up the membership found in the state directory, if there is one,
// and waits until the node is ready, at most as long as a join may take. A
// node that can't start, a locked one for example, is no error: Info tells it.
func (n *Node) Start(ctx context.Context) error {
	n.control.Lock()
	defer n.control.Unlock()
	if n.current() != nil {
		return errors.New("control: the node is started already")
	}
	conf, found, err := loadState(n.cfg.StateDir)
	if err != nil || !found {
		return err
	}
	r, err := startRunner(&n.cfg, conf)
	if err != nil {
		return fmt.Errorf("start swarm node: %w", err)
	}
	n.set(r)
	ctx, cancel := context.WithTimeout(ctx, n.cfg.JoinTimeout)
	defer cancel()
	if err := r.wait(ctx); err != nil {
		n.cfg.Log.ErrorContext(ctx, "swarm node is not ready", "err", err)
	}
	return nil
}

// Stop ends the node and takes its tasks down, as dockerd does when it stops.
// The membership stays; a later New and Start take it up again.
func (n *Node) Stop(ctx context.Context) error { return n.shutdown(ctx, false) }

// StopKeep ends the node and leaves its tasks and attachments as they are, for
// the next engine to adopt.
func (n *Node) StopKeep(ctx context.Context) error { return n.shutdown(ctx, true) }

func (n *Node) shutdown(ctx context.Context, keep bool) error {
	n.control.Lock()
	defer n.control.Unlock()
	r := n.current()
	if r == nil {
		return nil
	}
	if err := r.stop(ctx, keep); err != nil {
		return err
	}
	n.set(nil)
	return nil
}

func (n *Node) current() *runner {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.run
}

func (n *Node) set(r *runner) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.run = r
}

// NodeID gives this node's ID, or "" outside a swarm.
func (n *Node) NodeID() string { return n.current().view().nodeID() }

// Membership gives this node's place in its swarm; false before it is known.
func (n *Node) Membership() (Membership, bool) {
	v := n.current().view()
	if v.exec == nil {
		return Membership{}, false
	}
	return v.exec.membership()
}

// Managers gives the addresses of other members of the swarm, those of its
// managers first: where gossip can be joined. A worker knows managers only.
func (n *Node) Managers() []netip.Addr {
	v := n.current().view()
	if v.node == nil {
		return nil
	}
	own := v.nodeID()
	list := addrList{}
	for _, p := range v.node.Remotes() {
		if p.NodeID != own {
			list.add(p.Addr)
		}
	}
	if v.conn == nil {
		return list.addrs
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	nodes, err := listNodes(ctx, api.NewControlClient(v.conn), nil)
	if err != nil {
		n.cfg.Log.Warn("members of the swarm are not known", "err", err)
	}
	for _, m := range nodes {
		if m.ID != own && m.ManagerStatus != nil {
			list.add(m.ManagerStatus.Addr)
		}
	}
	for _, m := range nodes {
		if m.ID != own {
			list.add(m.Status.Addr)
		}
	}
	return list.addrs
}

// addrList collects distinct addresses in order.
type addrList struct{ addrs []netip.Addr }

// add takes an address with or without a port; what is neither is left out.
func (l *addrList) add(s string) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.IsUnspecified() {
		return
	}
	for _, have := range l.addrs {
		if have == a {
			return
		}
	}
	l.addrs = append(l.addrs, a)
}
