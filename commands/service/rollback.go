package service

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// rollbackOptions are the flags and arguments of `service rollback`.
type rollbackOptions struct {
	service string
	detach  bool
	quiet   bool
}

// rollbackAPI is what `service rollback` asks of the daemon.
type rollbackAPI interface {
	waitAPI
	Updater
}

func newRollbackCommand(env *cmdenv.Env, hook func(*rollbackOptions) error) *cobra.Command {
	o := &rollbackOptions{}
	cmd := &cobra.Command{
		Use:               "rollback [OPTIONS] SERVICE",
		Short:             "Revert changes to a service's configuration",
		Args:              cmdenv.ExactArgs(1),
		ValidArgsFunction: complete.Services(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.service = args[0]
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRollback(cmd.Context(), env, api, o)
		},
	}
	bindDetach(cmd.Flags(), &o.detach)
	cmd.Flags().BoolVarP(&o.quiet, flagQuiet, "q", false, "Suppress progress output")
	return cmd
}

func runRollback(ctx context.Context, env *cmdenv.Env, api rollbackAPI, o *rollbackOptions) error {
	service, _, err := api.ServiceInspectWithRaw(ctx, o.service, swarm.ServiceInspectOptions{})
	if err != nil {
		return err
	}
	response, err := api.ServiceUpdate(ctx, service.ID, service.Version, service.Spec, swarm.ServiceUpdateOptions{Rollback: "previous"})
	if err != nil {
		return err
	}
	printWarnings(env.Err, response.Warnings)
	fmt.Fprintln(env.Out, o.service)
	if o.detach {
		return nil
	}
	return waitConverged(ctx, env, api, o.service, o.quiet)
}
