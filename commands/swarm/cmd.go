// Package swarm holds `weft swarm`: making a swarm, joining and leaving one,
// its tokens, keys and settings. Each verb has a file of its own.
//
// Where init or join fails because a port cannot be bound or reached, the
// error comes with an explanation of the ports a swarm needs (see ports.go).
package swarm

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// New makes `weft swarm` and its verbs.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:         "swarm",
		Short:       "Manage Swarm",
		Args:        cmdenv.NoArgs,
		RunE:        env.ShowHelp,
		Annotations: map[string]string{cmdenv.SwarmAnnotation: ""},
	}
	cmd.AddCommand(
		newInit(env, nil),
		newJoin(env, nil),
		newJoinToken(env, nil),
		newUnlockKey(env, nil),
		newUpdate(env, nil),
		newLeave(env, nil),
		newUnlock(env),
		newCA(env, nil),
	)
	return cmd
}

// clusterAPI is what several verbs need of a manager.
type clusterAPI interface {
	Info(ctx context.Context) (system.Info, error)
	NodeInspectWithRaw(ctx context.Context, nodeID string) (swarm.Node, []byte, error)
	SwarmInspect(ctx context.Context) (swarm.Swarm, error)
	SwarmUpdate(ctx context.Context, version swarm.Version, spec swarm.Spec, flags swarm.UpdateFlags) error
	SwarmGetUnlockKey(ctx context.Context) (swarm.UnlockKeyResponse, error)
}

// parseAvailability takes the value of --availability in any case.
func parseAvailability(value string) (swarm.NodeAvailability, error) {
	switch a := swarm.NodeAvailability(strings.ToLower(value)); a {
	case swarm.NodeAvailabilityActive, swarm.NodeAvailabilityPause, swarm.NodeAvailabilityDrain:
		return a, nil
	default:
		return "", fmt.Errorf("invalid availability %q, only active, pause and drain are supported", value)
	}
}
