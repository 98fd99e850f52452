package apitest

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	ctr "github.com/docker/docker/api/types/container"

	"weft/engine/dockerapi"
	"weft/engine/fault"
	"weft/engine/model"
)

// container is a container and what its process has written.
type container struct {
	model.Container
	output  []chunk
	exits   int
	removed bool
	quit    chan int // takes the status the process is to end with
	stdin   *io.PipeWriter
	input   *io.PipeReader
	files   map[string]string // by absolute path
	written dockerapi.WriteOptions
	// readings is how often it was measured.
	readings int
}

// chunk is one write of a process.
type chunk struct {
	stderr bool
	data   string
	at     time.Time
}

type containerBackend struct{ e *Engine }

// findLocked finds a container by ID, name or the beginning of its ID.
func (e *Engine) findLocked(name string) (*container, error) {
	var match []*container
	for _, c := range e.containers {
		if c.ID == name || c.Spec.Name == strings.TrimPrefix(name, "/") {
			return c, nil
		}
		if name != "" && strings.HasPrefix(c.ID, name) {
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

// Spec gives what a container was asked to be.
func (e *Engine) Spec(name string) (model.ContainerSpec, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findLocked(name)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	return c.Spec, nil
}

func (e *Engine) nameTakenLocked(name string) error {
	for _, c := range e.containers {
		if c.Spec.Name == name {
			return fault.Conflict("Conflict. The container name %q is already in use by container %q. "+
				"You have to remove (or rename) that container to be able to reuse that name.", "/"+name, c.ID)
		}
	}
	return nil
}

func (b containerBackend) Create(_ context.Context, spec model.ContainerSpec) (string, []string, error) {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	images := imageBackend{e}
	at := images.indexLocked(spec.Process.Image)
	if at < 0 {
		return "", nil, fault.NotFound("No such image: %s", tagged(spec.Process.Image))
	}
	img := e.images[at]
	if len(spec.Process.Entrypoint) == 0 {
		spec.Process.Entrypoint = img.Config.Entrypoint
		if len(spec.Process.Args) == 0 {
			spec.Process.Args = img.Config.Cmd
		}
	}
	e.mountLocked(&spec)
	c := &container{
		Container: model.Container{ID: model.NewID(), Spec: spec, ImageID: img.ID, State: model.StateCreated, Created: e.now()},
		quit:      make(chan int, 1), files: map[string]string{"/etc/hostname": "fake\n"},
	}
	c.input, c.stdin = io.Pipe()
	if c.Spec.Name == "" {
		c.Spec.Name = "fake_" + c.ID[:6]
	}
	if err := e.nameTakenLocked(c.Spec.Name); err != nil {
		return "", nil, err
	}
	e.containers[c.ID] = c
	e.announce(c.Container, "create")
	return c.ID, nil, nil
}

func (b containerBackend) Container(_ context.Context, name string) (model.Container, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	c, err := b.e.findLocked(name)
	if err != nil {
		return model.Container{}, err
	}
	return c.snapshot(), nil
}

func (c *container) snapshot() model.Container {
	out := c.Container
	out.Endpoints, out.Spec.Networks = slices.Clone(c.Endpoints), slices.Clone(c.Spec.Networks)
	return out
}

func (b containerBackend) Containers(context.Context) ([]model.Container, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	var out []model.Container
	for _, c := range byID(b.e.containers) {
		out = append(out, c.snapshot())
	}
	return out, nil
}

func (b containerBackend) Start(_ context.Context, name string) error {
	e := b.e
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findLocked(name)
	if err != nil {
		return err
	}
	for _, req := range c.Spec.Networks {
		if err := e.attachLocked(c, req); err != nil {
			c.Endpoints = nil
			return err
		}
	}
	if c.exits > 0 {
		c.input, c.stdin = io.Pipe()
	}
	c.State, c.Started, c.Pid = model.StateRunning, e.now(), 4242
	e.announce(c.Container, "start")
	e.notifyLocked()
	e.running.Go(func() { e.run(c) })
	return nil
}

func (b containerBackend) Stop(_ context.Context, name, _ string, _ *time.Duration) (bool, error) {
	e := b.e
	e.mu.Lock()
	c, err := e.findLocked(name)
	if err != nil || c.State != model.StateRunning {
		e.mu.Unlock()
		return false, err
	}
	exits := c.exits
	c.end(143)
	for c.exits == exits {
		changed := e.changed
		e.mu.Unlock()
		<-changed
		e.mu.Lock()
	}
	e.mu.Unlock()
	return true, nil
}

func (b containerBackend) Kill(_ context.Context, name, sig string) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	c, err := b.e.findLocked(name)
	if err != nil {
		return err
	}
	if c.State != model.StateRunning {
		return fault.Conflict("cannot kill container: %s: container %s is not running", name, c.ID)
	}
	switch strings.TrimPrefix(sig, "SIG") {
	case "", "KILL", "9":
		c.end(137)
	case "TERM", "15":
		c.end(143)
	case "INT", "2":
		c.end(130)
	default:
		return fault.Invalid("invalid signal: %s", sig)
	}
	return nil
}

// end asks the process to end, unless it was asked before.
func (c *container) end(status int) {
	select {
	case c.quit <- status:
	default:
	}
	_ = c.stdin.Close()
}

func (b containerBackend) Remove(_ context.Context, name string, force, volumes bool) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	c, err := b.e.findLocked(name)
	if err != nil {
		return err
	}
	if c.State == model.StateRunning && !force {
		return fault.Conflict("cannot remove container %q: container is running: stop the container before removing or force remove", "/"+c.Spec.Name)
	}
	b.e.removeLocked(c, volumes)
	return nil
}

func (e *Engine) removeLocked(c *container, volumes bool) {
	c.removed = true
	c.end(137)
	delete(e.containers, c.ID)
	for _, m := range c.Spec.Process.Mounts {
		if volumes && m.Anonymous && len(e.volumeUsersLocked(m.Name)) == 0 {
			delete(e.volumes, m.Name)
		}
	}
	e.announce(c.Container, "destroy")
	e.notifyLocked()
}

func (b containerBackend) Rename(_ context.Context, name, newName string) error {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	c, err := b.e.findLocked(name)
	if err != nil {
		return err
	}
	if err := b.e.nameTakenLocked(newName); err != nil {
		return err
	}
	c.Spec.Name = newName
	return nil
}

func (b containerBackend) Wait(ctx context.Context, name string, cond dockerapi.WaitCondition, registered func()) (model.ExitStatus, error) {
	e := b.e
	e.mu.Lock()
	c, err := e.findLocked(name)
	if err != nil {
		e.mu.Unlock()
		return model.ExitStatus{}, err
	}
	first := c.exits
	e.waiting++
	e.mu.Unlock()
	defer e.count(&e.waiting, -1)
	registered()
	for {
		e.mu.Lock()
		changed := e.changed
		over := c.removed || (cond == dockerapi.WaitNotRunning && c.State != model.StateRunning) ||
			(cond == dockerapi.WaitNextExit && c.exits > first)
		status := model.ExitStatus{Code: c.ExitCode, Finished: c.Finished}
		e.mu.Unlock()
		if over {
			return status, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return model.ExitStatus{}, ctx.Err()
		}
	}
}

func (e *Engine) announce(c model.Container, action string) {
	e.Publish(model.Event{
		Type: "container", Action: action, ActorID: c.ID, Scope: model.ScopeLocal,
		Attributes: map[string]string{"name": c.Spec.Name, "image": c.Spec.Process.Image},
	})
}

// Stats counts up: each reading is a second of CPU time after the one before.
func (b containerBackend) Stats(_ context.Context, name string) (ctr.StatsResponse, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	c, err := b.e.findLocked(name)
	if err != nil {
		return ctr.StatsResponse{}, err
	}
	st := ctr.StatsResponse{Name: "/" + c.Spec.Name, ID: c.ID}
	if c.State == model.StateRunning {
		c.readings++
		st.Read = b.e.now()
		st.CPUStats.CPUUsage.TotalUsage = uint64(c.readings) * uint64(time.Second)
		st.CPUStats.SystemUsage = 4 * st.CPUStats.CPUUsage.TotalUsage
		st.CPUStats.OnlineCPUs = 4
		st.MemoryStats = ctr.MemoryStats{Usage: 2 << 20, Limit: 8 << 20}
		st.PidsStats.Current = 3
	}
	return st, nil
}
