package network

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

const ingressWarning = "WARNING! Before removing the routing-mesh network, " +
	"make sure all the nodes in your swarm run the same docker engine version. " +
	"Otherwise, removal may not be effective and functionality of newly create " +
	"ingress networks will be impaired.\nAre you sure you want to continue?"

type removeOptions struct {
	names []string
	force bool
}

type remover interface {
	inspector
	NetworkRemove(ctx context.Context, name string) error
}

func newRemove(env *cmdenv.Env, hook func(*removeOptions) error) *cobra.Command {
	o := &removeOptions{}
	cmd := &cobra.Command{
		Use:     "rm NETWORK [NETWORK...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more networks",
		Args:    cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.names = args
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRemove(cmd.Context(), env, api, o)
		},
		ValidArgsFunction: complete.Networks(env),
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Do not error if the network does not exist")
	return cmd
}

// runRemove removes what it can: a network that stays is reported at once and
// decides the exit code at the end. Removing the ingress network is confirmed,
// whatever --force says, and "no" leaves it without an error.
func runRemove(ctx context.Context, env *cmdenv.Env, api remover, o *removeOptions) error {
	failed := false
	for _, name := range o.names {
		n, _, err := api.NetworkInspectWithRaw(ctx, name, network.InspectOptions{})
		if err == nil && n.Ingress {
			yes, err := env.Confirm(ctx, ingressWarning)
			if err != nil {
				return err
			}
			if !yes {
				continue
			}
		}
		err = api.NetworkRemove(ctx, name)
		switch {
		case err == nil:
			fmt.Fprintln(env.Out, name)
		case o.force && errdefs.IsNotFound(err):
		default:
			fmt.Fprintln(env.Err, err)
			failed = true
		}
	}
	if failed {
		return cmdenv.StatusError{Code: 1, Status: "exit status 1"} // Docker prints this line too
	}
	return nil
}
