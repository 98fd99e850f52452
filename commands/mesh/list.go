package mesh

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
	"weft/engine/model"
)

func newList(env *cmdenv.Env) *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List the published ports, and where they are answered",
		Args:    cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := look(cmd.Context(), env)
			if err != nil {
				return err
			}
			return s.list(env.Out, format, quiet)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display ports")
	cmd.Flags().StringVar(&format, "format", "", render.FormatHelp)
	return cmd
}

// row is one of the list.
type row struct {
	Port, Service, Tasks, Source, Hosts, State string
}

func (s *seen) list(out io.Writer, format string, quiet bool) error {
	rows := make([]row, 0, len(s.Ports))
	for _, p := range s.Ports {
		rows = append(rows, s.row(p))
	}
	list := render.List[row]{
		Headers: render.Headers{"Port": "PORT", "Service": "SERVICE", "Tasks": "TASKS", "Source": "CLIENT ADDRESS", "Hosts": "HOSTS", "State": "STATE"},
		Table:   `{{.Port}}\t{{.Service}}\t{{.Tasks}}\t{{.Source}}\t{{.Hosts}}\t{{.State}}`,
		Quiet:   `{{.Port}}`,
	}
	return list.Write(out, format, quiet, rows)
}

func (s *seen) row(p model.MeshPort) row {
	serving := 0
	for _, b := range p.Backends {
		if b.Serving {
			serving++
		}
	}
	count := map[answer]int{}
	var problems []string
	for _, n := range s.Nodes {
		a, why := at(n, portName(p))
		count[a]++
		if a == wrong {
			problems = append(problems, s.node(n.Addr)+": "+why)
		}
	}
	state := "ok"
	switch {
	case len(problems) > 0:
		state = render.Ellipsis(strings.Join(problems, "; "), maxState)
	case count[bound] == len(s.Nodes):
		state = render.Ellipsis("answered nowhere: no host has "+strings.Join(p.Bind, ", "), maxState)
	case count[unknown] > 0:
		state = fmt.Sprintf("ok; not known of %d", count[unknown])
	}
	return row{
		Port: portName(p), Service: p.Service, Tasks: fmt.Sprintf("%d/%d", serving, len(p.Backends)), Source: source(p),
		Hosts: fmt.Sprintf("%d/%d", count[answers], len(s.Nodes)), State: state,
	}
}

// maxState keeps a row on a wide terminal's line.
const maxState = 80

// source says what tasks see of their clients.
func source(p model.MeshPort) string {
	if p.Masquerade {
		return "masqueraded"
	}
	return "preserved"
}
