package volume

import (
	"context"

	"github.com/docker/docker/api/types/volume"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/render"
)

type inspector interface {
	VolumeInspect(ctx context.Context, name string) (volume.Volume, error)
}

func newInspect(env *cmdenv.Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] VOLUME [VOLUME...]",
		Short: "Display detailed information on one or more volumes",
		Args:  cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runInspect(cmd.Context(), env, api, args, format)
		},
		ValidArgsFunction: complete.Volumes(env),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", render.InspectFormatHelp)
	return cmd
}

func runInspect(ctx context.Context, env *cmdenv.Env, api inspector, names []string, format string) error {
	return render.Inspect(env.Out, names, format, func(name string) (any, []byte, error) {
		v, err := api.VolumeInspect(ctx, name)
		return v, nil, err // as docker, without the fields that the type does not have
	})
}
