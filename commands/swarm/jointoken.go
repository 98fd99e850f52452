package swarm

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

type joinTokenOptions struct {
	role   string
	rotate bool
	quiet  bool
}

func newJoinToken(env *cmdenv.Env, hook func(*joinTokenOptions) error) *cobra.Command {
	o := &joinTokenOptions{}
	cmd := &cobra.Command{
		Use:   "join-token [OPTIONS] (worker|manager)",
		Short: "Manage join tokens",
		Args:  cmdenv.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.role = args[0]
			if o.role != "worker" && o.role != "manager" {
				return errors.New("unknown role " + o.role)
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runJoinToken(cmd.Context(), api, printer{env.Out, cmd.Root().Name()}, o)
		},
		ValidArgsFunction: complete.Words("worker", "manager"),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.rotate, "rotate", false, "Rotate join token")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only display token")
	return cmd
}

func runJoinToken(ctx context.Context, api clusterAPI, p printer, o *joinTokenOptions) error {
	if o.rotate {
		s, err := api.SwarmInspect(ctx)
		if err != nil {
			return err
		}
		flags := swarm.UpdateFlags{RotateWorkerToken: o.role == "worker", RotateManagerToken: o.role == "manager"}
		if err := api.SwarmUpdate(ctx, s.Version, s.Spec, flags); err != nil {
			return err
		}
		if !o.quiet {
			fmt.Fprintf(p.out, "Successfully rotated %s join token.\n\n", o.role)
		}
	}
	s, err := api.SwarmInspect(ctx)
	if err != nil {
		return err
	}
	if o.quiet {
		fmt.Fprintln(p.out, token(s, o.role))
		return nil
	}
	info, err := api.Info(ctx)
	if err != nil {
		return err
	}
	return p.joinCommands(ctx, api, info.Swarm.NodeID, o.role)
}
