package container

import (
	"context"
	"errors"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// stopOptions are the flags and arguments of `stop`.
type stopOptions struct {
	containers []string
	signal     string
	timeout    *int // seconds; nil is the container's own
}

// Stopper stops containers.
type Stopper interface {
	ContainerStop(ctx context.Context, id string, options container.StopOptions) error
}

// NewStop gives the `stop` command.
func NewStop(env *cmdenv.Env) *cobra.Command { return newStopCommand(env, nil) }

func newStopCommand(env *cmdenv.Env, hook func(*stopOptions) error) *cobra.Command {
	o := &stopOptions{}
	var timeout int
	cmd := &cobra.Command{
		Use:               "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Stop one or more running containers",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, false, nil),
		Annotations:       cmdenv.AlsoKnownAs("container stop", "stop"),
		RunE: func(cmd *cobra.Command, args []string) error {
			set := cmd.Flags()
			if set.Changed("time") && set.Changed("timeout") {
				return errors.New("conflicting options: cannot specify both --timeout and --time")
			}
			if set.Changed("time") || set.Changed("timeout") {
				o.timeout = &timeout
			}
			o.containers = args
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runStop(cmd.Context(), env, api, o)
		},
	}
	o.bind(cmd, &timeout)
	return cmd
}

// bind adds the flags, two of which are one: it is set if either is given.
func (o *stopOptions) bind(cmd *cobra.Command, timeout *int) {
	cmd.Flags().StringVarP(&o.signal, "signal", "s", "", "Signal to send to the container")
	cmd.Flags().IntVarP(timeout, "timeout", "t", 0, "Seconds to wait before killing the container")
	cmd.Flags().IntVar(timeout, "time", 0, "Seconds to wait before killing the container (deprecated: use --timeout)")
	old := cmd.Flags().Lookup("time")
	old.Deprecated, old.Hidden = "use --timeout instead", true
	complete.Flag(cmd, "signal", complete.Words(signalNames()...))
}

func runStop(ctx context.Context, env *cmdenv.Env, api Stopper, o *stopOptions) error {
	return report(env.Out, o.containers, each(ctx, o.containers, func(ctx context.Context, id string) error {
		return api.ContainerStop(ctx, id, container.StopOptions{Signal: o.signal, Timeout: o.timeout})
	}))
}
