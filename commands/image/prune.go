package image

import (
	"context"
	"fmt"
	"strconv"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type pruneOptions struct {
	all    bool
	force  bool
	filter opts.FilterOpt
}

type pruner interface {
	ImagesPrune(ctx context.Context, filter filters.Args) (image.PruneReport, error)
}

func newPrune(env *cmdenv.Env) *cobra.Command {
	o := &pruneOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused images",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runPrune(cmd.Context(), env, api, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	flags.BoolVarP(&o.all, "all", "a", false, "Remove all unused images, not just dangling ones")
	flags.Var(&o.filter, "filter", `Provide filter values (e.g. "until=<timestamp>")`)
	return cmd
}

func runPrune(ctx context.Context, env *cmdenv.Env, api pruner, o *pruneOptions) error {
	warning := "WARNING! This will remove all dangling images.\nAre you sure you want to continue?"
	if o.all {
		warning = "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?"
	}
	if !o.force {
		yes, err := env.Confirm(ctx, warning)
		if err != nil || !yes {
			return err
		}
	}
	filter := env.PruneFilters(o.filter.Value())
	filter.Add("dangling", strconv.FormatBool(!o.all))
	report, err := api.ImagesPrune(ctx, filter)
	if err != nil {
		return err
	}
	if len(report.ImagesDeleted) > 0 {
		fmt.Fprintln(env.Out, "Deleted Images:")
		for _, g := range report.ImagesDeleted {
			if g.Deleted != "" {
				fmt.Fprintln(env.Out, "deleted:", g.Deleted)
			} else {
				fmt.Fprintln(env.Out, "untagged:", g.Untagged)
			}
		}
		fmt.Fprintln(env.Out)
	}
	fmt.Fprintln(env.Out, "Total reclaimed space:", units.HumanSize(float64(report.SpaceReclaimed)))
	return nil
}
