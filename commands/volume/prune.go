package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// anonymousOnly is the version of the API from which on a prune without
// `all` leaves volumes with a name alone.
const anonymousOnly = "1.42"

type pruneOptions struct {
	all    bool
	force  bool
	filter opts.FilterOpt
}

type pruner interface {
	ClientVersion() string
	VolumesPrune(ctx context.Context, filter filters.Args) (volume.PruneReport, error)
}

func newPrune(env *cmdenv.Env) *cobra.Command {
	o := &pruneOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused local volumes",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			if err := cmdenv.CheckSince(cmd.Flags(), api.ClientVersion()); err != nil {
				return err
			}
			return runPrune(cmd.Context(), env, api, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all", "a", false, "Remove all unused volumes, not just anonymous ones")
	flags.BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	flags.Var(&o.filter, "filter", `Provide filter values (e.g. "label=<label>")`)
	cmdenv.Since(flags, anonymousOnly, "all")
	return cmd
}

func runPrune(ctx context.Context, env *cmdenv.Env, api pruner, o *pruneOptions) error {
	filter := env.PruneFilters(o.filter.Value())
	what := "anonymous local volumes"
	if o.all && filter.Contains("all") {
		return errors.New("conflicting options: cannot specify both --all and --filter all=1")
	}
	if o.all {
		filter.Add("all", "true")
	}
	if o.all || versions.LessThan(api.ClientVersion(), anonymousOnly) {
		what = "all local volumes"
	}
	if !o.force {
		yes, err := env.Confirm(ctx, "WARNING! This will remove "+what+" not used by at least one container.\nAre you sure you want to continue?")
		if err != nil {
			return err
		}
		if !yes {
			return cmdenv.Cancelled("volume prune has been cancelled")
		}
	}
	report, err := api.VolumesPrune(ctx, filter)
	if err != nil {
		return err
	}
	if len(report.VolumesDeleted) > 0 {
		fmt.Fprintln(env.Out, "Deleted Volumes:")
		for _, name := range report.VolumesDeleted {
			fmt.Fprintln(env.Out, name)
		}
		fmt.Fprintln(env.Out)
	} else {
		report.SpaceReclaimed = 0
	}
	fmt.Fprintln(env.Out, "Total reclaimed space:", units.HumanSize(float64(report.SpaceReclaimed)))
	return nil
}
