// Package labcmd is `weft lab`: hosts made of namespaces on this machine, with
// an engine in each, to try things out, rehearse an outage or show them.
//
// The lab itself is engine/lab's; this package turns flags into its calls and
// its values into text. It knows one thing more: the demonstration, which
// drives weft's own command line in a lab of its own and removes it again.
package labcmd

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/lab"
)

// New gives the `lab` command. self is the path of the running binary, whose
// main knows lab.HostName.
func New(env *cmdenv.Env, self string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Try things out on hosts made of namespaces",
		Long: "Make hosts out of namespaces on this machine, each with an engine of its own and a network between\n" +
			"them: to try things out, to rehearse an outage, to see a demonstration. Those of an ordinary user are\n" +
			"in a user namespace.",
		Args: cmdenv.NoArgs,
		RunE: env.ShowHelp,
		Example: "  weft lab up --hosts 3\n" +
			"  weft lab exec host1 -- weft swarm init --advertise-addr 192.168.99.1\n" +
			"  weft lab partition host1 host2\n" +
			"  weft lab down",
	}
	for _, sub := range []*cobra.Command{
		newUp(env, self), newList(env, self), newExec(env, self), newShell(env, self),
		newPartition(env, self), newHeal(env, self), newKill(env, self), newStart(env, self),
		newDown(env, self), newDemo(env, self),
	} {
		cmd.AddCommand(asRoot(env, self, sub))
	}
	return cmd
}

// place says which lab a command is about.
type place struct {
	name, stateDir, self string
}

func (p *place) bind(cmd *cobra.Command, env *cmdenv.Env) {
	cmd.Flags().StringVar(&p.name, "name", lab.DefaultName, "Name of the lab")
	cmd.Flags().StringVar(&p.stateDir, "state-dir", defaultState(env), "Directory of the labs")
}

// defaultState is lab.DefaultState for root.
func defaultState(env *cmdenv.Env) string { return filepath.Join(env.Dirs.Data, "lab") }

func (p *place) open() (*lab.Lab, error) { return lab.Open(p.stateDir, p.name, p.self) }

// hostNames completes the names of hosts for up to most arguments.
func (p *place) hostNames(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const done = cobra.ShellCompDirectiveNoFileComp
		l, err := p.open()
		if err != nil || len(args) >= most {
			return nil, done
		}
		hosts, err := l.Hosts()
		if err != nil {
			return nil, done
		}
		var names []cobra.Completion
		for _, h := range hosts {
			if strings.HasPrefix(h.Name, typed) && !slices.Contains(args, h.Name) {
				names = append(names, h.Name)
			}
		}
		return names, done
	}
}

// Entry runs what the lab starts this binary for, by the name it was started
// under: PID 1 of a host. It gives false for every other name.
func Entry(argv []string) (code int, ok bool) { return lab.Dispatch(argv) }
