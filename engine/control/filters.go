package control

import (
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
)

func accept(f filters.Args, names ...string) error {
	ok := make(map[string]bool, len(names))
	for _, n := range names {
		ok[n] = true
	}
	return f.Validate(ok)
}

// labelMap reads KEY[=VALUE]; no value means any.
func labelMap(values []string) map[string]string {
	out := make(map[string]string, len(values))
	for _, v := range values {
		key, value, _ := strings.Cut(v, "=")
		out[key] = value
	}
	return out
}

// enumFilter turns the words of a filter into SwarmKit's values.
func enumFilter[T ~int32](f filters.Args, name string, values map[string]int32) ([]T, error) {
	var out []T
	for _, word := range f.Get(name) {
		v, ok := values[strings.ToUpper(word)]
		if !ok && word != "" {
			return nil, fault.Invalid("Invalid %s filter: '%s'", name, word)
		}
		if ok {
			out = append(out, T(v))
		}
	}
	return out, nil
}

func nodeFilters(f filters.Args) (*api.ListNodesRequest_Filters, error) {
	if err := accept(f, "name", "id", "label", "role", "membership", "node.label"); err != nil {
		return nil, err
	}
	roles, err := enumFilter[api.NodeRole](f, "role", api.NodeRole_value)
	if err != nil {
		return nil, err
	}
	members, err := enumFilter[api.NodeSpec_Membership](f, "membership", api.NodeSpec_Membership_value)
	if err != nil {
		return nil, err
	}
	return &api.ListNodesRequest_Filters{
		NamePrefixes: f.Get("name"),
		IDPrefixes:   f.Get("id"),
		Labels:       labelMap(f.Get("label")),
		NodeLabels:   labelMap(f.Get("node.label")),
		Roles:        roles,
		Memberships:  members,
	}, nil
}

// serviceFilters leaves the mode to serviceMode: SwarmKit does not filter by it.
func serviceFilters(f filters.Args) (*api.ListServicesRequest_Filters, error) {
	if err := accept(f, "name", "id", "label", "mode", "runtime"); err != nil {
		return nil, err
	}
	runtimes := f.Get("runtime")
	if len(runtimes) == 0 {
		runtimes = []string{string(swarm.RuntimeContainer)}
	}
	return &api.ListServicesRequest_Filters{
		NamePrefixes: f.Get("name"),
		IDPrefixes:   f.Get("id"),
		Labels:       labelMap(f.Get("label")),
		Runtimes:     runtimes,
	}, nil
}

func configFilters(f filters.Args) (*api.ListConfigsRequest_Filters, error) {
	if err := accept(f, "name", "id", "label"); err != nil {
		return nil, err
	}
	return &api.ListConfigsRequest_Filters{
		NamePrefixes: f.Get("name"),
		IDPrefixes:   f.Get("id"),
		Labels:       labelMap(f.Get("label")),
	}, nil
}

func serviceMode(s *api.Service) string {
	switch s.Spec.GetMode().(type) {
	case *api.ServiceSpec_Global:
		return "global"
	case *api.ServiceSpec_Replicated:
		return "replicated"
	case *api.ServiceSpec_ReplicatedJob:
		return "replicated-job"
	case *api.ServiceSpec_GlobalJob:
		return "global-job"
	}
	return ""
}

// taskFilters wants the service and node filters resolved to IDs already.
func taskFilters(f filters.Args, serviceIDs, nodeIDs []string) (*api.ListTasksRequest_Filters, error) {
	states, err := enumFilter[api.TaskState](f, "desired-state", api.TaskState_value)
	if err != nil {
		return nil, err
	}
	runtimes := f.Get("runtime")
	if len(runtimes) == 0 {
		runtimes = []string{"container", ""}
	}
	return &api.ListTasksRequest_Filters{
		NamePrefixes:  f.Get("name"),
		IDPrefixes:    f.Get("id"),
		Labels:        labelMap(f.Get("label")),
		ServiceIDs:    serviceIDs,
		NodeIDs:       nodeIDs,
		DesiredStates: states,
		UpToDate:      f.Contains("_up-to-date"), // the CLI's own, for its progress display
		Runtimes:      runtimes,
	}, nil
}
