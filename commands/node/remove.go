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

type removeOptions struct {
	nodes []string
	force bool
}

type remover interface {
	NodeRemove(ctx context.Context, nodeID string, options swarm.NodeRemoveOptions) error
}

func newRemove(env *cmdenv.Env, hook func(*removeOptions) error) *cobra.Command {
	o := &removeOptions{}
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] NODE [NODE...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more nodes from the swarm",
		Args:    cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.nodes = args
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRemove(cmd.Context(), api, env.Out, o)
		},
		ValidArgsFunction: complete.Nodes(env),
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Force remove a node from the swarm")
	return cmd
}

func runRemove(ctx context.Context, api remover, out io.Writer, o *removeOptions) error {
	var errs []error
	for _, ref := range o.nodes {
		if err := api.NodeRemove(ctx, ref, swarm.NodeRemoveOptions{Force: o.force}); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(out, ref)
	}
	return errors.Join(errs...)
}
