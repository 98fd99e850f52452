// Package workflow holds `weft workflow`: the runs of guarded workflows that
// this machine has started, and plans kept as files. What starts a workflow is
// a command of its own noun, such as `weft ingress customise`.
package workflow

import (
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
)

// New makes `weft workflow` and its verbs.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workflow",
		Short: "Manage runs of guarded workflows",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,
	}
	cmd.AddCommand(
		newList(env),
		newShow(env),
		newResume(env),
		newRollback(env),
		newAbort(env),
		newRemove(env),
		newApply(env),
	)
	return cmd
}

// complete offers the IDs of runs.
func complete(env *cmdenv.Env) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		runs, err := guarded.Store(env).Runs()
		if err != nil && len(runs) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, r := range runs {
			ids = append(ids, r.ID)
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
