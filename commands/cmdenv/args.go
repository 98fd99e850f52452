package cmdenv

import (
	"fmt"

	"github.com/spf13/cobra"
)

// NoArgs refuses arguments. On a command with subcommands an argument is an
// unknown subcommand.
func NoArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return fmt.Errorf("%s: unknown command: %s %s\n\nUsage:  %s\n\nRun '%s --help' for more information",
			cmd.Root().Name(), cmd.CommandPath(), args[0], cmd.UseLine(), cmd.CommandPath())
	default:
		return countError(cmd, "accepts no arguments", "Run")
	}
}

// ExactArgs wants n arguments.
func ExactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return countError(cmd, "requires "+arguments(n), "Run")
	}
}

// MinArgs wants n arguments or more.
func MinArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return countError(cmd, "requires at least "+arguments(n), "See") // "See" is Docker's choice here alone
	}
}

// MaxArgs wants n arguments or fewer.
func MaxArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= n {
			return nil
		}
		return countError(cmd, "requires at most "+arguments(n), "Run")
	}
}

// RangeArgs wants least to most arguments.
func RangeArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return countError(cmd, fmt.Sprintf("requires at least %d and at most %s", least, arguments(most)), "Run")
	}
}

func arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

func countError(cmd *cobra.Command, problem, verb string) error {
	return fmt.Errorf("%s: '%s' %s\n\nUsage:  %s\n\n%s '%s --help' for more information",
		cmd.Root().Name(), cmd.CommandPath(), problem, cmd.UseLine(), verb, cmd.CommandPath())
}

// ShowHelp is the run function of a command that only groups others: it prints
// the help on the error stream and succeeds.
func (e *Env) ShowHelp(cmd *cobra.Command, args []string) error {
	cmd.SetOut(e.Err)
	cmd.HelpFunc()(cmd, args)
	return nil
}

// Annotations that decide where the root command's help lists a command.
const (
	SwarmAnnotation = "swarm"        // among the nouns about a swarm
	TopAnnotation   = "category-top" // first, in the order of the number it holds
)
