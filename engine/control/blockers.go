package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/manager/allocator/networkallocator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// user is what keeps a network from being removed: a service, or what is left
// of one, and its tasks that hold an endpoint.
type user struct {
	service string
	needs   bool // the service wants the network, also without a task
	tasks   []string
}

func (u *user) String() string {
	text := "service " + u.service
	if !u.needs {
		text = "what is left of " + text
	}
	if len(u.tasks) > 0 {
		text += " (" + strings.Join(u.tasks, ", ") + ")"
	}
	return text
}

// users finds out who uses a network, sorted by name. Tasks on nodes that are
// not there don't count: nothing can be awaited of them.
func users(ctx context.Context, c api.ControlClient, nw *api.Network) ([]user, error) {
	services, err := listServices(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	tasks, err := listTasks(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	nodes, err := listNodes(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	hosts := map[string]string{} // of the nodes that are there, by ID
	for _, n := range nodes {
		if n.Status.State == api.NodeStatus_READY && n.Description != nil {
			hosts[n.ID] = n.Description.Hostname
		}
	}
	found := map[string]*user{}
	for _, s := range services {
		if needs(s, nw) {
			found[s.ID] = &user{service: s.Spec.Annotations.Name, needs: true}
		}
	}
	for _, t := range tasks {
		host, there := hosts[t.NodeID]
		if !there || !holds(t, nw.ID) {
			continue
		}
		u := found[t.ServiceID]
		if u == nil {
			u = &user{service: t.ServiceAnnotations.Name}
			found[t.ServiceID] = u
		}
		u.tasks = append(u.tasks, fmt.Sprintf("task %s on %s", t.ID, host))
	}
	var list []user
	for _, u := range found {
		slices.Sort(u.tasks)
		list = append(list, *u)
	}
	slices.SortFunc(list, func(a, b user) int { return strings.Compare(a.service, b.service) })
	return list, nil
}

func needs(s *api.Service, nw *api.Network) bool {
	if nw.Spec.Ingress {
		return networkallocator.IsIngressNetworkNeeded(s)
	}
	return slices.ContainsFunc(append(slices.Clone(s.Spec.Task.Networks), s.Spec.Networks...), func(a *api.NetworkAttachmentConfig) bool {
		return a.Target == nw.ID
	})
}

// holds reports whether a task that has not ended is on a network.
func holds(t *api.Task, network string) bool {
	return t.Status.State <= api.TaskStateRunning && slices.ContainsFunc(t.Networks, func(a *api.NetworkAttachment) bool {
		return a.Network != nil && a.Network.ID == network
	})
}

// named adds to the refusal of a network's removal everybody who uses it:
// SwarmKit names the first, in Docker's words, which stay as they are where
// that is all there is to say.
func named(ctx context.Context, c api.ControlClient, nw *api.Network, refusal error) error {
	s, is := status.FromError(refusal)
	if !is || s.Code() != codes.FailedPrecondition {
		return refusal
	}
	list, err := users(ctx, c, nw)
	if err != nil || len(list) == 0 || (len(list) == 1 && !nw.Spec.Ingress) {
		return refusal
	}
	return inUse(s.Message(), nw, list)
}

func inUse(text string, nw *api.Network, list []user) error {
	words := make([]string, len(list))
	for i := range list {
		words[i] = list[i].String()
	}
	fix := "remove these first"
	if nw.Spec.Ingress {
		fix = "take their published ports off first (weft service update --publish-rm), or have `weft ingress customise` do all of it"
	}
	return status.Errorf(codes.FailedPrecondition, "%s; network %s is used by: %s; %s", text, nw.Spec.Annotations.Name, strings.Join(words, ", "), fix)
}

// checkDrained refuses to remove an ingress network while a task holds an
// endpoint of it, as tasks of a removed service do until they have ended.
// SwarmKit would remove it under them.
func checkDrained(ctx context.Context, c api.ControlClient, nw *api.Network) error {
	if !nw.Spec.Ingress {
		return nil
	}
	list, err := users(ctx, c, nw)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(u user) bool { return u.needs }) || len(list) == 0 {
		return nil // SwarmKit's own to refuse, or nobody's
	}
	return inUse("ingress network cannot be removed because tasks still end", nw, list)
}
