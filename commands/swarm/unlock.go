package swarm

import (
	"context"
	"errors"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type unlocker interface {
	Info(ctx context.Context) (system.Info, error)
	SwarmUnlock(ctx context.Context, req swarm.UnlockRequest) error
}

func newUnlock(env *cmdenv.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "unlock",
		Short: "Unlock swarm",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runUnlock(cmd.Context(), env, api)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}

// runUnlock asks for the key only where there is something to unlock. Without
// a terminal the key is the first line of the input.
func runUnlock(ctx context.Context, env *cmdenv.Env, api unlocker) error {
	info, err := api.Info(ctx)
	if err != nil {
		return err
	}
	switch info.Swarm.LocalNodeState {
	case swarm.LocalNodeStateLocked:
	case swarm.LocalNodeStateInactive:
		return errors.New("Error: This node is not part of a swarm") //nolint:staticcheck // Docker's wording
	case swarm.LocalNodeStatePending, swarm.LocalNodeStateActive, swarm.LocalNodeStateError:
		return errors.New("Error: swarm is not locked") //nolint:staticcheck // Docker's wording
	}
	question := "Enter unlock key: "
	if !cmdenv.TerminalOf(env.In).IsTTY {
		question = ""
	}
	key, err := env.ReadSecret(ctx, question)
	if err != nil {
		return err
	}
	return api.SwarmUnlock(ctx, swarm.UnlockRequest{UnlockKey: key})
}
