package container

import (
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// New gives the `container` command.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "container",
		Short: "Manage containers",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,
	}
	list := NewPs(env)
	list.Use, list.Aliases = "ls [OPTIONS]", []string{"ps", "list"}
	remove := NewRemove(env)
	remove.Aliases = []string{"remove"}
	for _, construct := range ShortForms() {
		if sub := construct(env); sub.Name() != "ps" && sub.Name() != "rm" {
			cmd.AddCommand(sub)
		}
	}
	cmd.AddCommand(list, remove, NewInspect(env), newPrune(env))
	return cmd
}

// ShortForms gives the constructors of the commands that also stand at the top
// level.
func ShortForms() []func(*cmdenv.Env) *cobra.Command {
	return []func(*cmdenv.Env) *cobra.Command{
		NewAttach, NewCommit, NewCopy, NewCreate, NewDiff, NewExec, NewExport, NewKill, NewLogs, NewPause, NewPort, NewPs, NewRemove,
		NewRename, NewRestart, NewRun, NewStart, NewStats, NewStop, NewTop, NewUnpause, NewUpdate, NewWait,
	}
}

// common marks a command that the root command's help lists among the first.
func common(rank string, annotations map[string]string) map[string]string {
	annotations[cmdenv.TopAnnotation] = rank
	return annotations
}
