package commands

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// defaultWidth is the width help is wrapped to where there is no terminal.
const defaultWidth = 80

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about the command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if about == nil || err != nil || len(rest) > 0 {
				return fmt.Errorf("unknown help topic: %s", strings.Join(args, " "))
			}
			return about.Help()
		},
	}
}

// writeUsage prints a command's help in the shape of Docker's. width is that
// of the terminal, 0 if there is none.
func writeUsage(out io.Writer, cmd *cobra.Command, width int) error {
	if width == 0 {
		width = defaultWidth
	}
	var b bytes.Buffer
	b.WriteString("Usage:  " + usageLine(cmd) + "\n\n")
	if cmd.Long != "" {
		b.WriteString(strings.TrimSpace(cmd.Long) + "\n")
	} else {
		b.WriteString(strings.TrimSpace(cmd.Short) + "\n")
	}
	if len(cmd.Aliases) > 0 || cmd.Annotations[cmdenv.AliasesAnnotation] != "" {
		section(&b, "Aliases", "  "+aliases(cmd))
	}
	if cmd.HasExample() {
		section(&b, "Examples", cmd.Example)
	}
	flags := strings.TrimRight(cmd.Flags().FlagUsagesWrapped(width-1), " \t\n")
	if cmd.HasParent() && cmd.HasAvailableFlags() {
		section(&b, "Options", flags)
	}
	writeCommands(&b, cmd)
	if !cmd.HasParent() && cmd.HasAvailableFlags() {
		section(&b, "Global Options", flags)
	}
	if cmd.HasSubCommands() {
		fmt.Fprintf(&b, "\nRun '%s COMMAND --help' for more information on a command.\n", cmd.CommandPath())
	}
	_, err := b.WriteTo(out)
	return err
}

func usageLine(cmd *cobra.Command) string {
	if !cmd.HasSubCommands() {
		return cmd.UseLine()
	}
	line := cmd.CommandPath()
	if cmd.HasAvailableFlags() {
		line += " [OPTIONS]"
	}
	return line + " COMMAND"
}

func aliases(cmd *cobra.Command) string {
	if all := cmd.Annotations[cmdenv.AliasesAnnotation]; all != "" {
		return all
	}
	prefix := ""
	if cmd.HasParent() {
		prefix = cmd.Parent().CommandPath() + " "
	}
	all := []string{cmd.CommandPath()}
	for _, alias := range cmd.Aliases {
		all = append(all, prefix+alias)
	}
	return strings.Join(all, ", ")
}

func section(b *bytes.Buffer, title, body string) {
	fmt.Fprintf(b, "\n%s:\n%s\n", title, body)
}

// topFirst gives the subcommands, those marked to come first in their order
// before the others in alphabetical order.
func topFirst(cmd *cobra.Command) []*cobra.Command {
	subs := slices.Clone(cmd.Commands())
	slices.SortStableFunc(subs, func(a, b *cobra.Command) int { return cmp.Compare(topRank(a), topRank(b)) })
	return subs
}

// topRank gives the place of a command among those that come first in the
// root command's help, 0 if it is none of them.
func topRank(cmd *cobra.Command) int {
	if !cmd.HasParent() || cmd.Parent().HasParent() {
		return 0
	}
	rank, err := strconv.Atoi(cmd.Annotations[cmdenv.TopAnnotation])
	if err != nil {
		return 0
	}
	return rank
}

// writeCommands lists the subcommands: the common ones, nouns, those that need
// a swarm, then plain commands.
func writeCommands(b *bytes.Buffer, cmd *cobra.Command) {
	var top, nouns, swarm, plain []string
	for _, sub := range topFirst(cmd) {
		if !sub.IsAvailableCommand() {
			continue
		}
		line := fmt.Sprintf("  %-*s %s", sub.NamePadding(), sub.Name(), sub.Short)
		_, isSwarm := sub.Annotations[cmdenv.SwarmAnnotation]
		switch {
		case topRank(sub) > 0:
			top = append(top, line)
		case !sub.HasSubCommands():
			plain = append(plain, line)
		case isSwarm:
			swarm = append(swarm, line)
		default:
			nouns = append(nouns, line)
		}
	}
	for _, group := range []struct {
		title string
		lines []string
	}{{"Common Commands", top}, {"Management Commands", nouns}, {"Swarm Commands", swarm}, {"Commands", plain}} {
		if len(group.lines) > 0 {
			section(b, group.title, strings.Join(group.lines, "\n"))
		}
	}
}
