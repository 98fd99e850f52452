// Package node holds `weft node`: the nodes of the swarm, as its managers know
// them. Each verb has a file of its own.
package node

import (
	"context"
	"errors"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// New makes `weft node` and its verbs.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:         "node",
		Short:       "Manage Swarm nodes",
		Args:        cmdenv.NoArgs,
		RunE:        env.ShowHelp,
		Annotations: map[string]string{cmdenv.SwarmAnnotation: ""},
	}
	cmd.AddCommand(
		newDemote(env),
		newInspect(env, nil),
		newList(env, nil),
		newPromote(env),
		newRemove(env, nil),
		newPs(env, nil),
		newUpdate(env, nil),
	)
	return cmd
}

// self is how the node that answers is called on the command line.
const self = "self"

type infoer interface {
	Info(ctx context.Context) (system.Info, error)
}

type lister interface {
	infoer
	NodeList(ctx context.Context, options swarm.NodeListOptions) ([]swarm.Node, error)
}

type inspector interface {
	lister
	NodeInspectWithRaw(ctx context.Context, nodeID string) (swarm.Node, []byte, error)
}

// resolveSelf gives the ID of the node that answers in place of "self".
func resolveSelf(ctx context.Context, api lister, ref string) (string, error) {
	if ref != self {
		return ref, nil
	}
	info, err := api.Info(ctx)
	if err != nil {
		return "", err
	}
	if info.Swarm.NodeID != "" {
		return info.Swarm.NodeID, nil
	}
	// A request for managers only says best why there is no ID.
	if _, err := api.NodeList(ctx, swarm.NodeListOptions{}); err != nil {
		return "", err
	}
	return "", errors.New("node ID not found in /info")
}
