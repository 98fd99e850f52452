package container

import (
	"context"
	"maps"
	"slices"

	"github.com/moby/sys/signal"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// killOptions are the flags and arguments of `kill`.
type killOptions struct {
	containers []string
	signal     string
}

// NewKill gives the `kill` command.
func NewKill(env *cmdenv.Env) *cobra.Command { return newKillCommand(env, nil) }

func newKillCommand(env *cmdenv.Env, hook func(*killOptions) error) *cobra.Command {
	o := &killOptions{}
	cmd := &cobra.Command{
		Use:               "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Kill one or more running containers",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, false, nil),
		Annotations:       cmdenv.AlsoKnownAs("container kill", "kill"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.containers = args
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runKill(cmd.Context(), env, api, o)
		},
	}
	cmd.Flags().StringVarP(&o.signal, "signal", "s", "", "Signal to send to the container")
	complete.Flag(cmd, "signal", complete.Words(signalNames()...))
	return cmd
}

func signalNames() []string { return slices.Sorted(maps.Keys(signal.SignalMap)) }

func runKill(ctx context.Context, env *cmdenv.Env, api Killer, o *killOptions) error {
	return report(env.Out, o.containers, each(ctx, o.containers, func(ctx context.Context, id string) error {
		return api.ContainerKill(ctx, id, o.signal)
	}))
}
