package mesh

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
	"weft/engine/model"
)

func newInspect(env *cmdenv.Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] PORT[/PROTOCOL] [PORT[/PROTOCOL]...]",
		Short: "Show what answers at a published port on each host, and why",
		Args:  cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var refs []reference
			for _, arg := range args {
				r, err := parsePort(arg)
				if err != nil {
					return err
				}
				refs = append(refs, r)
			}
			s, err := look(cmd.Context(), env)
			if err != nil {
				return err
			}
			if format != "" {
				return render.Inspect(env.Out, args, format, func(ref string) (any, []byte, error) {
					r, err := parsePort(ref)
					if err != nil {
						return nil, nil, err
					}
					return s.details(r)
				})
			}
			return s.inspect(cmd.Context(), env, refs)
		},
		ValidArgsFunction: complete(env),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", render.InspectFormatHelp)
	return cmd
}

// details is what templates and JSON see of a port.
type details struct {
	model.MeshPort

	Hosts []hostDetails
}

type hostDetails struct {
	Node    string
	Addr    string
	Answers answer
	Why     string // empty if it does
}

func (s *seen) details(r reference) (value any, raw []byte, err error) {
	p, err := r.find(s.Ports)
	if err != nil {
		return nil, nil, err
	}
	d := details{MeshPort: p}
	for _, n := range s.Nodes {
		a, why := at(n, portName(p))
		d.Hosts = append(d.Hosts, hostDetails{Node: s.node(n.Addr), Addr: n.Addr.String(), Answers: a, Why: why})
	}
	return d, nil, nil
}

func (s *seen) inspect(ctx context.Context, env *cmdenv.Env, refs []reference) error {
	var b strings.Builder
	for i, r := range refs {
		p, err := r.find(s.Ports)
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteString("\n")
		}
		s.describe(&b, p)
		s.describeOthers(ctx, env, &b, p)
	}
	_, err := io.WriteString(env.Out, b.String())
	return err
}

func (s *seen) describe(b *strings.Builder, p model.MeshPort) {
	fmt.Fprintf(b, "Port:       %s\n", portName(p))
	fmt.Fprintf(b, "Service:    %s\n", p.Service)
	fmt.Fprintf(b, "Network:    %s\n", s.Network)
	fmt.Fprintf(b, "Client:     %s\n", map[bool]string{false: "the task sees the client's own address", true: "the task sees the node's address"}[p.Masquerade])
	how := map[string]string{"roundrobin": "each flow gets the next task", "random": "each flow gets any task", "source": "a client's flows get one task"}[p.Algorithm]
	if p.Local {
		how += ", of the node it comes to if that has any"
	}
	fmt.Fprintf(b, "Balance:    %s (%s)\n", how, p.Algorithm)
	if p.Idle > 0 {
		fmt.Fprintf(b, "Idle:       a flow is forgotten after %s without a packet\n", p.Idle)
	}
	if len(p.Bind) > 0 {
		fmt.Fprintf(b, "Bound:      to %s\n", strings.Join(p.Bind, ", "))
	}
	b.WriteString("Hosts:\n")
	for _, n := range s.Nodes {
		a, why := at(n, portName(p))
		text := map[answer]string{
			answers: "answers", bound: "does not answer: " + why, wrong: "does not answer as it should: " + why, unknown: "not known: " + why,
		}[a]
		fmt.Fprintf(b, "  %-16s %s\n", s.node(n.Addr), text)
		if n.Report != nil && n.Report.Mended > 0 {
			fmt.Fprintf(b, "  %-16s its kernel was put right %s: something else changes it\n", "", times(n.Report.Mended))
		}
	}
	fmt.Fprintf(b, "Tasks, as %s has them:\n", s.node(s.Nodes[0].Addr))
	for _, t := range p.Backends {
		fmt.Fprintf(b, "  %-16s %s on %s, port %d: %s\n", shortTask(t.Task), t.Addr, s.node(t.Node), t.Target, standing(p, t))
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// standing says what a task gets, and why.
func standing(p model.MeshPort, t model.MeshBackend) string {
	switch {
	case t.Leaving && t.Serving:
		return "leaving, and still gets new flows: the next look will show whether it stays so"
	case t.Leaving:
		return "leaving, gets no new flows"
	case !t.Serving && p.Local:
		return "gets none from here: tasks of this node go first (weft.mesh.local)"
	case !t.Serving:
		return "ready, but the kernel sends nothing there"
	case t.Foreign:
		return "serving; a Docker task, which sees the node's address"
	}
	return "serving"
}

// describeOthers tells of the service's tasks that are behind no port yet,
// which only managers know of.
func (s *seen) describeOthers(ctx context.Context, env *cmdenv.Env, b *strings.Builder, p model.MeshPort) {
	client, err := env.Client(ctx)
	if err != nil {
		return
	}
	tasks, err := client.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", p.ServiceID), filters.Arg("desired-state", "running"))})
	if err != nil {
		return
	}
	known := map[string]bool{}
	for _, t := range p.Backends {
		known[t.Task[strings.LastIndex(t.Task, ".")+1:]] = true
	}
	for _, t := range tasks {
		if known[t.ID] {
			continue
		}
		why := string(t.Status.State) + ", not ready"
		if t.Status.State == swarm.TaskStateRunning {
			why = "running, but does not listen at its published ports yet"
		}
		if t.Status.Err != "" {
			why += " (" + t.Status.Err + ")"
		}
		fmt.Fprintf(b, "  %-16s %s\n", fmt.Sprintf("%s.%d", p.Service, t.Slot), why)
	}
}

// shortTask leaves the task's ID out of its name.
func shortTask(name string) string {
	if i := strings.LastIndex(name, "."); i > 0 {
		return name[:i]
	}
	return name
}
