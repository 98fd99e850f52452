package container

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

type differ interface {
	ContainerDiff(ctx context.Context, id string) ([]container.FilesystemChange, error)
}

// NewDiff gives the `diff` command.
func NewDiff(env *cmdenv.Env) *cobra.Command {
	return &cobra.Command{
		Use:               "diff CONTAINER",
		Short:             "Inspect changes to files or directories on a container's filesystem",
		Args:              cmdenv.ExactArgs(1),
		ValidArgsFunction: firstOnly(complete.Containers(env, false, nil)),
		Annotations:       cmdenv.AlsoKnownAs("container diff", "diff"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runDiff(cmd.Context(), env.Out, api, args[0])
		},
	}
}

func runDiff(ctx context.Context, out io.Writer, api differ, id string) error {
	changes, err := api.ContainerDiff(ctx, id)
	if err != nil {
		return err
	}
	for _, c := range changes {
		fmt.Fprintln(out, c.Kind, c.Path)
	}
	return nil
}
