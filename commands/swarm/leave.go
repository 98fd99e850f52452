package swarm

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type leaveOptions struct{ force bool }

type leaver interface {
	SwarmLeave(ctx context.Context, force bool) error
}

func newLeave(env *cmdenv.Env, hook func(*leaveOptions) error) *cobra.Command {
	o := &leaveOptions{}
	cmd := &cobra.Command{
		Use:   "leave [OPTIONS]",
		Short: "Leave the swarm",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runLeave(cmd.Context(), api, env.Out, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Force this node to leave the swarm, ignoring warnings")
	return cmd
}

func runLeave(ctx context.Context, api leaver, out io.Writer, o *leaveOptions) error {
	if err := api.SwarmLeave(ctx, o.force); err != nil {
		return err
	}
	fmt.Fprintln(out, "Node left the swarm.")
	return nil
}
