package complete

import "github.com/spf13/cobra"

// Flag makes offers for the values of a flag that the command has.
func Flag(cmd *cobra.Command, name string, offers cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, offers); err != nil {
		panic(err) // the flag does not exist, or is registered twice: a mistake in the command
	}
}

// Files offers the names of files.
func Files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// Suffixed appends suffix to every offer and keeps the cursor behind it.
func Suffixed(offers cobra.CompletionFunc, suffix string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		list, directive := offers(cmd, args, toComplete)
		for i := range list {
			list[i] += suffix
		}
		return list, directive | cobra.ShellCompDirectiveNoSpace
	}
}
