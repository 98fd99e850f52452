package workload

import (
	"context"
	"sort"
	"strings"

	"weft/engine/fault"
	"weft/engine/model"
)

// find resolves a full ID, a name with or without its slash, or a unique
// prefix of an ID, in that order, as dockerd does.
func (m *Manager) find(name string) (*container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.containers[name]; ok {
		return c, nil
	}
	bare := strings.TrimPrefix(name, "/")
	var match []*container
	for id, c := range m.containers {
		if c.rec.Spec.Name == bare {
			return c, nil
		}
		if name != "" && strings.HasPrefix(id, name) {
			match = append(match, c)
		}
	}
	switch len(match) {
	case 0:
		return nil, fault.NotFound("No such container: %s", name)
	case 1:
		return match[0], nil
	}
	return nil, fault.Invalid("multiple IDs found with provided prefix: %s", name)
}

// Container gives the record of the container with this name or ID.
func (m *Manager) Container(_ context.Context, name string) (model.Container, error) {
	c, err := m.find(name)
	if err != nil {
		return model.Container{}, err
	}
	return m.snapshot(c), nil
}

// Containers gives every record, the newest first.
func (m *Manager) Containers(context.Context) ([]model.Container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]model.Container, 0, len(m.containers))
	for _, c := range m.containers {
		out = append(out, clone(c.rec))
	}
	sort.Slice(out, func(i, j int) bool {
		if !out[i].Created.Equal(out[j].Created) {
			return out[i].Created.After(out[j].Created)
		}
		return out[i].ID < out[j].ID
	})
	return out, nil
}

// IDs gives the full IDs of all containers.
func (m *Manager) IDs() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := make(map[string]bool, len(m.containers))
	for id := range m.containers {
		ids[id] = true
	}
	return ids
}
