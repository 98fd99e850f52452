package control

import (
	"context"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
)

// Nodes lists the swarm's nodes with Docker's node filters.
func (n *Node) Nodes(ctx context.Context, f filters.Args) ([]swarm.Node, error) {
	out := []swarm.Node{}
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		conv, err := nodeFilters(f)
		if err != nil {
			return err
		}
		nodes, err := listNodes(ctx, c, conv)
		for _, m := range nodes {
			out = append(out, convert.NodeFromGRPC(*m))
		}
		return err
	})
	return out, err
}

// Node gives the node with this ID, name or prefix of an ID.
func (n *Node) Node(ctx context.Context, idOrName string) (swarm.Node, error) {
	var out swarm.Node
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		m, err := findNode(ctx, c, idOrName)
		if err == nil {
			out = convert.NodeFromGRPC(*m)
		}
		return err
	})
	return out, err
}

// UpdateNode replaces a node's spec: labels, role and availability.
func (n *Node) UpdateNode(ctx context.Context, idOrName string, version uint64, spec swarm.NodeSpec) error {
	return n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		conv, err := convert.NodeSpecToGRPC(spec)
		if err != nil {
			return fault.Invalid("%w", err)
		}
		m, err := findNode(ctx, c, idOrName)
		if err != nil {
			return err
		}
		_, err = c.UpdateNode(ctx, &api.UpdateNodeRequest{
			NodeID: m.ID, Spec: &conv, NodeVersion: &api.Version{Index: version},
		})
		return err
	})
}

// RemoveNode removes a node that is down, or with force one that is not.
func (n *Node) RemoveNode(ctx context.Context, idOrName string, force bool) error {
	return n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		m, err := findNode(ctx, c, idOrName)
		if err != nil {
			return err
		}
		_, err = c.RemoveNode(ctx, &api.RemoveNodeRequest{NodeID: m.ID, Force: force})
		return err
	})
}
