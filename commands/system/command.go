package system

import (
	"strings"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// New gives the `system` command.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "system",
		Short: "Manage the engine",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,
	}
	cmd.AddCommand(NewEvents(env), NewInfo(env))
	return cmd
}

// ShortForms gives the constructors of the commands at the top level.
func ShortForms() []func(*cmdenv.Env) *cobra.Command {
	return []func(*cmdenv.Env) *cobra.Command{NewEvents, NewInfo, NewInspect, NewVersion}
}

// describe annotates a command with its place among the first in the root
// command's help (empty: none) and with the ways to call it.
func describe(rank string, names ...string) map[string]string {
	notes := map[string]string{}
	if rank != "" {
		notes[cmdenv.TopAnnotation] = rank
	}
	if len(names) > 0 {
		notes[cmdenv.AliasesAnnotation] = strings.Join(names, ", ")
	}
	return notes
}
