package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// roleChange is what promote and demote differ in.
type roleChange struct {
	role    swarm.NodeRole
	already string // of the node's ID
	done    string // of the node as it was named
}

func newPromote(env *cmdenv.Env) *cobra.Command {
	return newRoleCommand(env, "promote", "Promote one or more nodes to manager in the swarm", roleChange{
		role:    swarm.NodeRoleManager,
		already: "Node %s is already a manager.\n",
		done:    "Node %s promoted to a manager in the swarm.\n",
	})
}

func newDemote(env *cmdenv.Env) *cobra.Command {
	return newRoleCommand(env, "demote", "Demote one or more nodes from manager in the swarm", roleChange{
		role:    swarm.NodeRoleWorker,
		already: "Node %s is already a worker.\n",
		done:    "Manager %s demoted in the swarm.\n",
	})
}

func newRoleCommand(env *cmdenv.Env, verb, short string, to roleChange) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NODE [NODE...]",
		Short: short,
		Args:  cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRoleChange(cmd.Context(), api, env.Out, args, to)
		},
		ValidArgsFunction: complete.Nodes(env),
	}
}

// runRoleChange stops at the first node that cannot be changed.
func runRoleChange(ctx context.Context, api updater, out io.Writer, nodes []string, to roleChange) error {
	for _, ref := range nodes {
		err := change(ctx, api, ref, func(n *swarm.Node) error {
			if n.Spec.Role == to.role {
				fmt.Fprintf(out, to.already, n.ID)
				return errUnchanged
			}
			n.Spec.Role = to.role
			return nil
		})
		switch {
		case err == nil:
			fmt.Fprintf(out, to.done, ref)
		case !errors.Is(err, errUnchanged):
			return err
		}
	}
	return nil
}
