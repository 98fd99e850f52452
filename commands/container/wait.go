package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// NewWait gives the `wait` command.
func NewWait(env *cmdenv.Env) *cobra.Command {
	return &cobra.Command{
		Use:               "wait CONTAINER [CONTAINER...]",
		Short:             "Block until one or more containers stop, then print their exit codes",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, false, nil),
		Annotations:       cmdenv.AlsoKnownAs("container wait", "wait"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runWait(cmd.Context(), env, api, args)
		},
	}
}

func runWait(ctx context.Context, env *cmdenv.Env, api Waiter, containers []string) error {
	var errs []error
	for _, id := range containers {
		results, failed := api.ContainerWait(ctx, id, "")
		select {
		case r := <-results:
			fmt.Fprintln(env.Out, r.StatusCode)
		case err := <-failed:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
