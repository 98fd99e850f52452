package network

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

const pruneWarning = `WARNING! This will remove all custom networks not used by at least one container.
Are you sure you want to continue?`

type pruneOptions struct {
	force  bool
	filter opts.FilterOpt
}

type pruner interface {
	NetworksPrune(ctx context.Context, pruneFilters filters.Args) (network.PruneReport, error)
}

func newPrune(env *cmdenv.Env, hook func(*pruneOptions) error) *cobra.Command {
	o := &pruneOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all unused networks",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			return runPrune(cmd.Context(), env, func() (pruner, error) { return env.Client(cmd.Context()) }, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	flags.Var(&o.filter, "filter", `Provide filter values (e.g. "until=<timestamp>")`)
	return cmd
}

// runPrune asks before it connects, as Docker does.
func runPrune(ctx context.Context, env *cmdenv.Env, connect func() (pruner, error), o *pruneOptions) error {
	if !o.force {
		yes, err := env.Confirm(ctx, pruneWarning)
		if err != nil {
			return err
		}
		if !yes {
			return cmdenv.Cancelled("network prune has been cancelled")
		}
	}
	api, err := connect()
	if err != nil {
		return err
	}
	report, err := api.NetworksPrune(ctx, env.PruneFilters(o.filter.Value()))
	if err != nil {
		return err
	}
	if len(report.NetworksDeleted) > 0 {
		fmt.Fprintf(env.Out, "Deleted Networks:\n%s\n\n", strings.Join(report.NetworksDeleted, "\n"))
	}
	return nil
}
