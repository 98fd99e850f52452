package apitest

import (
	"context"
	"maps"
	"slices"
	"strings"

	"weft/engine/fault"
	"weft/engine/model"
)

// volumeBackend is the engine's volumes: names without data.
type volumeBackend struct{ e *Engine }

func (b volumeBackend) Create(_ context.Context, req model.VolumeRequest) (model.Volume, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if req.Driver != "" && req.Driver != model.VolumeDriver {
		return model.Volume{}, fault.NotFound("create %s: error looking up volume plugin %s: plugin %q not found", req.Name, req.Driver, req.Driver)
	}
	return b.e.makeVolumeLocked(req), nil
}

func (e *Engine) makeVolumeLocked(req model.VolumeRequest) model.Volume {
	if v, ok := e.volumes[req.Name]; ok {
		return v
	}
	if req.Name == "" {
		req.Name, req.Labels = model.NewID(), maps.Clone(req.Labels)
		if req.Labels == nil {
			req.Labels = map[string]string{}
		}
		req.Labels[model.AnonymousVolume] = ""
	}
	v := model.Volume{Name: req.Name, Labels: req.Labels, Options: req.Options, Created: e.now(), Path: "/volumes/" + req.Name + "/_data"}
	e.volumes[v.Name] = v
	e.Publish(model.Event{Type: "volume", Action: "create", ActorID: v.Name, Scope: model.ScopeLocal, Attributes: map[string]string{"driver": model.VolumeDriver}})
	return v
}

// mountLocked gives a new container its volumes.
func (e *Engine) mountLocked(spec *model.ContainerSpec) {
	mounts := slices.Clone(spec.Process.Mounts)
	for _, target := range spec.Volumes {
		mounts = append(mounts, model.Mount{Kind: model.MountVolume, Target: target})
	}
	for i := range mounts {
		if m := &mounts[i]; m.Kind == model.MountVolume {
			m.Anonymous = m.Name == ""
			v := e.makeVolumeLocked(model.VolumeRequest{Name: m.Name, Labels: m.VolumeLabels, Options: m.VolumeOptions})
			m.Name, m.Source = v.Name, v.Path
		}
	}
	spec.Process.Mounts = mounts
}

func (b volumeBackend) Volume(_ context.Context, name string) (model.Volume, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if v, ok := b.e.volumes[name]; ok {
		return v, nil
	}
	return model.Volume{}, fault.NotFound("get %s: no such volume", name)
}

func (b volumeBackend) Volumes(context.Context) ([]model.Volume, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	return byID(b.e.volumes), nil
}

func (b volumeBackend) Used(context.Context) (map[string]bool, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	used := map[string]bool{}
	for name := range b.e.volumes {
		used[name] = len(b.e.volumeUsersLocked(name)) > 0
	}
	return used, nil
}

func (e *Engine) volumeUsersLocked(name string) []string {
	var ids []string
	for id, c := range e.containers {
		if slices.ContainsFunc(c.Spec.Process.Mounts, func(m model.Mount) bool { return m.Name == name }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (b volumeBackend) Remove(_ context.Context, name string, force bool) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	if _, ok := b.e.volumes[name]; !ok && !force {
		return fault.NotFound("get %s: no such volume", name)
	}
	if ids := b.e.volumeUsersLocked(name); len(ids) > 0 {
		return fault.Conflict("remove %s: volume is in use - [%s]", name, strings.Join(ids, ", "))
	}
	delete(b.e.volumes, name)
	return nil
}

func (b volumeBackend) Prune(_ context.Context, wanted func(model.Volume) bool) ([]string, int64, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	var names []string
	for _, v := range byID(b.e.volumes) {
		if len(b.e.volumeUsersLocked(v.Name)) == 0 && wanted(v) {
			names = append(names, v.Name)
			delete(b.e.volumes, v.Name)
		}
	}
	return names, int64(len(names)) << 10, nil
}
