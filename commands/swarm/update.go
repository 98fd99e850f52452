package swarm

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
)

func newUpdate(env *cmdenv.Env, hook func(*specOptions) error) *cobra.Command {
	o := &specOptions{}
	cmd := &cobra.Command{
		Use:   "update [OPTIONS]",
		Short: "Update the swarm",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().NFlag() == 0 {
				return cmd.Help()
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runUpdate(cmd.Context(), api, printer{env.Out, cmd.Root().Name()}, o, cmd.Flags())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.bind(cmd.Flags(), "Change manager autolocking setting (true|false)")
	return cmd
}

func runUpdate(ctx context.Context, api clusterAPI, p printer, o *specOptions, flags *pflag.FlagSet) error {
	s, err := api.SwarmInspect(ctx)
	if err != nil {
		return err
	}
	spec := s.Spec
	o.apply(&spec, flags, s.TLSInfo.TrustRoot)
	if err := api.SwarmUpdate(ctx, s.Version, spec, swarm.UpdateFlags{}); err != nil {
		return err
	}
	fmt.Fprintln(p.out, "Swarm updated.")
	if spec.EncryptionConfig.AutoLockManagers && !s.Spec.EncryptionConfig.AutoLockManagers {
		return p.fetchUnlockKey(ctx, api)
	}
	return nil
}
