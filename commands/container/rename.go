package container

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// Renamer renames containers.
type Renamer interface {
	ContainerRename(ctx context.Context, id, name string) error
}

// NewRename gives the `rename` command.
func NewRename(env *cmdenv.Env) *cobra.Command {
	return &cobra.Command{
		Use:               "rename CONTAINER NEW_NAME",
		Short:             "Rename a container",
		Args:              cmdenv.ExactArgs(2),
		ValidArgsFunction: complete.Containers(env, true, nil),
		Annotations:       cmdenv.AlsoKnownAs("container rename", "rename"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRename(cmd.Context(), env, api, strings.TrimSpace(args[0]), strings.TrimSpace(args[1]))
		},
	}
}

func runRename(ctx context.Context, env *cmdenv.Env, api Renamer, from, to string) error {
	if from == "" || to == "" {
		return errors.New("Error: Neither old nor new names may be empty")
	}
	if err := api.ContainerRename(ctx, from, to); err != nil {
		fmt.Fprintln(env.Err, err)
		return fmt.Errorf("Error: failed to rename container named %s", from)
	}
	return nil
}
