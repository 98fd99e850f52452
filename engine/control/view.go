package control

import (
	"errors"

	"github.com/docker/docker/api/types/swarm"
	swarmnode "github.com/moby/swarmkit/v2/node"
	"google.golang.org/grpc"
)

// view is what the rest of the package sees of a runner at one moment. The
// view of no runner is that of a node outside any swarm.
type view struct {
	status    swarm.LocalNodeState
	node      *swarmnode.Node // nil between attempts, and while the node is stopped
	id        string
	exec      *executor
	conn      *grpc.ClientConn
	conf      startConfig
	localAddr string
	err       error
}

func (r *runner) view() view {
	if r == nil {
		return view{status: swarm.LocalNodeStateInactive}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := view{
		status: swarm.LocalNodeStatePending, node: r.node, id: r.id, exec: r.exec, conn: r.conn,
		conf: r.conf, localAddr: r.localAddr, err: r.err,
	}
	if r.stopping {
		// SwarmKit's node holds its lock while its tasks are removed: whoever
		// asked it for anything would wait for them, the host included.
		v.node = nil
	}
	switch {
	case errors.Is(r.err, errLocked):
		v.status = swarm.LocalNodeStateLocked
	case r.err != nil:
		v.status = swarm.LocalNodeStateError
	case r.refused != nil:
		v.status, v.err = swarm.LocalNodeStateError, r.refused
	case r.ready:
		v.status = swarm.LocalNodeStateActive
	}
	return v
}

func (v view) isManager() bool { return v.node != nil && v.node.Manager() != nil }

func (v view) nodeID() string {
	if v.id != "" || v.node == nil {
		return v.id
	}
	return v.node.NodeID()
}

// noManager says why this node can't serve a request to a manager.
func (v view) noManager() error {
	switch {
	case v.node == nil && errors.Is(v.err, errLocked):
		return errLocked
	case v.node == nil:
		return errOutside
	case v.isManager():
		return errPreparing
	default:
		return errWorker
	}
}
