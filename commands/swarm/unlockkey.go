package swarm

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type unlockKeyOptions struct {
	rotate bool
	quiet  bool
}

func newUnlockKey(env *cmdenv.Env, hook func(*unlockKeyOptions) error) *cobra.Command {
	o := &unlockKeyOptions{}
	cmd := &cobra.Command{
		Use:   "unlock-key [OPTIONS]",
		Short: "Manage the unlock key",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runUnlockKey(cmd.Context(), api, printer{env.Out, cmd.Root().Name()}, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.rotate, "rotate", false, "Rotate unlock key")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only display token")
	return cmd
}

func runUnlockKey(ctx context.Context, api clusterAPI, p printer, o *unlockKeyOptions) error {
	if o.rotate {
		s, err := api.SwarmInspect(ctx)
		if err != nil {
			return err
		}
		if !s.Spec.EncryptionConfig.AutoLockManagers {
			return errors.New("cannot rotate because autolock is not turned on")
		}
		if err := api.SwarmUpdate(ctx, s.Version, s.Spec, swarm.UpdateFlags{RotateManagerUnlockKey: true}); err != nil {
			return err
		}
		if !o.quiet {
			fmt.Fprintln(p.out, "Successfully rotated manager unlock key.")
		}
	}
	answer, err := api.SwarmGetUnlockKey(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("could not fetch unlock key: %w", err)
	case answer.UnlockKey == "":
		return errNoUnlockKey
	case o.quiet:
		fmt.Fprintln(p.out, answer.UnlockKey)
	default:
		p.unlockCommand(answer.UnlockKey)
	}
	return nil
}
