package service

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// scaleOptions are the flags and arguments of `service scale`.
type scaleOptions struct {
	targets []scaleTarget
	detach  bool
}

// scaleTarget is one SERVICE=REPLICAS. The number is checked when its turn
// comes, so that a wrong one does not keep the others from being scaled.
type scaleTarget struct{ service, replicas string }

func newScaleCommand(env *cmdenv.Env, hook func(*scaleOptions) error) *cobra.Command {
	o := &scaleOptions{}
	cmd := &cobra.Command{
		Use:               "scale SERVICE=REPLICAS [SERVICE=REPLICAS...]",
		Short:             "Scale one or multiple replicated services",
		Args:              scaleArgs,
		ValidArgsFunction: complete.Suffixed(complete.Services(env), "="),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				service, replicas, _ := strings.Cut(arg, "=")
				o.targets = append(o.targets, scaleTarget{service, replicas})
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runScale(cmd.Context(), env, api, o)
		},
	}
	bindDetach(cmd.Flags(), &o.detach)
	return cmd
}

func scaleArgs(cmd *cobra.Command, args []string) error {
	if err := cmdenv.MinArgs(1)(cmd, args); err != nil {
		return err
	}
	for _, arg := range args {
		if service, replicas, _ := strings.Cut(arg, "="); service == "" || replicas == "" {
			return fmt.Errorf("invalid scale specifier '%s'.\nSee '%s --help'.\n\nUsage:  %s\n\n%s",
				arg, cmd.CommandPath(), cmd.UseLine(), cmd.Short)
		}
	}
	return nil
}

func runScale(ctx context.Context, env *cmdenv.Env, api rollbackAPI, o *scaleOptions) error {
	var errs []error
	var scaled []string
	for _, t := range o.targets {
		warnings, n, err := scaleOne(ctx, api, t)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.service, err))
			continue
		}
		printWarnings(env.Err, warnings)
		fmt.Fprintf(env.Out, "%s scaled to %d\n", t.service, n)
		scaled = append(scaled, t.service)
	}
	if !o.detach {
		for _, service := range scaled {
			if err := waitConverged(ctx, env, api, service, false); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", service, err))
			}
		}
	}
	return errors.Join(errs...)
}

func scaleOne(ctx context.Context, api rollbackAPI, t scaleTarget) (warnings []string, replicas uint64, err error) {
	replicas, err = strconv.ParseUint(t.replicas, 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("invalid replicas value %s: %w", t.replicas, err)
	}
	service, _, err := api.ServiceInspectWithRaw(ctx, t.service, swarm.ServiceInspectOptions{})
	if err != nil {
		return nil, 0, err
	}
	switch mode := service.Spec.Mode; {
	case mode.Replicated != nil:
		mode.Replicated.Replicas = &replicas
	case mode.ReplicatedJob != nil:
		mode.ReplicatedJob.TotalCompletions = &replicas
	default:
		return nil, 0, errors.New("scale can only be used with replicated or replicated-job mode")
	}
	response, err := api.ServiceUpdate(ctx, service.ID, service.Version, service.Spec, swarm.ServiceUpdateOptions{})
	return response.Warnings, replicas, err
}
