package volume

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

type remover interface {
	VolumeRemove(ctx context.Context, name string, force bool) error
}

func newRemove(env *cmdenv.Env) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] VOLUME [VOLUME...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more volumes",
		Long:    "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
		Args:    cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRemove(cmd.Context(), api, env.Out, args, force)
		},
		ValidArgsFunction: complete.Volumes(env),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the removal of one or more volumes")
	return cmd
}

// runRemove removes what it can.
func runRemove(ctx context.Context, api remover, out io.Writer, names []string, force bool) error {
	var errs []error
	for _, name := range names {
		if err := api.VolumeRemove(ctx, name, force); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(out, name)
	}
	return errors.Join(errs...)
}
