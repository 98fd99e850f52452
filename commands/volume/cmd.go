// Package volume holds `weft volume`: the volumes of whatever engine answers.
// Each verb has a file of its own. Cluster volumes, which are made by a storage
// plugin that spans the swarm, are listed but neither made nor changed.
package volume

import (
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// New makes `weft volume` and its verbs.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume COMMAND",
		Short: "Manage volumes",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,
	}
	cmd.AddCommand(newCreate(env), newInspect(env), newList(env), newRemove(env), newPrune(env))
	return cmd
}
