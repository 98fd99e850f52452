package service

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// Remover removes services.
type Remover interface {
	ServiceRemove(ctx context.Context, id string) error
}

func newRemoveCommand(env *cmdenv.Env, hook func(services []string) error) *cobra.Command {
	return &cobra.Command{
		Use:               "rm SERVICE [SERVICE...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more services",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Services(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if hook != nil {
				return hook(args)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRemove(cmd.Context(), env.Out, api, args)
		},
	}
}

func runRemove(ctx context.Context, out io.Writer, api Remover, services []string) error {
	var errs []error
	for _, name := range services {
		if err := api.ServiceRemove(ctx, name); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(out, name)
	}
	return errors.Join(errs...)
}
