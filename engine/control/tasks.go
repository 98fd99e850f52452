package control

import (
	"context"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"
)

// Tasks lists with Docker's task filters. A task that waits because a network
// has no address left, or somebody has its port, says so in its status.
func (n *Node) Tasks(ctx context.Context, f filters.Args) ([]swarm.Task, error) {
	out := []swarm.Task{}
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		conv, err := resolveTaskFilters(ctx, c, f)
		if err != nil {
			return err
		}
		tasks, err := listTasks(ctx, c, conv)
		if err != nil {
			return err
		}
		if err := explain(ctx, c, tasks); err != nil {
			return err
		}
		for _, t := range tasks {
			d, err := convert.TaskFromGRPC(*t)
			if err != nil {
				return err
			}
			out = append(out, d)
		}
		return nil
	})
	return out, err
}

// explain tells in the status of tasks what they wait for.
func explain(ctx context.Context, c api.ControlClient, tasks []*api.Task) error {
	if err := explainWaiting(ctx, c, tasks); err != nil {
		return err
	}
	return explainHostPorts(ctx, c, tasks)
}

// Task gives the task with this ID, name or prefix of an ID.
func (n *Node) Task(ctx context.Context, id string) (swarm.Task, error) {
	var out swarm.Task
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		t, err := findTask(ctx, c, id)
		if err != nil {
			return err
		}
		if err := explain(ctx, c, []*api.Task{t}); err != nil {
			return err
		}
		out, err = convert.TaskFromGRPC(*t)
		return err
	})
	return out, err
}

func resolveTaskFilters(ctx context.Context, c api.ControlClient, f filters.Args) (*api.ListTasksRequest_Filters, error) {
	err := accept(f, "name", "id", "label", "service", "node", "desired-state", "_up-to-date", "runtime")
	if err != nil {
		return nil, err
	}
	var services, nodes []string
	for _, ref := range f.Get("service") {
		s, err := findService(ctx, c, ref, false)
		if err != nil {
			return nil, err
		}
		services = append(services, s.ID)
	}
	for _, ref := range f.Get("node") {
		m, err := findNode(ctx, c, ref)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, m.ID)
	}
	return taskFilters(f, services, nodes)
}
