// Package ingress holds `weft ingress`: the ingress network of a swarm, and the
// guarded workflow that replaces it.
package ingress

import (
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// New makes `weft ingress` and its verbs.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ingress",
		Short: "Manage the ingress network of a swarm",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,
	}
	cmd.AddCommand(newCustomise(env), newRepair(env), newShow(env))
	return cmd
}
