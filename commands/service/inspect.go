package service

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/render"
)

// inspectOptions are the flags and arguments of `service inspect`.
type inspectOptions struct {
	services []string
	format   string
	pretty   bool
}

// Inspector looks services up by name or ID.
type Inspector interface {
	ServiceInspectWithRaw(ctx context.Context, id string, options swarm.ServiceInspectOptions) (swarm.Service, []byte, error)
}

// inspectAPI is what `service inspect` asks of the daemon.
type inspectAPI interface {
	Inspector
	NetworkInspector
}

func newInspectCommand(env *cmdenv.Env, hook func(*inspectOptions) error) *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] SERVICE [SERVICE...]",
		Short:             "Display detailed information on one or more services",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Services(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.services = args
			if o.pretty && o.format != "" {
				return errors.New("--format is incompatible with human friendly format")
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runInspect(cmd.Context(), env, api, o)
		},
	}
	cmd.Flags().StringVarP(&o.format, "format", "f", "", render.InspectFormatHelp)
	cmd.Flags().BoolVar(&o.pretty, "pretty", false, "Print the information in a human friendly format")
	return cmd
}

func runInspect(ctx context.Context, env *cmdenv.Env, api inspectAPI, o *inspectOptions) error {
	format := o.format
	switch {
	case o.pretty:
		format = "pretty"
	case format == "":
		format = env.Config().ServiceInspectFormat
	}
	if format == "pretty" {
		return inspectPretty(ctx, env, api, o.services)
	}
	if strings.HasPrefix(format, "pretty") {
		return errors.New("Cannot supply extra formatting options to the pretty template") //nolint:staticcheck // docker's wording
	}
	return render.Inspect(env.Out, o.services, strings.TrimPrefix(format, "raw"), func(ref string) (any, []byte, error) {
		service, err := find(ctx, api, ref)
		return service, nil, err
	})
}

// find looks a service up with the defaults of what its specification leaves
// open.
func find(ctx context.Context, api Inspector, ref string) (swarm.Service, error) {
	service, _, err := api.ServiceInspectWithRaw(ctx, ref, swarm.ServiceInspectOptions{InsertDefaults: true})
	if errdefs.IsNotFound(err) {
		return swarm.Service{}, fmt.Errorf("Error: no such service: %s", ref) //nolint:staticcheck // docker's wording
	}
	return service, err
}

// inspectPretty prints the services only if all of them were found.
func inspectPretty(ctx context.Context, env *cmdenv.Env, api inspectAPI, refs []string) error {
	var text strings.Builder
	for _, ref := range refs {
		service, err := find(ctx, api, ref)
		if err != nil {
			return err
		}
		p := prettyPrinter{w: &text, now: env.Now(), networks: networkNames(ctx, api, service)}
		p.service(service)
	}
	fmt.Fprint(env.Out, text.String())
	return nil
}

// networkNames gives the names of the service's networks by ID. One that can
// not be looked up is shown by its ID.
func networkNames(ctx context.Context, api NetworkInspector, s swarm.Service) map[string]string {
	names := map[string]string{}
	for _, n := range s.Spec.TaskTemplate.Networks {
		if found, err := api.NetworkInspect(ctx, n.Target, network.InspectOptions{Scope: "swarm"}); err == nil {
			names[n.Target] = found.Name
		}
	}
	return names
}
