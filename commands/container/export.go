package container

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/image"
)

type exporter interface {
	ContainerExport(ctx context.Context, id string) (io.ReadCloser, error)
}

// NewExport gives the `export` command.
func NewExport(env *cmdenv.Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "export [OPTIONS] CONTAINER",
		Short:             "Export a container's filesystem as a tar archive",
		Args:              cmdenv.ExactArgs(1),
		ValidArgsFunction: firstOnly(complete.Containers(env, true, nil)),
		Annotations:       cmdenv.AlsoKnownAs("container export", "export"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runExport(cmd.Context(), env, api, args[0], output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	complete.Flag(cmd, "output", complete.Files)
	return cmd
}

func runExport(ctx context.Context, env *cmdenv.Env, api exporter, id, output string) error {
	if output == "" && cmdenv.TerminalOf(env.Out).IsTTY {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	content, err := api.ContainerExport(ctx, id)
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // read to its end, or given up
	if output == "" {
		_, err := io.Copy(env.Out, content)
		return err
	}
	if err := image.WriteWhole(output, content); err != nil {
		return fmt.Errorf("failed to export container: %w", err)
	}
	return nil
}
