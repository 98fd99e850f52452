package task

import (
	"context"

	"github.com/docker/docker/api/types/swarm"
)

// Inspector looks up what a task refers to.
type Inspector interface {
	NodeInspectWithRaw(ctx context.Context, nodeID string) (swarm.Node, []byte, error)
	ServiceInspectWithRaw(ctx context.Context, serviceID string, options swarm.ServiceInspectOptions) (swarm.Service, []byte, error)
}

// Resolver turns IDs into names and remembers them. What cannot be looked up
// keeps its ID: a task outlives its service and its node.
type Resolver struct {
	api   Inspector // nil: every ID stays as it is
	names map[string]string
}

// NewResolver gives a Resolver over an API. With a nil API IDs stay IDs, which
// is --no-resolve.
func NewResolver(api Inspector) *Resolver {
	return &Resolver{api: api, names: map[string]string{}}
}

// Node gives the name of a node: its own, else its hostname.
func (r *Resolver) Node(ctx context.Context, id string) string {
	return r.resolve(id, func() string {
		node, _, err := r.api.NodeInspectWithRaw(ctx, id)
		switch {
		case err != nil:
			return ""
		case node.Spec.Name != "":
			return node.Spec.Name
		default:
			return node.Description.Hostname
		}
	})
}

// Service gives the name of a service.
func (r *Resolver) Service(ctx context.Context, id string) string {
	return r.resolve(id, func() string {
		service, _, err := r.api.ServiceInspectWithRaw(ctx, id, swarm.ServiceInspectOptions{})
		if err != nil {
			return ""
		}
		return service.Spec.Name
	})
}

func (r *Resolver) resolve(id string, look func() string) string {
	if r.api == nil || id == "" {
		return id
	}
	name, known := r.names[id]
	if !known {
		if name = look(); name == "" {
			name = id
		}
		r.names[id] = name
	}
	return name
}
