package workload

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/pkg/namesgenerator"

	"weft/engine/fault"
	"weft/engine/model"
)

// nameForm is what Docker accepts as a container's name.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// Create records a container and makes its bundle. Nothing runs and no
// address is taken until Start.
func (m *Manager) Create(ctx context.Context, spec model.ContainerSpec) (string, error) {
	img, err := m.Runtime.Resolve(ctx, spec.Process.Image)
	if err != nil {
		return "", err
	}
	if err := m.Volumes.Plan(ctx, &spec, img); err != nil {
		return "", err
	}
	c, err := m.register(withImage(spec, img), img.ID)
	if err != nil {
		return "", err
	}
	rec := m.snapshot(c)
	if err := m.make(ctx, rec); err != nil {
		undone := context.WithoutCancel(ctx)
		return "", m.forget(ctx, c, errors.Join(err, m.Runtime.Remove(undone, rec.ID), m.Volumes.Drop(undone, rec.ID, rec.Spec.Process.Mounts, true)))
	}
	m.publish(rec, "create", nil)
	return rec.ID, nil
}

// make makes what a container that does not run yet consists of.
func (m *Manager) make(ctx context.Context, rec model.Container) error {
	p := rec.Spec.Process
	if err := m.Volumes.Take(ctx, rec.ID, p.Mounts); err != nil {
		return err
	}
	if err := m.Runtime.Create(ctx, rec.ID, rec.Sandbox, p); err != nil {
		return err
	}
	return m.Volumes.Fill(ctx, rec.ID, p.Mounts)
}

// withImage fills in what a specification leaves to the image, as Docker does
// (daemon/commit.go, merge).
func withImage(spec model.ContainerSpec, img model.Image) model.ContainerSpec {
	p, c := &spec.Process, img.Config
	if len(p.Entrypoint) == 0 {
		p.Entrypoint = c.Entrypoint
		if len(p.Args) == 0 {
			p.Args = c.Cmd
		}
	}
	if len(p.Entrypoint) == 1 && p.Entrypoint[0] == "" { // docker run --entrypoint ""
		p.Entrypoint = nil
	}
	p.User = cmp.Or(p.User, c.User)
	p.Dir = cmp.Or(p.Dir, c.WorkingDir)
	p.StopSignal = cmp.Or(p.StopSignal, c.StopSignal)
	spec.Health = healthCheck(spec.Health, c.Healthcheck)
	env := slices.Clone(p.Env)
	for _, e := range c.Env {
		name, _, _ := strings.Cut(e, "=")
		if !slices.ContainsFunc(p.Env, func(own string) bool { return own == name || strings.HasPrefix(own, name+"=") }) {
			env = append(env, e)
		}
	}
	p.Env = env
	for text := range c.ExposedPorts {
		number, proto, _ := strings.Cut(text, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		port := model.Port{Proto: cmp.Or(proto, "tcp"), Port: uint16(n)}
		if err == nil && !slices.Contains(spec.Expose, port) { // a range or nonsense is the image's business
			spec.Expose = append(spec.Expose, port)
		}
	}
	slices.SortFunc(spec.Expose, func(a, b model.Port) int { return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto)) })
	labels := maps.Clone(c.Labels)
	for k, v := range spec.Labels {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[k] = v
	}
	spec.Labels = labels
	return spec
}

// register claims the name and writes the record.
func (m *Manager) register(spec model.ContainerSpec, imageID string) (*container, error) {
	if spec.Name != "" && !nameForm.MatchString(spec.Name) {
		return nil, fault.Invalid("Invalid container name (%s), only %s are allowed", spec.Name, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
	}
	id := model.NewID()
	spec.Process.Runtime = cmp.Or(spec.Process.Runtime, m.DefaultRuntime)
	if spec.Process.Hostname == "" {
		spec.Process.Hostname = id[:12]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if spec.Name == "" {
		spec.Name = m.freeNameLocked()
	}
	if by := m.namedLocked(spec.Name); by != nil {
		return nil, fault.Conflict("Conflict. The container name %q is already in use by container %q. "+
			"You have to remove (or rename) that container to be able to reuse that name.", "/"+spec.Name, by.rec.ID)
	}
	c := &container{
		rec: model.Container{
			ID: id, Spec: spec, ImageID: imageID, State: model.StateCreated, Created: m.Now(), Sandbox: m.Sandboxes.Path(id),
		},
		changed: make(chan struct{}),
	}
	if err := m.Table.Put(id, c.rec); err != nil {
		return nil, err
	}
	m.addLocked(c)
	return c, nil
}

func (m *Manager) addLocked(c *container) {
	m.containers[c.rec.ID] = c
	if t := c.rec.Spec.Service; t != nil {
		m.tasks[t.TaskID] = c
	}
}

func (m *Manager) namedLocked(name string) *container {
	for _, c := range m.containers {
		if c.rec.Spec.Name == name {
			return c
		}
	}
	return nil
}

func (m *Manager) freeNameLocked() string {
	for retry := 0; ; retry++ {
		if name := namesgenerator.GetRandomName(retry); m.namedLocked(name) == nil {
			return name
		}
	}
}

// Rename gives a container another name.
func (m *Manager) Rename(ctx context.Context, name, newName string) error {
	c, err := m.find(name)
	if err != nil {
		return err
	}
	if !nameForm.MatchString(newName) {
		return fault.Invalid("Invalid container name (%s), only %s are allowed", newName, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
	}
	c.op.Lock()
	defer c.op.Unlock()
	oldName, err := m.setName(c, newName)
	if err != nil {
		return err
	}
	rec := m.snapshot(c)
	m.publish(rec, "rename", map[string]string{"oldName": "/" + oldName})
	if rec.State != model.StateRunning {
		return nil
	}
	return m.arrange(ctx, c)
}

// setName gives c a name nobody else has, and the one it had.
func (m *Manager) setName(c *container, name string) (oldName string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if by := m.namedLocked(name); by != nil {
		return "", fault.Conflict("Conflict. The container name %q is already in use by container %q. "+
			"You have to remove (or rename) that container to be able to reuse that name.", "/"+name, by.rec.ID)
	}
	if c.removed {
		return "", fault.NotFound("No such container: %s", c.rec.ID)
	}
	rec := clone(c.rec)
	oldName, rec.Spec.Name = rec.Spec.Name, name
	for i := range rec.Endpoints {
		rec.Endpoints[i].Name = name
	}
	if err := m.Table.Put(rec.ID, rec); err != nil {
		return "", err
	}
	c.rec = rec
	m.wakeLocked(c)
	return oldName, nil
}
