package container

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/render"
)

// inspectOptions are the flags and arguments of `container inspect`.
type inspectOptions struct {
	containers []string
	format     string
	size       bool
}

// RawInspector looks containers up and gives their JSON too.
type RawInspector interface {
	ContainerInspectWithRaw(ctx context.Context, id string, size bool) (container.InspectResponse, []byte, error)
}

// NewInspect gives the `container inspect` command.
func NewInspect(env *cmdenv.Env) *cobra.Command { return newInspectCommand(env, nil) }

func newInspectCommand(env *cmdenv.Env, hook func(*inspectOptions) error) *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Display detailed information on one or more containers",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, true, nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.containers = args
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
	cmd.Flags().BoolVarP(&o.size, "size", "s", false, "Display total file sizes")
	return cmd
}

func runInspect(ctx context.Context, env *cmdenv.Env, api RawInspector, o *inspectOptions) error {
	return render.Inspect(env.Out, o.containers, o.format, func(ref string) (any, []byte, error) {
		return api.ContainerInspectWithRaw(ctx, ref, o.size)
	})
}
