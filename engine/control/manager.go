package control

import (
	"context"
	"math"

	"github.com/moby/swarmkit/v2/api"
	"google.golang.org/grpc"
)

// ask calls fn with a client of this node's own manager, bounded in time, and
// gives its error a class. Without a manager it fails in Docker's words.
func (n *Node) ask(ctx context.Context, fn func(ctx context.Context, c api.ControlClient) error) error {
	v := n.current().view()
	if v.conn == nil {
		return v.noManager()
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return classify(fn(ctx, api.NewControlClient(v.conn)))
}

// wholeList lifts gRPC's limit on the size of a list.
func wholeList() grpc.CallOption { return grpc.MaxCallRecvMsgSize(math.MaxInt32) }
