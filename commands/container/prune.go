package container

import (
	"context"
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

const pruneWarning = `WARNING! This will remove all stopped containers.
Are you sure you want to continue?`

type pruneOptions struct {
	force  bool
	filter opts.FilterOpt
}

type pruner interface {
	ContainersPrune(ctx context.Context, filter filters.Args) (container.PruneReport, error)
}

func newPrune(env *cmdenv.Env) *cobra.Command {
	o := &pruneOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove all stopped containers",
		Args:              cmdenv.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runPrune(cmd.Context(), env, func() (pruner, error) { return env.Client(cmd.Context()) }, o)
		},
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	cmd.Flags().Var(&o.filter, "filter", `Provide filter values (e.g. "until=<timestamp>")`)
	return cmd
}

// runPrune asks before it connects.
func runPrune(ctx context.Context, env *cmdenv.Env, connect func() (pruner, error), o *pruneOptions) error {
	if !o.force {
		yes, err := env.Confirm(ctx, pruneWarning)
		if err != nil {
			return err
		}
		if !yes {
			return cmdenv.Cancelled("container prune has been cancelled")
		}
	}
	api, err := connect()
	if err != nil {
		return err
	}
	deleted, err := api.ContainersPrune(ctx, env.PruneFilters(o.filter.Value()))
	if err != nil {
		return err
	}
	if len(deleted.ContainersDeleted) == 0 {
		deleted.SpaceReclaimed = 0
	} else {
		fmt.Fprintln(env.Out, "Deleted Containers:")
		for _, id := range deleted.ContainersDeleted {
			fmt.Fprintln(env.Out, id)
		}
		fmt.Fprintln(env.Out)
	}
	fmt.Fprintln(env.Out, "Total reclaimed space:", units.HumanSize(float64(deleted.SpaceReclaimed)))
	return nil
}
