package service

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/task"
)

// psOptions are the flags and arguments of `service ps`.
type psOptions struct {
	services  []string
	quiet     bool
	noResolve bool
	noTrunc   bool
	format    string
	filter    opts.FilterOpt
}

// psAPI is what `service ps` asks of the daemon.
type psAPI interface {
	Lister
	task.Inspector
	TaskList(ctx context.Context, options swarm.TaskListOptions) ([]swarm.Task, error)
	Info(ctx context.Context) (system.Info, error)
}

func newPsCommand(env *cmdenv.Env, hook func(*psOptions) error) *cobra.Command {
	o := &psOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:               "ps [OPTIONS] SERVICE [SERVICE...]",
		Short:             "List the tasks of one or more services",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Services(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.services = args
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
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Only display task IDs")
	cmd.Flags().BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	cmd.Flags().BoolVar(&o.noResolve, "no-resolve", false, "Do not map IDs to Names")
	cmd.Flags().StringVar(&o.format, "format", "", "Pretty-print tasks using a Go template")
	cmd.Flags().VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	return cmd
}

func runPs(ctx context.Context, env *cmdenv.Env, api psAPI, o *psOptions) error {
	wanted := o.filter.Value()
	missing, err := addServices(ctx, api, wanted, o.services)
	if err != nil {
		return err
	}
	if err := resolveSelf(ctx, api, wanted); err != nil {
		return err
	}
	tasks, err := api.TaskList(ctx, swarm.TaskListOptions{Filters: wanted})
	if err != nil {
		return err
	}
	style := task.Style{Format: o.format, Quiet: o.quiet, Full: o.noTrunc || o.quiet, Now: env.Now()}
	if style.Format == "" && !o.quiet {
		style.Format = env.Config().TasksFormat
	}
	names := task.NewResolver(api)
	if o.noResolve {
		names = task.NewResolver(nil)
	}
	return errors.Join(task.Print(ctx, env.Out, tasks, names, style), missing)
}

// addServices adds the IDs of the services to the filter. Those that do not
// exist are an error to show after the tasks of the others; if none exists,
// there are no tasks to show.
func addServices(ctx context.Context, api Lister, wanted filters.Args, services []string) (missing, err error) {
	ids, names := filters.NewArgs(), filters.NewArgs()
	for _, s := range services {
		ids.Add("id", s)
		names.Add("name", s)
	}
	byID, err := api.ServiceList(ctx, swarm.ServiceListOptions{Filters: ids})
	if err != nil {
		return nil, err
	}
	byName, err := api.ServiceList(ctx, swarm.ServiceListOptions{Filters: names})
	if err != nil {
		return nil, err
	}
	var absent []error
	for _, s := range services {
		id, err := match(s, byID, byName)
		switch {
		case err != nil:
			return nil, err
		case id == "":
			absent = append(absent, errors.New("no such service: "+s))
		default:
			wanted.Add("service", id)
		}
	}
	if len(absent) == len(services) {
		return nil, errors.Join(absent...)
	}
	return errors.Join(absent...), nil
}

// match finds a service by its whole ID, its name, or the beginning of its ID.
func match(ref string, byID, byName []swarm.Service) (id string, err error) {
	for _, s := range byID {
		if s.ID == ref {
			return s.ID, nil
		}
	}
	for _, s := range byName {
		if s.Spec.Name == ref {
			return s.ID, nil
		}
	}
	for _, s := range byID {
		if !strings.HasPrefix(s.ID, ref) {
			continue
		}
		if id != "" {
			return "", errors.New("multiple services found with provided prefix: " + ref)
		}
		id = s.ID
	}
	return id, nil
}

// resolveSelf puts this node's ID in the place of node=self.
func resolveSelf(ctx context.Context, api psAPI, wanted filters.Args) error {
	if !slices.Contains(wanted.Get("node"), "self") {
		return nil
	}
	info, err := api.Info(ctx)
	if err != nil {
		return err
	}
	if info.Swarm.NodeID == "" {
		return errors.New("node ID not found in /info")
	}
	wanted.Del("node", "self")
	wanted.Add("node", info.Swarm.NodeID)
	return nil
}
