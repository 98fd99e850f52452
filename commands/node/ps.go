package node

import (
	"context"
	"errors"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/task"
)

type psOptions struct {
	nodes     []string
	noResolve bool
	noTrunc   bool
	quiet     bool
	format    string
	filter    opts.FilterOpt
}

type taskLister interface {
	inspector
	ServiceInspectWithRaw(ctx context.Context, serviceID string, options swarm.ServiceInspectOptions) (swarm.Service, []byte, error)
	TaskList(ctx context.Context, options swarm.TaskListOptions) ([]swarm.Task, error)
}

func newPs(env *cmdenv.Env, hook func(*psOptions) error) *cobra.Command {
	o := &psOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS] [NODE...]",
		Short: "List tasks running on one or more nodes, defaults to current node",
		Args:  cmdenv.MinArgs(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.nodes = args; len(args) == 0 {
				o.nodes = []string{self}
			}
			if hook != nil {
				return hook(o)
			}
			if o.format == "" && !o.quiet {
				o.format = env.Config().TasksFormat
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runPs(cmd.Context(), env, api, o)
		},
		ValidArgsFunction: complete.Nodes(env),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	flags.BoolVar(&o.noResolve, "no-resolve", false, "Do not map IDs to Names")
	flags.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	flags.StringVar(&o.format, "format", "", "Pretty-print tasks using a Go template")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only display task IDs")
	return cmd
}

// runPs shows what it got even if some of the nodes cannot be had.
func runPs(ctx context.Context, env *cmdenv.Env, api taskLister, o *psOptions) error {
	var (
		errs  []error
		tasks []swarm.Task
	)
	for _, ref := range o.nodes {
		found, err := tasksOf(ctx, api, ref, o.filter)
		errs = append(errs, err)
		tasks = append(tasks, found...)
	}
	if errors.Join(errs...) == nil || len(tasks) > 0 {
		names := task.NewResolver(api)
		if o.noResolve {
			names = task.NewResolver(nil)
		}
		style := task.Style{Format: o.format, Quiet: o.quiet, Full: o.noTrunc, Now: env.Now()}
		errs = append(errs, task.Print(ctx, env.Out, tasks, names, style))
	}
	return errors.Join(errs...)
}

func tasksOf(ctx context.Context, api taskLister, ref string, filter opts.FilterOpt) ([]swarm.Task, error) {
	id, err := resolveSelf(ctx, api, ref)
	if err != nil {
		return nil, err
	}
	n, _, err := api.NodeInspectWithRaw(ctx, id)
	if err != nil {
		return nil, err
	}
	f := filter.Value().Clone()
	f.Add("node", n.ID)
	return api.TaskList(ctx, swarm.TaskListOptions{Filters: f})
}
