package ingress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Holding are the tasks of one service that hold an endpoint of a network.
type Holding struct {
	Service string   // its name, or its ID when it is gone
	Tasks   []string // such as "web.1 on node2", those on their way out included
}

func (h Holding) String() string { return h.Service + ": " + strings.Join(h.Tasks, ", ") }

// Holdings gives all tasks that hold an endpoint of a network, by service.
func (w *World) Holdings(network string) []Holding {
	var list []Holding
	tasks := slices.Clone(w.Tasks)
	slices.SortFunc(tasks, func(a, b Task) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(w.hostname(a.Node), w.hostname(b.Node)), cmp.Compare(a.ID, b.ID))
	})
	for _, t := range tasks {
		if !t.Holds(network) {
			continue
		}
		name := t.Service
		if i := slices.IndexFunc(w.Services, func(s Service) bool { return s.ID == t.Service }); i >= 0 {
			name = w.Services[i].Name
		}
		i := slices.IndexFunc(list, func(h Holding) bool { return h.Service == name })
		if i < 0 {
			i = len(list)
			list = append(list, Holding{Service: name})
		}
		list[i].Tasks = append(list[i].Tasks, w.place(name, t))
	}
	slices.SortFunc(list, func(a, b Holding) int { return cmp.Compare(a.Service, b.Service) })
	return list
}

// place names a task as `service ps` does, and its node.
func (w *World) place(service string, t Task) string {
	text := service
	if t.Slot != 0 {
		text = fmt.Sprintf("%s.%d", service, t.Slot)
	}
	text += " on " + w.hostname(t.Node)
	if t.Desired != "running" {
		text += " (ending)"
	}
	return text
}

func (w *World) hostname(node string) string {
	i := slices.IndexFunc(w.Nodes, func(n Node) bool { return n.ID == node })
	if i < 0 {
		return "no node yet"
	}
	return w.Nodes[i].Hostname
}

// endpoints says which tasks hold an endpoint of the ingress network now.
func endpoints(w *World) []string {
	if w.Ingress == nil {
		return nil
	}
	name := w.Ingress.Spec.Name
	list := w.Holdings(w.Ingress.ID)
	if len(list) == 0 {
		return []string{"no task holds an endpoint of " + name + " now"}
	}
	var notes []string
	n := 0
	for _, h := range list {
		n += len(h.Tasks)
		notes = append(notes, h.String())
	}
	return append([]string{fmt.Sprintf("%s of %s %s an endpoint of %s now:", amount(n, "task"), amount(len(list), "service"), does(n, "hold"), name)}, notes...)
}
