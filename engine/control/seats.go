package control

import (
	"context"
	"time"

	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// outOfSequence is what SwarmKit's store says of an update that comes too late
// (manager/state/store/memory.go, ErrSequenceConflict), without a code of its own.
const outOfSequence = "update out of sequence"

// seatNodes sees to it, where this node is a manager, that every node of the
// swarm gets its place in a new ingress network, until ctx ends. SwarmKit gives
// places when a leader takes over, when a node changes and when it gets a task:
// of a network that took the place of another one, idle nodes would stay out.
func (r *runner) seatNodes(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		conn, changed := r.conn, r.changed
		r.mu.Unlock()
		if conn == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		err := seatOnChange(ctx, conn)
		r.cfg.Log.DebugContext(ctx, "watch of the ingress network ended", "err", err)
		pause(ctx, rewatch)
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// seatOnChange acts on each ingress network that gets its addresses.
func seatOnChange(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := api.NewWatchClient(conn).Watch(ctx, &api.WatchRequest{Entries: []*api.WatchRequest_WatchEntry{{
		Kind: "network", Action: api.WatchActionKindCreate | api.WatchActionKindUpdate,
	}}})
	if err != nil {
		return err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, ev := range msg.Events {
			n := ev.Object.GetNetwork()
			if n == nil || !convert.IsIngressNetwork(n) || n.DriverState == nil {
				continue
			}
			if err := seatAll(ctx, api.NewControlClient(conn), n.ID); err != nil {
				return err
			}
		}
	}
}

// seatAll updates the nodes that have no place in the network with what they
// are already: SwarmKit's allocator then looks at them.
func seatAll(ctx context.Context, c api.ControlClient, networkID string) error {
	nodes, err := listNodes(ctx, c, nil)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if na := ingressOf(n); na != nil && na.Network.ID == networkID {
			continue
		}
		_, err := c.UpdateNode(ctx, &api.UpdateNodeRequest{NodeID: n.ID, NodeVersion: &n.Meta.Version, Spec: &n.Spec})
		if err != nil && status.Convert(err).Message() != outOfSequence { // it has changed meanwhile: as good
			return err
		}
	}
	return nil
}
