package commands

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/container"
	"weft/commands/image"
	"weft/commands/ingress"
	"weft/commands/mesh"
	"weft/commands/network"
	"weft/commands/node"
	"weft/commands/service"
	"weft/commands/swarm"
	"weft/commands/system"
	"weft/commands/volume"
	"weft/commands/workflow"
)

// constructors are the nouns every weft has, and the short forms of some of
// their verbs.
func constructors() []Constructor {
	list := []Constructor{container.New, image.New, ingress.New, mesh.New, network.New, node.New, service.New, swarm.New, system.New, volume.New, workflow.New}
	for _, short := range slices.Concat(container.ShortForms(), image.ShortForms(), network.ShortForms(), system.ShortForms()) {
		list = append(list, short)
	}
	return list
}

func newRoot(env *cmdenv.Env, extra []Constructor) *cobra.Command {
	root := &cobra.Command{
		Use:              "weft [OPTIONS] COMMAND [ARG...]",
		Short:            "Container networks across hosts, on Docker or alone",
		SilenceUsage:     true,
		SilenceErrors:    true,
		TraverseChildren: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return env.ShowHelp(cmd, args)
			}
			return fmt.Errorf("%[1]s: unknown command: %[1]s %[2]s\n\nRun '%[1]s --help' for more information", cmd.Name(), args[0])
		},
		Version: cmdenv.Version + ", build " + cmdenv.Build(),
	}
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	root.SetVersionTemplate("{{.Name}} version {{.Version}}\n")
	root.SetFlagErrorFunc(usageError)
	root.SetUsageFunc(func(cmd *cobra.Command) error { return writeUsage(cmd.OutOrStderr(), cmd, env.Width()) })
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if err := writeUsage(cmd.OutOrStdout(), cmd, env.Width()); err != nil {
			cmd.PrintErrln(err)
		}
	})
	root.SetHelpCommand(newHelp())

	root.Flags().BoolP("version", "v", false, "Print version information and quit")
	env.BindFlags(root.Flags())
	registerRootCompletion(root)

	help := root.PersistentFlags()
	help.BoolP("help", "h", false, "Print usage")
	help.Lookup("help").ShorthandDeprecated = "use --help"
	help.Lookup("help").Hidden = true

	for _, construct := range append(constructors(), extra...) {
		cmd := construct(env)
		if cmd.Name() == "attach" {
			cmd = network.OrAttach(env, cmd)
		}
		root.AddCommand(cmd)
	}
	plainUseLines(root)
	return root
}

func registerRootCompletion(root *cobra.Command) {
	for flag, words := range map[string][]string{
		"engine":    {string(cmdenv.KindBuiltin), string(cmdenv.KindDocker)},
		"log-level": {"debug", "info", "warn", "error", "fatal"},
	} {
		// The only error is a flag that does not exist, which the tests see.
		_ = root.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}

// usageError is a flag that does not parse, in Docker's words and with its
// code.
func usageError(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return cmdenv.StatusError{
		Code:   cmdenv.CodeUsage,
		Status: fmt.Sprintf("%v\n\nUsage:  %s\n\nRun '%s --help' for more information", err, cmd.UseLine(), cmd.CommandPath()),
		Cause:  err,
	}
}

// plainUseLines keeps cobra from adding "[flags]" to usage lines.
func plainUseLines(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		plainUseLines(sub)
	}
}
