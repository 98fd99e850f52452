// Package workload owns the containers of this node, standalone ones and
// service tasks alike: their records, their life cycle and which endpoints
// each of them has.
//
// It decides the order of things (sandbox, endpoints, process) and undoes it
// in reverse when a step fails or the process ends. The things themselves
// belong to others, declared here as interfaces: the sandbox's namespace, the
// process and its shim, the legs on networks. Records are written before what
// they describe exists and deleted after it is gone, so that a restart finds
// everything a crash left: Restore takes running containers back without
// touching them and cleans up after those that ended meanwhile.
package workload

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"weft/engine/model"
)

// Runtime runs the process of a container.
type Runtime interface {
	// Resolve finds an image; NotFound when it is not here.
	Resolve(ctx context.Context, image string) (model.Image, error)
	// Create makes the root file system and the bundle; output written from
	// then on is kept.
	Create(ctx context.Context, id, sandbox string, p model.ProcessSpec) error
	Start(ctx context.Context, id string) (pid int, err error)
	// Wait blocks until the process of the last Start has ended, also when an
	// earlier engine started it.
	Wait(ctx context.Context, id string) (model.ExitStatus, error)
	Signal(ctx context.Context, id string, sig syscall.Signal) error
	Running(ctx context.Context, id string) (pid int, running bool, err error)
	// Check runs a command in a running container and gives its exit code and
	// the beginning of what it prints.
	Check(ctx context.Context, id string, spec model.ExecSpec) (code int, output string, err error)
	// Remove deletes bundle and logs. A container without one is no error.
	Remove(ctx context.Context, id string) error
}

// Sandboxes makes and removes the network namespaces of containers.
type Sandboxes interface {
	// Path is where the sandbox of a container is, made or not.
	Path(containerID string) string
	// Create makes the namespace; one that exists is kept. With a path it
	// shares the namespace there, with model.ModeHost the host's.
	Create(ctx context.Context, containerID, shared string) error
	// Remove deletes the namespace; one that does not exist is no error.
	Remove(ctx context.Context, containerID string) error
}

// Networks gives sandboxes their legs on networks.
type Networks interface {
	// Check refuses what a request for a network can't have, with all reasons.
	Check(ctx context.Context, req model.NetworkRequest) error
	// Allocate takes addresses for a standalone container.
	Allocate(ctx context.Context, containerID string, req model.NetworkRequest) (model.Attachment, error)
	// Release gives back what Allocate gave. Nothing allocated is no error.
	Release(ctx context.Context, ep model.Endpoint) error
	// Join plugs ep into its sandbox and announces it; the endpoint comes
	// back completed. An endpoint that exists is adopted.
	Join(ctx context.Context, nw model.Network, ep model.Endpoint) (model.Endpoint, error)
	// Leave withdraws and unplugs ep. One that is gone is no error.
	Leave(ctx context.Context, ep model.Endpoint) error
	// SetReadiness tells the others that a task's endpoints are ready or
	// draining. For the latter it waits until they have heard, but not long.
	SetReadiness(ctx context.Context, endpoints []model.Endpoint) error
	// Arrange makes the whole of a sandbox's endpoints work together: its way
	// out, its published ports, its names. It changes endpoints and egress to
	// what was decided, also when it fails, and is called after every change of
	// the endpoints.
	Arrange(ctx context.Context, c *model.Container) error
	// Dismiss ends what Arrange began, but for the endpoints' own.
	Dismiss(ctx context.Context, c *model.Container) error
}

// Volumes gives containers the volumes among their mounts, and what else their
// mounts need of the host.
type Volumes interface {
	// Plan completes the mounts of a container to be made: names, places, what
	// the image or other containers add. It makes nothing.
	Plan(ctx context.Context, spec *model.ContainerSpec, img model.Image) error
	// Take makes what is missing. Until Drop nobody can remove it.
	Take(ctx context.Context, id string, mounts []model.Mount) error
	// Fill copies what the container's root has in the place of empty volumes.
	Fill(ctx context.Context, id string, mounts []model.Mount) error
	// Mount makes the mounts ready for a start; Unmount undoes it after the end.
	Mount(ctx context.Context, id string, mounts []model.Mount) error
	Unmount(ctx context.Context, id string, mounts []model.Mount) error
	// Drop lets the volumes go; with anonymous, those without a name of their
	// own are removed. What is gone is no error.
	Drop(ctx context.Context, id string, mounts []model.Mount, anonymous bool) error
}

// Table keeps the container records over restarts.
type Table interface {
	Put(id string, c model.Container) error
	Delete(id string) error
	List() (map[string]model.Container, error)
}

// Config is what a Manager is made of. All fields are required.
type Config struct {
	Runtime Runtime
	// DefaultRuntime is recorded of a container that asks for no runtime.
	DefaultRuntime string
	Sandboxes      Sandboxes
	Networks       Networks
	Volumes        Volumes
	Table          Table
	Publish        func(model.Event)
	Log            *slog.Logger
	Now            func() time.Time
}

// Manager owns this node's containers. It is safe for concurrent use.
type Manager struct {
	Config

	ctx    context.Context // ends with Close; bounds the watchers
	cancel context.CancelFunc
	done   sync.WaitGroup // the watchers

	mu         sync.Mutex // guards containers, tasks and every container's record
	containers map[string]*container
	tasks      map[string]*container // by task ID
}

// container is one record and what is going on with it.
type container struct {
	op sync.Mutex // held by whoever starts, stops, connects or removes it

	// Guarded by Manager.mu:
	rec         model.Container
	attachments []model.Attachment // of a task, by rank
	exits       int                // how often the process has ended since this engine runs
	removed     bool
	changed     chan struct{} // closed and replaced at every change of the above
	backoff     time.Duration // before the next restart; 0: the first
	endCheck    context.CancelFunc
}

// New makes a manager without containers; call Restore before anything else.
func New(cfg Config) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	return &Manager{
		Config: cfg, ctx: ctx, cancel: cancel,
		containers: map[string]*container{}, tasks: map[string]*container{},
	}
}

// Close stops watching. Containers that run go on running.
func (m *Manager) Close() {
	m.cancel()
	m.done.Wait()
}

// update changes c's record under the lock, saves it and wakes the waiters.
func (m *Manager) update(c *container, f func(*model.Container)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&c.rec)
	m.wakeLocked(c)
	if c.removed {
		return nil
	}
	return m.Table.Put(c.rec.ID, c.rec)
}

func (m *Manager) wakeLocked(c *container) {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (m *Manager) snapshot(c *container) model.Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clone(c.rec)
}

// clone copies what callers must not share with the record.
func clone(c model.Container) model.Container {
	c.Endpoints = append([]model.Endpoint(nil), c.Endpoints...)
	if c.Egress != nil {
		egress := *c.Egress
		c.Egress = &egress
	}
	c.Spec.Networks = append([]model.NetworkRequest(nil), c.Spec.Networks...)
	return c
}

func (m *Manager) publish(c model.Container, action string, extra map[string]string) {
	attrs := map[string]string{"image": c.Spec.Process.Image, "name": c.Spec.Name}
	for k, v := range c.Spec.Labels {
		attrs[k] = v
	}
	for k, v := range extra {
		attrs[k] = v
	}
	m.Publish(model.Event{Type: "container", Action: action, ActorID: c.ID, Attributes: attrs, Scope: model.ScopeLocal})
}

func (m *Manager) publishNetwork(ep model.Endpoint, action string) {
	m.Publish(model.Event{
		Type: "network", Action: action, ActorID: ep.NetworkID, Scope: model.ScopeLocal,
		Attributes: map[string]string{"container": ep.ContainerID, "name": ep.NetworkName, "type": cmp.Or(ep.Driver, "overlay")},
	})
}
