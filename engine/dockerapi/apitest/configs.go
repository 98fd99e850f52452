package apitest

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"weft/engine/fault"
	"weft/engine/model"
)

// What SwarmKit takes as a config (manager/controlapi/config.go and common.go).
const (
	maxConfigBytes = 1000 * 1024
	maxConfigName  = 64
	configName     = `^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$`
)

func (b swarmBackend) Configs(_ context.Context, f filters.Args) ([]swarm.Config, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if err := b.e.managerLocked(); err != nil {
		return nil, err
	}
	if err := f.Validate(map[string]bool{"name": true, "id": true, "label": true}); err != nil {
		return nil, err
	}
	begins := func(value string, with []string) bool {
		return slices.ContainsFunc(with, func(p string) bool { return strings.HasPrefix(strings.ToLower(value), strings.ToLower(p)) })
	}
	var out []swarm.Config
	for _, c := range byID(b.e.configs) {
		// Names and IDs are alternatives: SwarmKit gives what matches either.
		wanted := !f.Contains("name") && !f.Contains("id") || begins(c.Spec.Name, f.Get("name")) || begins(c.ID, f.Get("id"))
		if wanted && f.MatchKVList("label", c.Spec.Labels) {
			out = append(out, c)
		}
	}
	return out, nil
}

func (b swarmBackend) Config(_ context.Context, name string) (swarm.Config, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return b.e.configLocked(name)
}

func (e *Engine) configLocked(name string) (swarm.Config, error) {
	if err := e.managerLocked(); err != nil {
		return swarm.Config{}, err
	}
	if c, ok := e.configs[name]; ok {
		return c, nil
	}
	all := byID(e.configs)
	if i := slices.IndexFunc(all, func(c swarm.Config) bool { return strings.EqualFold(c.Spec.Name, name) }); i >= 0 {
		return all[i], nil
	}
	all = slices.DeleteFunc(all, func(c swarm.Config) bool { return !strings.HasPrefix(c.ID, name) })
	switch len(all) {
	case 0:
		return swarm.Config{}, fault.NotFound("config %s not found", name)
	case 1:
		return all[0], nil
	}
	return swarm.Config{}, fault.Invalid("config %s is ambiguous (%d matches found)", name, len(all))
}

func (b swarmBackend) CreateConfig(_ context.Context, spec swarm.ConfigSpec) (string, error) {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.managerLocked(); err != nil {
		return "", err
	}
	if err := checkConfig(spec); err != nil {
		return "", err
	}
	for _, c := range e.configs {
		if strings.EqualFold(c.Spec.Name, spec.Name) { // SwarmKit's index of names is of small letters
			return "", fault.Conflict("rpc error: code = AlreadyExists desc = config %s already exists", spec.Name)
		}
	}
	c := swarm.Config{ID: newSwarmID(), Spec: spec}
	e.keepConfigLocked("create", c)
	return c.ID, nil
}

func checkConfig(spec swarm.ConfigSpec) error {
	switch {
	case spec.Name == "":
		return fault.Invalid("rpc error: code = InvalidArgument desc = name must be provided")
	case len(spec.Name) > maxConfigName || !regexp.MustCompile(configName).MatchString(spec.Name):
		return fault.Invalid("rpc error: code = InvalidArgument desc = invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, " +
			"and the start and end character must be [a-zA-Z0-9]")
	case len(spec.Data) == 0 || len(spec.Data) >= maxConfigBytes:
		return fault.Invalid("rpc error: code = InvalidArgument desc = config data must be larger than 0 and less than %d bytes", maxConfigBytes)
	}
	return nil
}

func (b swarmBackend) UpdateConfig(_ context.Context, name string, version uint64, spec swarm.ConfigSpec) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.configLocked(name)
	if err != nil {
		return err
	}
	if c.Spec.Name != spec.Name || (spec.Data != nil && !bytes.Equal(spec.Data, c.Spec.Data)) {
		return fault.Invalid("rpc error: code = InvalidArgument desc = only updates to Labels are allowed")
	}
	if version != c.Version.Index {
		return errSequence()
	}
	c.Spec.Labels = spec.Labels
	e.keepConfigLocked("update", c)
	return nil
}

func (e *Engine) keepConfigLocked(action string, c swarm.Config) {
	if c.Spec.Labels == nil {
		c.Spec.Labels = map[string]string{}
	}
	e.stampLocked(&c.Meta)
	e.configs[c.ID] = c
	e.configEventLocked(action, c)
}

func (b swarmBackend) RemoveConfig(_ context.Context, name string) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.configLocked(name)
	if err != nil {
		return err
	}
	if users := e.usersLocked(c.ID); len(users) > 0 {
		what := "services"
		if len(users) == 1 {
			what = "service"
		}
		return fault.Invalid("rpc error: code = InvalidArgument desc = config '%s' is in use by the following %s: %s",
			c.Spec.Name, what, strings.Join(users, ", "))
	}
	delete(e.configs, c.ID)
	e.configEventLocked("remove", c)
	return nil
}

// usersLocked names the services that refer to a config.
func (e *Engine) usersLocked(configID string) []string {
	var out []string
	for _, s := range byID(e.services) {
		refs := s.Spec.TaskTemplate.ContainerSpec.Configs
		if slices.ContainsFunc(refs, func(r *swarm.ConfigReference) bool { return r != nil && r.ConfigID == configID }) {
			out = append(out, s.Spec.Name)
		}
	}
	return out
}

func (e *Engine) configEventLocked(action string, c swarm.Config) {
	e.events.publish(model.Event{
		Type: "config", Action: action, ActorID: c.ID, Scope: model.ScopeSwarm, Time: e.now(),
		Attributes: map[string]string{"name": c.Spec.Name},
	})
}
