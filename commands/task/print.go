package task

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"weft/commands/imageref"
	"weft/commands/render"
)

// Style is how tasks are shown.
type Style struct {
	Format string    // value of --format; empty is the default table
	Quiet  bool      // IDs only
	Full   bool      // nothing cut short
	Now    time.Time // what ages are counted from
}

// taskContext is a row of the list, named as in Docker because errors in
// templates show the name.
type taskContext struct {
	ID, Name, Image, Node, DesiredState, CurrentState, Error, Ports string
}

// Print writes tasks ordered by name, the newest of a slot first and, in a
// table, its predecessors set off below it.
func Print(ctx context.Context, out io.Writer, tasks []swarm.Task, names *Resolver, style Style) error {
	tasks = named(ctx, tasks, names)
	indent := ""
	if style.Format == "" || strings.HasPrefix(style.Format, "table") {
		indent = ` \_ `
	}
	previous := ""
	rows := make([]*taskContext, 0, len(tasks))
	for _, t := range tasks {
		r := newRow(t, style)
		r.Node = names.Node(ctx, t.NodeID)
		if r.Name = t.Name; t.Name == previous {
			r.Name = indent + t.Name
		}
		previous = t.Name
		rows = append(rows, r)
	}
	return list().Write(out, style.Format, style.Quiet, rows)
}

func list() render.List[*taskContext] {
	return render.List[*taskContext]{
		Headers: render.Headers{
			"ID": "ID", "Name": "NAME", "Image": "IMAGE", "Node": "NODE", "DesiredState": "DESIRED STATE",
			"CurrentState": "CURRENT STATE", "Error": "ERROR", "Ports": "PORTS",
		},
		Table:    `{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}`,
		RawQuiet: `id: {{.ID}}`,
		Raw: `id: {{.ID}}\nname: {{.Name}}\nimage: {{.Image}}\nnode: {{.Node}}\ndesired_state: {{.DesiredState}}\n` +
			`current_state: {{.CurrentState}}\nerror: {{.Error}}\nports: {{.Ports}}\n`,
	}
}

// named gives the tasks in order, named after their service and slot or, for
// global services, node.
func named(ctx context.Context, tasks []swarm.Task, names *Resolver) []swarm.Task {
	tasks = slices.Clone(tasks)
	for i, t := range tasks {
		slot := t.NodeID
		if t.Slot != 0 {
			slot = strconv.Itoa(t.Slot)
		}
		tasks[i].Name = names.Service(ctx, t.ServiceID) + "." + slot
	}
	slices.SortStableFunc(tasks, func(a, b swarm.Task) int {
		if a.Name != b.Name {
			return render.CompareNatural(a.Name, b.Name)
		}
		return b.CreatedAt.Compare(a.CreatedAt)
	})
	return tasks
}

func newRow(t swarm.Task, style Style) *taskContext {
	r := &taskContext{
		ID:           render.ID(t.ID, style.Full),
		DesiredState: render.Capital(string(t.DesiredState)),
		CurrentState: fmt.Sprintf("%s %s ago", render.Capital(string(t.Status.State)), strings.ToLower(render.Ago(style.Now, t.Status.Timestamp))),
		Ports:        ports(t.Status.PortStatus.Ports),
	}
	if t.Spec.ContainerSpec != nil {
		r.Image = t.Spec.ContainerSpec.Image
		if !style.Full {
			r.Image = imageref.Short(r.Image)
		}
	}
	const errorWidth = 30 // as Docker cuts it
	if r.Error = t.Status.Err; !style.Full {
		r.Error = render.Ellipsis(r.Error, errorWidth)
	}
	if r.Error != "" {
		r.Error = `"` + r.Error + `"`
	}
	return r
}

func ports(list []swarm.PortConfig) string {
	texts := make([]string, 0, len(list))
	for _, p := range list {
		texts = append(texts, fmt.Sprintf("*:%d->%d/%s", p.PublishedPort, p.TargetPort, p.Protocol))
	}
	return strings.Join(texts, ",")
}
