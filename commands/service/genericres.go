package service

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/swarm"
)

// validateGenericResource checks one --generic-resource value.
func validateGenericResource(s string) (string, error) {
	if !strings.Contains(s, "=") {
		return "", fmt.Errorf("invalid generic-resource format `%s` expected `name=value`", s)
	}
	return s, nil
}

// parseGenericResources reads NAME=COUNT requests. A service can ask for a
// number of a resource only, never for one by name.
func parseGenericResources(values []string) ([]swarm.GenericResource, error) {
	counts := make(map[string]int64, len(values))
	for _, v := range values {
		kind, n, err := parseGenericResource(v)
		if err != nil {
			return nil, err
		}
		if first, dup := counts[kind]; dup {
			return nil, badGenericResource("mixed discrete and named resources in expression '%s=[%d %d]'", kind, first, n)
		}
		counts[kind] = n
	}
	return genericResourceList(counts), nil
}

func parseGenericResource(s string) (kind string, count int64, err error) {
	parts := strings.Split(s, "=")
	if len(parts) != 2 {
		return "", 0, badGenericResource("incorrect term %s, missing '=' or malformed expression", s)
	}
	kind, text := strings.TrimSpace(parts[0]), strings.TrimSpace(parts[1])
	count, err = strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf(
			"invalid generic-resource request `%s=%s`, Named Generic Resources is not supported for service create or update", kind, text)
	}
	if count < 0 {
		return "", 0, badGenericResource("cannot ask for negative resource %s", kind)
	}
	return kind, count, nil
}

func badGenericResource(format string, args ...any) error {
	return fmt.Errorf("invalid generic resource specification: could not parse GenericResource: "+format, args...)
}

// genericResourceList orders the resources by kind, so that an update that
// changes nothing sends the same bytes.
func genericResourceList(counts map[string]int64) []swarm.GenericResource {
	if len(counts) == 0 {
		return nil
	}
	out := make([]swarm.GenericResource, 0, len(counts))
	for kind, n := range counts {
		out = append(out, swarm.GenericResource{DiscreteResourceSpec: &swarm.DiscreteGenericResource{Kind: kind, Value: n}})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].DiscreteResourceSpec.Kind < out[j].DiscreteResourceSpec.Kind })
	return out
}

func genericResourceCounts(list []swarm.GenericResource) (map[string]int64, error) {
	counts := make(map[string]int64, len(list))
	for _, r := range list {
		if r.DiscreteResourceSpec == nil {
			return nil, fmt.Errorf("invalid generic-resource `%+v` for service task", r)
		}
		if _, dup := counts[r.DiscreteResourceSpec.Kind]; dup {
			return nil, fmt.Errorf("duplicate generic-resource `%s` for service task", r.DiscreteResourceSpec.Kind)
		}
		counts[r.DiscreteResourceSpec.Kind] = r.DiscreteResourceSpec.Value
	}
	return counts, nil
}
