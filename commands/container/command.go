package container

import (
	"strings"

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
	cmd.AddCommand(
		NewAttach(env), NewCreate(env), NewExec(env), NewInspect(env), NewKill(env), list, NewLogs(env), NewPort(env),
		NewRename(env), remove, NewRun(env), NewStart(env), NewStop(env), NewWait(env),
	)
	return cmd
}

// ShortForms gives the constructors of the commands that also stand at the top
// level.
func ShortForms() []func(*cmdenv.Env) *cobra.Command {
	return []func(*cmdenv.Env) *cobra.Command{
		NewAttach, NewCreate, NewExec, NewKill, NewLogs, NewPort, NewPs, NewRemove, NewRename, NewRun, NewStart, NewStop, NewWait,
	}
}

// alsoKnownAs lists the ways to call a command, for its help.
func alsoKnownAs(names ...string) map[string]string {
	full := make([]string, 0, len(names))
	for _, n := range names {
		full = append(full, cmdenv.Program+" "+n)
	}
	return map[string]string{cmdenv.AliasesAnnotation: strings.Join(full, ", ")}
}

// common marks a command that the root command's help lists among the first.
func common(rank string, annotations map[string]string) map[string]string {
	annotations[cmdenv.TopAnnotation] = rank
	return annotations
}
