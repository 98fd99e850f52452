package control

import (
	"context"

	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
)

// Docker finds an object by its full ID, else by its name, else by a prefix of
// its ID, and refuses a reference with several matches (daemon/cluster/helpers.go).

// finder is one way to ask for objects.
type finder[T any] func() ([]T, error)

// pick returns the one object the first successful finder has.
func pick[T any](kind, ref string, finders ...finder[T]) (T, error) {
	var found []T
	var err error
	for _, find := range finders {
		if found, err = find(); err == nil && len(found) > 0 {
			break
		}
	}
	var none T
	switch {
	case err != nil:
		return none, err
	case len(found) == 0:
		return none, fault.NotFound("%s %s not found", kind, ref)
	case len(found) > 1:
		return none, fault.Invalid("%s %s is ambiguous (%d matches found)", kind, ref, len(found))
	}
	return found[0], nil
}

func findNode(ctx context.Context, c api.ControlClient, ref string) (*api.Node, error) {
	if r, err := c.GetNode(ctx, &api.GetNodeRequest{NodeID: ref}); err == nil {
		return r.Node, nil
	}
	return pick("node", ref,
		func() ([]*api.Node, error) {
			return listNodes(ctx, c, &api.ListNodesRequest_Filters{Names: []string{ref}})
		},
		func() ([]*api.Node, error) {
			return listNodes(ctx, c, &api.ListNodesRequest_Filters{IDPrefixes: []string{ref}})
		})
}

func findService(ctx context.Context, c api.ControlClient, ref string, insertDefaults bool) (*api.Service, error) {
	if r, err := c.GetService(ctx, &api.GetServiceRequest{ServiceID: ref, InsertDefaults: insertDefaults}); err == nil {
		return r.Service, nil
	}
	s, err := pick("service", ref,
		func() ([]*api.Service, error) {
			return listServices(ctx, c, &api.ListServicesRequest_Filters{Names: []string{ref}})
		},
		func() ([]*api.Service, error) {
			return listServices(ctx, c, &api.ListServicesRequest_Filters{IDPrefixes: []string{ref}})
		})
	if err != nil || !insertDefaults {
		return s, err
	}
	r, err := c.GetService(ctx, &api.GetServiceRequest{ServiceID: s.ID, InsertDefaults: true})
	if err != nil {
		return nil, err
	}
	return r.Service, nil
}

func findTask(ctx context.Context, c api.ControlClient, ref string) (*api.Task, error) {
	if r, err := c.GetTask(ctx, &api.GetTaskRequest{TaskID: ref}); err == nil {
		return r.Task, nil
	}
	return pick("task", ref,
		func() ([]*api.Task, error) {
			return listTasks(ctx, c, &api.ListTasksRequest_Filters{Names: []string{ref}})
		},
		func() ([]*api.Task, error) {
			return listTasks(ctx, c, &api.ListTasksRequest_Filters{IDPrefixes: []string{ref}})
		})
}

func findNetwork(ctx context.Context, c api.ControlClient, ref string) (*api.Network, error) {
	if r, err := c.GetNetwork(ctx, &api.GetNetworkRequest{NetworkID: ref}); err == nil {
		return r.Network, nil
	}
	return pick("network", ref,
		func() ([]*api.Network, error) {
			return listNetworks(ctx, c, &api.ListNetworksRequest_Filters{Names: []string{ref}})
		},
		func() ([]*api.Network, error) {
			return listNetworks(ctx, c, &api.ListNetworksRequest_Filters{IDPrefixes: []string{ref}})
		})
}

func findConfig(ctx context.Context, c api.ControlClient, ref string) (*api.Config, error) {
	if r, err := c.GetConfig(ctx, &api.GetConfigRequest{ConfigID: ref}); err == nil {
		return r.Config, nil
	}
	return pick("config", ref,
		func() ([]*api.Config, error) {
			return listConfigs(ctx, c, &api.ListConfigsRequest_Filters{Names: []string{ref}})
		},
		func() ([]*api.Config, error) {
			return listConfigs(ctx, c, &api.ListConfigsRequest_Filters{IDPrefixes: []string{ref}})
		})
}

func listNodes(ctx context.Context, c api.ControlClient, f *api.ListNodesRequest_Filters) ([]*api.Node, error) {
	r, err := c.ListNodes(ctx, &api.ListNodesRequest{Filters: f}, wholeList())
	if err != nil {
		return nil, err
	}
	return r.Nodes, nil
}

func listServices(ctx context.Context, c api.ControlClient, f *api.ListServicesRequest_Filters) ([]*api.Service, error) {
	r, err := c.ListServices(ctx, &api.ListServicesRequest{Filters: f}, wholeList())
	if err != nil {
		return nil, err
	}
	return r.Services, nil
}

func listTasks(ctx context.Context, c api.ControlClient, f *api.ListTasksRequest_Filters) ([]*api.Task, error) {
	r, err := c.ListTasks(ctx, &api.ListTasksRequest{Filters: f}, wholeList())
	if err != nil {
		return nil, err
	}
	return r.Tasks, nil
}

func listNetworks(ctx context.Context, c api.ControlClient, f *api.ListNetworksRequest_Filters) ([]*api.Network, error) {
	r, err := c.ListNetworks(ctx, &api.ListNetworksRequest{Filters: f}, wholeList())
	if err != nil {
		return nil, err
	}
	return r.Networks, nil
}

func listConfigs(ctx context.Context, c api.ControlClient, f *api.ListConfigsRequest_Filters) ([]*api.Config, error) {
	r, err := c.ListConfigs(ctx, &api.ListConfigsRequest{Filters: f}, wholeList())
	if err != nil {
		return nil, err
	}
	return r.Configs, nil
}

func theCluster(ctx context.Context, c api.ControlClient) (*api.Cluster, error) {
	r, err := c.ListClusters(ctx, &api.ListClustersRequest{}, wholeList())
	if err != nil {
		return nil, err
	}
	if len(r.Clusters) == 0 {
		return nil, errNoSwarm
	}
	return r.Clusters[0], nil
}
