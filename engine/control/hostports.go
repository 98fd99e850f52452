package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/api/naming"

	"weft/engine/model"
)

// hostPortsTaken is how SwarmKit's scheduler begins to say that a task waits
// for a port (manager/scheduler/filter.go, HostPortFilter.Explain).
const hostPortsTaken = "host-mode port already in use"

// explainHostPorts names who has the ports of nodes that tasks wait for, and
// the way out where it is their own service.
func explainHostPorts(ctx context.Context, c api.ControlClient, tasks []*api.Task) error {
	waiting := slices.DeleteFunc(slices.Clone(tasks), func(t *api.Task) bool {
		return t.Status.State != api.TaskStatePending || !strings.Contains(t.Status.Err, hostPortsTaken)
	})
	if len(waiting) == 0 {
		return nil
	}
	all, err := listTasks(ctx, c, nil)
	if err != nil {
		return err
	}
	nodes, err := listNodes(ctx, c, nil)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, n := range nodes {
		names[n.ID] = n.ID
		if n.Description != nil && n.Description.Hostname != "" {
			names[n.ID] = n.Description.Hostname
		}
	}
	for _, t := range waiting {
		if held := portHolders(t, all, names); len(held) > 0 {
			t.Status.Err += ": " + strings.Join(held, ", ")
			if own(t, all) {
				t.Status.Err += ": a task of the same service has it: if it is not going to end, update in the order stop-first, or with fewer replicas than nodes: " +
					"service update --update-order stop-first " + t.ServiceAnnotations.Name
			}
		}
	}
	return nil
}

// blocks reports whether a task has one of another's ports of its node, which.
func blocks(t, other *api.Task) (string, bool) {
	if t.ID == other.ID || other.NodeID == "" || other.Status.State > api.TaskStateRunning {
		return "", false
	}
	for _, p := range publishedPorts(t.Endpoint) {
		for _, q := range publishedPorts(other.Endpoint) {
			if p.PublishMode == api.PublishModeHost && q.PublishMode == api.PublishModeHost && p.PublishedPort != 0 &&
				p.PublishedPort == q.PublishedPort && p.Protocol == q.Protocol {
				return fmt.Sprintf("%d/%s", p.PublishedPort, protocol(p)), true
			}
		}
	}
	return "", false
}

// portHolders says who has t's ports on which node. One that is bound to a node
// waits for that alone.
func portHolders(t *api.Task, all []*api.Task, nodes map[string]string) []string {
	var out []string
	for _, other := range all {
		if t.NodeID != "" && t.NodeID != other.NodeID {
			continue
		}
		if port, ok := blocks(t, other); ok {
			out = append(out, fmt.Sprintf("%s of %s is held by %s", port, nodes[other.NodeID], naming.Task(other)))
		}
	}
	slices.Sort(out)
	return out
}

func own(t *api.Task, all []*api.Task) bool {
	return slices.ContainsFunc(all, func(other *api.Task) bool {
		_, ok := blocks(t, other)
		return ok && other.ServiceID == t.ServiceID
	})
}

// orderWarnings tells of an update that may wait for itself: a new task that
// starts first wants the port the old one has.
func orderWarnings(spec swarm.ServiceSpec) []string {
	if spec.UpdateConfig == nil || spec.UpdateConfig.Order != swarm.UpdateOrderStartFirst || spec.EndpointSpec == nil {
		return nil
	}
	for _, p := range spec.EndpointSpec.Ports {
		if p.PublishMode == swarm.PortConfigPublishModeHost && p.PublishedPort != 0 {
			return []string{fmt.Sprintf("service %s publishes %d/%s in host mode and is updated in the order start-first: a new task starts only on a node where no old one has the port; "+
				"without such a node an update waits forever: use --update-order stop-first", spec.Name, p.PublishedPort, p.Protocol)}
		}
	}
	return nil
}

// PortStatus implements exec.PortStatuser: the ports of the node, of those
// published in host mode.
func (c *taskController) PortStatus(ctx context.Context) (*api.PortStatus, error) {
	s, ok := c.exec.cfg.Host.TaskStatus(ctx, c.task.ID)
	if !ok {
		return nil, nil //nolint:nilnil // SwarmKit's way to say that there are none
	}
	return &api.PortStatus{Ports: portStatus(s.Ports)}, nil
}

// portStatus lists each port once, whatever addresses it is open at.
func portStatus(ports []model.PublishedPort) []*api.PortConfig {
	var out []*api.PortConfig
	for _, p := range ports {
		n, ok := api.PortConfig_Protocol_value[strings.ToUpper(p.Proto)]
		have := slices.ContainsFunc(out, func(q *api.PortConfig) bool {
			return q.PublishedPort == uint32(p.HostPort) && q.TargetPort == uint32(p.Port.Port) && int32(q.Protocol) == n
		})
		if !ok || have || p.HostPort == 0 {
			continue
		}
		out = append(out, &api.PortConfig{
			PublishMode: api.PublishModeHost, Protocol: api.PortConfig_Protocol(n),
			TargetPort: uint32(p.Port.Port), PublishedPort: uint32(p.HostPort),
		})
	}
	return out
}
