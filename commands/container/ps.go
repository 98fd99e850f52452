package container

import (
	"context"
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

// psOptions are the flags of `ps`.
type psOptions struct {
	quiet   bool
	size    *bool // nil: not said
	all     bool
	noTrunc bool
	latest  bool
	last    int
	format  string
	filter  opts.FilterOpt
}

// Lister lists containers.
type Lister interface {
	ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error)
}

// NewPs gives the `ps` command.
func NewPs(env *cmdenv.Env) *cobra.Command { return newPsCommand(env, nil) }

func newPsCommand(env *cmdenv.Env, hook func(*psOptions) error) *cobra.Command {
	o := &psOptions{filter: opts.NewFilterOpt()}
	var size bool
	cmd := &cobra.Command{
		Use:               "ps [OPTIONS]",
		Short:             "List containers",
		Args:              cmdenv.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		Annotations:       common("3", cmdenv.AlsoKnownAs("container ls", "container list", "container ps", "ps")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("size") {
				o.size = &size
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runPs(cmd.Context(), env, api, o)
		},
	}
	set := cmd.Flags()
	set.BoolVarP(&o.quiet, "quiet", "q", false, "Only display container IDs")
	set.BoolVarP(&size, "size", "s", false, "Display total file sizes")
	set.BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	set.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	set.BoolVarP(&o.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	set.IntVarP(&o.last, "last", "n", -1, "Show n last created containers (includes all states)")
	set.StringVar(&o.format, "format", "", render.FormatHelp)
	set.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	return cmd
}

func runPs(ctx context.Context, env *cmdenv.Env, api Lister, o *psOptions) error {
	format := o.format
	switch {
	case format == "":
		format = env.Config().ContainersFormat
	case o.quiet:
		fmt.Fprintln(env.Err, "WARNING: Ignoring custom format, because both --format and --quiet are set.")
		format = ""
	}
	request := o.request(format)
	containers, err := api.ContainerList(ctx, request)
	if err != nil {
		return err
	}
	rows := make([]row, 0, len(containers))
	for _, c := range containers {
		rows = append(rows, newRow(c, o.noTrunc, env.Now()))
	}
	return list(request.Size).Write(env.Out, format, o.quiet, rows)
}

// request asks for sizes, which cost the daemon much, only if they are shown.
func (o *psOptions) request(format string) container.ListOptions {
	r := container.ListOptions{All: o.all, Limit: o.last, Filters: o.filter.Value()}
	switch {
	case o.size != nil:
		r.Size = *o.size
	case !o.quiet:
		r.Size = showsSize(format)
	}
	if o.latest && o.last == -1 {
		r.Limit = 1
	}
	return r
}
