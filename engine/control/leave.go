package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
)

// Leave takes this node out of its swarm and wipes the membership.
func (n *Node) Leave(ctx context.Context, force bool) error {
	n.control.Lock()
	defer n.control.Unlock()
	r := n.current()
	if r == nil {
		return errNoSwarm
	}
	v := r.view()
	if !force {
		if err := n.mayLeave(ctx, v); err != nil {
			return err
		}
	}
	if err := r.stop(ctx, false); err != nil {
		return err
	}
	n.set(nil)
	if err := wipeState(n.cfg.StateDir); err != nil {
		return err
	}
	return n.cfg.Host.Left(ctx)
}

// mayLeave refuses a leave that would hurt the swarm, as dockerd does.
func (n *Node) mayLeave(ctx context.Context, v view) error {
	if errors.Is(v.err, errLocked) {
		return errLockedLeave
	}
	if !v.isManager() {
		return nil
	}
	msg := "You are attempting to leave the swarm on a node that is participating as a manager. "
	if v.conn == nil {
		msg += "Doing so may lose the consensus of your cluster. "
	} else {
		active, reachable, unreachable, err := managerStats(ctx, api.NewControlClient(v.conn), v.nodeID())
		switch {
		case err != nil:
			n.cfg.Log.WarnContext(ctx, "managers of the swarm are not known", "err", err)
		case active && reachable == 1 && unreachable == 0:
			return fault.Unavailable("%sRemoving the last manager erases all current state of the swarm. Use `--force` to ignore this message. ", msg)
		case active && reachable-2 <= unreachable:
			msg += fmt.Sprintf("Removing this node leaves %v managers out of %v. Without a Raft quorum your swarm will be inaccessible. ", reachable-1, reachable+unreachable)
		}
	}
	return fault.Unavailable("%sThe only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.", msg)
}

// managerStats counts managers; active says that this node is a reachable one.
func managerStats(ctx context.Context, c api.ControlClient, self string) (active bool, reachable, unreachable int, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout/4)
	defer cancel()
	nodes, err := listNodes(ctx, c, nil)
	for _, m := range nodes {
		if m.ManagerStatus == nil {
			continue
		}
		switch m.ManagerStatus.Reachability {
		case api.RaftMemberStatus_REACHABLE:
			reachable++
			active = active || m.ID == self
		case api.RaftMemberStatus_UNREACHABLE:
			unreachable++
		case api.RaftMemberStatus_UNKNOWN:
		}
	}
	return active, reachable, unreachable, err
}
