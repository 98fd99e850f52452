package control

import (
	"context"
	"errors"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
)

// Services lists with Docker's service filters; status fills in how many tasks
// run.
func (n *Node) Services(ctx context.Context, f filters.Args, status bool) ([]swarm.Service, error) {
	out := []swarm.Service{}
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		conv, err := serviceFilters(f)
		if err != nil {
			return err
		}
		services, err := listServices(ctx, c, conv)
		if err != nil {
			return err
		}
		for _, s := range services {
			if f.Contains("mode") && !f.ExactMatch("mode", serviceMode(s)) {
				continue
			}
			d, err := convert.ServiceFromGRPC(*s)
			if err != nil {
				return err
			}
			out = append(out, d)
		}
		if status {
			return addStatuses(ctx, c, out)
		}
		return nil
	})
	return out, err
}

func addStatuses(ctx context.Context, c api.ControlClient, services []swarm.Service) error {
	ids := make([]string, len(services))
	for i, s := range services {
		ids[i] = s.ID
	}
	r, err := c.ListServiceStatuses(ctx, &api.ListServiceStatusesRequest{Services: ids}, wholeList())
	if err != nil {
		return err
	}
	byID := make(map[string]*swarm.ServiceStatus, len(r.Statuses))
	for _, s := range r.Statuses {
		byID[s.ServiceID] = &swarm.ServiceStatus{
			RunningTasks: s.RunningTasks, DesiredTasks: s.DesiredTasks, CompletedTasks: s.CompletedTasks,
		}
	}
	for i := range services {
		services[i].ServiceStatus = byID[services[i].ID]
	}
	return nil
}

// Service gives the service with this ID, name or prefix of an ID;
// insertDefaults fills in what its spec leaves to SwarmKit.
func (n *Node) Service(ctx context.Context, idOrName string, insertDefaults bool) (swarm.Service, error) {
	var out swarm.Service
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		s, err := findService(ctx, c, idOrName, insertDefaults)
		if err != nil {
			return err
		}
		out, err = convert.ServiceFromGRPC(*s)
		return err
	})
	return out, err
}

// CreateService creates a service of containers. Its networks may be given by
// ID, name or prefix of an ID.
func (n *Node) CreateService(ctx context.Context, spec swarm.ServiceSpec) (swarm.ServiceCreateResponse, error) {
	var out swarm.ServiceCreateResponse
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		if _, err := meshModel(spec.Labels); err != nil {
			return err
		}
		conv, err := n.serviceSpec(ctx, c, &spec)
		if err != nil {
			return err
		}
		r, err := c.CreateService(ctx, &api.CreateServiceRequest{Spec: conv})
		if err != nil {
			return err
		}
		out = swarm.ServiceCreateResponse{ID: r.Service.ID, Warnings: orderWarnings(spec)}
		return nil
	})
	return out, err
}

// UpdateService replaces a service's spec, if version is its current one, or
// rolls it back to the spec before.
func (n *Node) UpdateService(ctx context.Context, idOrName string, version uint64, spec swarm.ServiceSpec, opts swarm.ServiceUpdateOptions) (swarm.ServiceUpdateResponse, error) {
	var out swarm.ServiceUpdateResponse
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		rollback, err := rollbackOf(opts.Rollback)
		if err != nil {
			return err
		}
		current, err := findService(ctx, c, idOrName, false)
		if err != nil {
			return err
		}
		if _, err := meshModel(spec.Labels); err != nil {
			return err
		}
		conv, err := n.serviceSpec(ctx, c, &spec)
		if err != nil {
			return err
		}
		if err := keepAuth(conv, current, opts); err != nil {
			return err
		}
		_, err = c.UpdateService(ctx, &api.UpdateServiceRequest{
			ServiceID: current.ID, Spec: conv, ServiceVersion: &api.Version{Index: version}, Rollback: rollback,
		})
		if rollback == api.UpdateServiceRequest_NONE {
			out.Warnings = orderWarnings(spec)
		}
		return err
	})
	return out, err
}

// RemoveService removes a service and, in the background, its tasks.
func (n *Node) RemoveService(ctx context.Context, idOrName string) error {
	return n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		s, err := findService(ctx, c, idOrName, false)
		if err != nil {
			return err
		}
		_, err = c.RemoveService(ctx, &api.RemoveServiceRequest{ServiceID: s.ID})
		return err
	})
}

// serviceSpec resolves the networks of spec and converts it.
func (n *Node) serviceSpec(ctx context.Context, c api.ControlClient, spec *swarm.ServiceSpec) (*api.ServiceSpec, error) {
	if err := n.resolveNetworks(ctx, c, spec); err != nil {
		return nil, err
	}
	return toService(*spec)
}

// toService converts a spec whose networks are IDs.
func toService(spec swarm.ServiceSpec) (*api.ServiceSpec, error) {
	if c := spec.TaskTemplate.ContainerSpec; c != nil {
		if err := errors.Join(noNulls("Secrets", c.Secrets), noNulls("Configs", c.Configs), noNulls("Ulimits", c.Ulimits)); err != nil {
			return nil, err
		}
	}
	if p := spec.TaskTemplate.PluginSpec; p != nil {
		if err := noNulls("Privileges", p.Privileges); err != nil {
			return nil, err
		}
	}
	conv, err := convert.ServiceSpecToGRPC(spec)
	if err != nil {
		return nil, fault.Invalid("%w", err)
	}
	switch {
	case conv.Task.GetAttachment() != nil:
		return nil, fault.Invalid("invalid task spec: spec type %q not supported", swarm.RuntimeNetworkAttachment)
	case conv.Task.GetGeneric() != nil:
		return nil, fault.Unsupported("unsupported runtime type: %q", conv.Task.GetGeneric().Kind)
	case conv.Task.GetContainer() == nil:
		return nil, fault.Invalid("service does not use container tasks")
	}
	return &conv, nil
}

// resolveNetworks turns the names of a spec's networks into IDs, in place: in
// the task's networks, or in those of the service where the task has none
// (API before 1.25).
func (n *Node) resolveNetworks(ctx context.Context, c api.ControlClient, spec *swarm.ServiceSpec) error {
	list := &spec.TaskTemplate.Networks
	if len(*list) == 0 {
		list = &spec.Networks //nolint:staticcheck // deprecated, and still sent by old clients
	}
	resolved := make([]swarm.NetworkAttachmentConfig, len(*list))
	for i, nw := range *list {
		found, err := findNetwork(ctx, c, nw.Target)
		if err != nil && n.cfg.LocalNetwork(nw.Target) {
			return fault.Forbidden("The network %s cannot be used with services. Only networks scoped to the swarm can be used, such as those created with the overlay driver.", nw.Target)
		}
		if err != nil {
			return err
		}
		nw.Target = found.ID
		resolved[i] = nw
	}
	*list = resolved
	return nil
}

func rollbackOf(s string) (api.UpdateServiceRequest_Rollback, error) {
	switch s {
	case "", "none":
		return api.UpdateServiceRequest_NONE, nil
	case "previous":
		return api.UpdateServiceRequest_PREVIOUS, nil
	}
	return 0, fault.Invalid("unrecognized rollback option %s", s)
}

// keepAuth carries the registry's credentials over from the spec opts names,
// unless opts brings new ones.
func keepAuth(conv *api.ServiceSpec, current *api.Service, opts swarm.ServiceUpdateOptions) error {
	ctr := conv.Task.GetContainer()
	if opts.EncodedRegistryAuth != "" {
		ctr.PullOptions = &api.ContainerSpec_PullOptions{RegistryAuth: opts.EncodedRegistryAuth}
		return nil
	}
	from := &current.Spec
	switch opts.RegistryAuthFrom {
	case swarm.RegistryAuthFromSpec, "":
	case swarm.RegistryAuthFromPreviousSpec:
		if current.PreviousSpec == nil {
			return fault.Invalid("service does not have a previous spec")
		}
		from = current.PreviousSpec
	default:
		return fault.Invalid("unsupported registryAuthFrom value")
	}
	old := from.Task.GetContainer()
	if old == nil {
		return fault.Invalid("service does not use container tasks")
	}
	ctr.PullOptions = old.PullOptions
	return nil
}
