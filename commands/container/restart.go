package container

import (
	"context"
	"errors"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// restarter stops containers and starts them again.
type restarter interface {
	ContainerRestart(ctx context.Context, id string, options container.StopOptions) error
}

// NewRestart gives the `restart` command.
func NewRestart(env *cmdenv.Env) *cobra.Command {
	o := &stopOptions{}
	var timeout int
	cmd := &cobra.Command{
		Use:               "restart [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Restart one or more containers",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, true, nil),
		Annotations:       cmdenv.AlsoKnownAs("container restart", "restart"),
		RunE: func(cmd *cobra.Command, args []string) error {
			set := cmd.Flags()
			if set.Changed("time") && set.Changed("timeout") {
				return errors.New("conflicting options: cannot specify both --timeout and --time")
			}
			if set.Changed("time") || set.Changed("timeout") {
				o.timeout = &timeout
			}
			o.containers = args
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRestart(cmd.Context(), env, api, o)
		},
	}
	o.bind(cmd, &timeout)
	return cmd
}

// runRestart restarts one after the other, as docker does.
func runRestart(ctx context.Context, env *cmdenv.Env, api restarter, o *stopOptions) error {
	results := make([]error, len(o.containers))
	for i, name := range o.containers {
		results[i] = api.ContainerRestart(ctx, name, container.StopOptions{Signal: o.signal, Timeout: o.timeout})
	}
	return report(env.Out, o.containers, results)
}
