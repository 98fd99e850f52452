package service

import (
	"cmp"
	"context"
	"slices"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

// listOptions are the flags of `service ls`.
type listOptions struct {
	quiet  bool
	format string
	filter opts.FilterOpt
}

// Lister lists services.
type Lister interface {
	ServiceList(ctx context.Context, options swarm.ServiceListOptions) ([]swarm.Service, error)
}

// taskCounter is what counting tasks asks of a daemon that does not do it.
type taskCounter interface {
	TaskList(ctx context.Context, options swarm.TaskListOptions) ([]swarm.Task, error)
	NodeList(ctx context.Context, options swarm.NodeListOptions) ([]swarm.Node, error)
}

// listAPI is what `service ls` asks of the daemon.
type listAPI interface {
	Lister
	taskCounter
}

func newListCommand(env *cmdenv.Env, hook func(*listOptions) error) *cobra.Command {
	o := &listOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Aliases:           []string{"list"},
		Short:             "List services",
		Args:              cmdenv.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runList(cmd.Context(), env, api, o)
		},
	}
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Only display IDs")
	cmd.Flags().StringVar(&o.format, "format", "", render.FormatHelp)
	cmd.Flags().VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	return cmd
}

func runList(ctx context.Context, env *cmdenv.Env, api listAPI, o *listOptions) error {
	services, err := api.ServiceList(ctx, swarm.ServiceListOptions{Filters: o.filter.Value(), Status: !o.quiet})
	if err != nil {
		return err
	}
	if !o.quiet {
		if err := countTasks(ctx, api, services); err != nil {
			return err
		}
	}
	format := o.format
	if format == "" && !o.quiet {
		format = env.Config().ServicesFormat
	}
	slices.SortStableFunc(services, func(a, b swarm.Service) int { return render.CompareNatural(a.Spec.Name, b.Spec.Name) })
	rows := make([]row, 0, len(services))
	for _, s := range services {
		rows = append(rows, newRow(s))
	}
	return list().Write(env.Out, format, o.quiet, rows)
}

// countTasks fills in how many tasks run for daemons before API 1.41, which do
// not count them.
func countTasks(ctx context.Context, api taskCounter, services []swarm.Service) error {
	counted := map[string]*swarm.ServiceStatus{}
	wanted := filters.NewArgs()
	for i, s := range services {
		if s.ServiceStatus != nil {
			continue
		}
		services[i].ServiceStatus = &swarm.ServiceStatus{}
		if mode := s.Spec.Mode.Replicated; mode != nil && mode.Replicas != nil {
			services[i].ServiceStatus.DesiredTasks = *mode.Replicas
		}
		counted[s.ID] = services[i].ServiceStatus
		wanted.Add("service", s.ID)
	}
	if len(counted) == 0 {
		return nil
	}
	tasks, err := api.TaskList(ctx, swarm.TaskListOptions{Filters: wanted})
	if err != nil {
		return err
	}
	nodes, err := api.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return err
	}
	down := map[string]bool{}
	for _, n := range nodes {
		down[n.ID] = n.Status.State == swarm.NodeStateDown
	}
	desired := map[string]uint64{}
	for _, t := range tasks {
		status := counted[t.ServiceID]
		if status == nil {
			continue
		}
		if t.DesiredState != swarm.TaskStateShutdown {
			desired[t.ServiceID]++
		}
		if t.Status.State == swarm.TaskStateRunning && !down[t.NodeID] {
			status.RunningTasks++
		}
	}
	for id, n := range desired {
		counted[id].DesiredTasks = cmp.Or(n, counted[id].DesiredTasks)
	}
	return nil
}
