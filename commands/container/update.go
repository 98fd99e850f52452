package container

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// updateOptions are the flags of `update`: those limits that a container can
// be given while it runs. What is not given stays.
type updateOptions struct {
	restart   string
	resources resourceFlags
}

// updater changes containers.
type updater interface {
	ContainerUpdate(ctx context.Context, id string, config container.UpdateConfig) (container.UpdateResponse, error)
}

// NewUpdate gives the `update` command.
func NewUpdate(env *cmdenv.Env) *cobra.Command {
	o := &updateOptions{}
	cmd := &cobra.Command{
		Use:               "update [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Update configuration of one or more containers",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, true, nil),
		Annotations:       cmdenv.AlsoKnownAs("container update", "update"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().NFlag() == 0 {
				return errors.New("you must provide one or more flags when using this command")
			}
			config, err := o.config()
			if err != nil {
				return err
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			if err := cmdenv.CheckSince(cmd.Flags(), api.ClientVersion()); err != nil {
				return err
			}
			return runUpdate(cmd.Context(), env, api, args, config)
		},
	}
	o.bind(cmd.Flags())
	complete.Flag(cmd, "restart", complete.Words(restartPolicies()...))
	return cmd
}

func (o *updateOptions) bind(set *pflag.FlagSet) {
	o.resources.bindUpdatable(set)
	set.StringVar(&o.restart, "restart", "", "Restart policy to apply when a container exits")
	set.Lookup("kernel-memory").Hidden = true
	cmdenv.Since(set, "1.25", "cpu-rt-period", "cpu-rt-runtime")
	cmdenv.Since(set, "1.29", "cpus")
	cmdenv.Since(set, "1.40", "pids-limit")
}

func (o *updateOptions) config() (container.UpdateConfig, error) {
	config := container.UpdateConfig{Resources: o.resources.updatable()}
	if o.restart == "" {
		return config, nil
	}
	var err error
	config.RestartPolicy, err = opts.ParseRestartPolicy(o.restart)
	return config, err
}

// runUpdate changes what it can.
func runUpdate(ctx context.Context, env *cmdenv.Env, api updater, names []string, config container.UpdateConfig) error {
	var (
		warnings []string
		errs     []error
	)
	for _, name := range names {
		response, err := api.ContainerUpdate(ctx, name, config)
		if err == nil {
			fmt.Fprintln(env.Out, name)
		}
		errs = append(errs, err)
		warnings = append(warnings, response.Warnings...)
	}
	if len(warnings) > 0 {
		fmt.Fprintln(env.Out, strings.Join(warnings, "\n"))
	}
	return errors.Join(errs...)
}
