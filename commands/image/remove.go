package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type removeOptions struct {
	force   bool
	noPrune bool
}

type remover interface {
	ImageRemove(ctx context.Context, ref string, options image.RemoveOptions) ([]image.DeleteResponse, error)
}

// NewRemove gives the `rmi` command.
func NewRemove(env *cmdenv.Env) *cobra.Command {
	o := &removeOptions{}
	cmd := &cobra.Command{
		Use:         "rmi [OPTIONS] IMAGE [IMAGE...]",
		Short:       "Remove one or more images",
		Args:        cmdenv.MinArgs(1),
		Annotations: cmdenv.AlsoKnownAs("image rm", "image remove", "rmi"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRemove(cmd.Context(), env, api, args, o)
		},
		ValidArgsFunction: names(env, 0),
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Force removal of the image")
	cmd.Flags().BoolVar(&o.noPrune, "no-prune", false, "Do not delete untagged parents")
	return cmd
}

// runRemove removes what it can and reports the rest at the end. With --force
// an image that is not there is told, but no failure.
func runRemove(ctx context.Context, env *cmdenv.Env, api remover, refs []string, o *removeOptions) error {
	var errs []error
	fatal := false
	for _, ref := range refs {
		gone, err := api.ImageRemove(ctx, ref, image.RemoveOptions{Force: o.force, PruneChildren: !o.noPrune})
		if err != nil {
			fatal = fatal || !errdefs.IsNotFound(err)
			errs = append(errs, err)
			continue
		}
		printRemovals(env, gone)
	}
	err := errors.Join(errs...)
	if err != nil && o.force && !fatal {
		fmt.Fprintln(env.Err, err)
		return nil
	}
	return err
}

func printRemovals(env *cmdenv.Env, gone []image.DeleteResponse) {
	for _, g := range gone {
		if g.Deleted != "" {
			fmt.Fprintln(env.Out, "Deleted:", g.Deleted)
		} else {
			fmt.Fprintln(env.Out, "Untagged:", g.Untagged)
		}
	}
}
