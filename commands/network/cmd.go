// Package network holds `weft network`: networks, and who is attached to them,
// of whatever engine answers. Each verb has a file of its own.
package network

import (
	"context"

	"github.com/docker/docker/api/types/network"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// New makes `weft network` and its verbs.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Manage networks",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,
	}
	cmd.AddCommand(
		newAttach(env, nil),
		newAttachments(env, nil),
		newConnect(env, nil),
		newCreate(env, nil),
		newDetach(env, nil),
		newDisconnect(env, nil),
		newInspect(env, nil),
		newList(env, nil),
		newRemove(env, nil),
		newPrune(env, nil),
	)
	return cmd
}

// ShortForms gives the constructors of the commands that also stand at the top
// level.
func ShortForms() []func(*cmdenv.Env) *cobra.Command {
	return []func(*cmdenv.Env) *cobra.Command{NewDetach}
}

// inspector looks up one network.
type inspector interface {
	NetworkInspectWithRaw(ctx context.Context, name string, options network.InspectOptions) (network.Inspect, []byte, error)
}
