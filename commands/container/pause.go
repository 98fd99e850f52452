package container

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// pauser stops the clock for containers and starts it again.
type pauser interface {
	ContainerPause(ctx context.Context, id string) error
	ContainerUnpause(ctx context.Context, id string) error
}

// NewPause gives the `pause` command.
func NewPause(env *cmdenv.Env) *cobra.Command {
	return newPauseCommand(env, "pause", "Pause all processes within one or more containers",
		func(c container.Summary) bool { return c.State != container.StatePaused }, pauser.ContainerPause)
}

// NewUnpause gives the `unpause` command.
func NewUnpause(env *cmdenv.Env) *cobra.Command {
	return newPauseCommand(env, "unpause", "Unpause all processes within one or more containers",
		func(c container.Summary) bool { return c.State == container.StatePaused }, pauser.ContainerUnpause)
}

func newPauseCommand(env *cmdenv.Env, verb, short string, offered func(container.Summary) bool, do func(pauser, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " CONTAINER [CONTAINER...]",
		Short:             short,
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, false, offered),
		Annotations:       cmdenv.AlsoKnownAs("container "+verb, verb),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return report(env.Out, args, each(cmd.Context(), args, func(ctx context.Context, name string) error {
				return do(api, ctx, name)
			}))
		},
	}
}
