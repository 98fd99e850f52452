package apitest

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"

	"weft/engine/dockerapi"
	"weft/engine/model"
)

// Version is what the fake says its version is.
const Version = "0.0.0-fake"

// Engine is a fake engine. New makes it; it is safe for concurrent use.
type Engine struct {
	now func() time.Time

	mu         sync.Mutex // guards everything below
	changed    chan struct{}
	info       swarm.Info
	cluster    swarm.Swarm
	unlockKey  string
	index      uint64 // of the last change of a swarm object
	nodes      map[string]swarm.Node
	services   map[string]swarm.Service
	tasks      map[string]swarm.Task
	configs    map[string]swarm.Config
	networks   []network.Inspect
	subnets    int
	containers map[string]*container
	images     []model.Image
	volumes    map[string]model.Volume
	execs      map[string]model.Exec
	sizes      []string // terminal sizes that were told, in order
	attached   int
	waiting    int
	panics     bool
	events     events

	running sync.WaitGroup // processes and what copies their input
}

// New makes an engine outside a swarm, with the network "none" only.
func New(now func() time.Time) *Engine {
	e := &Engine{
		now: now, changed: make(chan struct{}), containers: map[string]*container{},
		nodes: map[string]swarm.Node{}, services: map[string]swarm.Service{}, tasks: map[string]swarm.Task{},
		configs: map[string]swarm.Config{}, execs: map[string]model.Exec{}, volumes: map[string]model.Volume{}, images: []model.Image{newImage("weft/probe:latest")},
	}
	e.info.LocalNodeState = swarm.LocalNodeStateInactive
	e.networks = []network.Inspect{{
		Name: network.NetworkNone, ID: model.NewID(), Created: now(), Scope: "local", Driver: "null", EnableIPv4: true,
		IPAM: network.IPAM{Driver: "default", Config: []network.IPAMConfig{}}, Options: map[string]string{}, Labels: map[string]string{},
	}}
	return e
}

// Backends gives the parts of the engine dockerapi asks for.
func (e *Engine) Backends() dockerapi.Backends {
	return dockerapi.Backends{
		System: systemBackend{e}, Swarm: swarmBackend{e}, Networks: networkBackend{e}, Containers: containerBackend{e},
		Files: fileBackend{e}, Images: imageBackend{e}, Volumes: volumeBackend{e}, Events: &e.events,
	}
}

// Handler serves the API of the engine and logs to w.
func (e *Engine) Handler(w io.Writer) http.Handler {
	return dockerapi.New(dockerapi.Config{
		Backends: e.Backends(), Version: Version, Now: e.now, Log: slog.New(slog.NewTextHandler(w, nil)),
	})
}

// Close ends every process and waits for it.
func (e *Engine) Close() {
	e.mu.Lock()
	for _, c := range e.containers {
		c.end(137)
	}
	e.mu.Unlock()
	e.running.Wait()
}

// Panic makes `GET /info` panic from now on.
func (e *Engine) Panic() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.panics = true
}

// String renders what the engine holds, one object on a line, without IDs and
// times.
func (e *Engine) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, n := range e.networks {
		lines = append(lines, fmt.Sprintf("network %s %s %s", n.Name, n.Driver, n.Scope))
	}
	for _, s := range e.services {
		lines = append(lines, fmt.Sprintf("service %s %s", s.Spec.Name, s.Spec.TaskTemplate.ContainerSpec.Image))
	}
	for _, c := range e.configs {
		lines = append(lines, "config "+c.Spec.Name)
	}
	for _, v := range e.volumes {
		lines = append(lines, "volume "+v.Name)
	}
	for _, c := range e.containers {
		lines = append(lines, fmt.Sprintf("container %s %s", c.Spec.Name, c.State))
	}
	slices.Sort(lines)
	return strings.Join(append([]string{"swarm " + string(e.info.LocalNodeState)}, lines...), "\n") + "\n"
}

// notifyLocked wakes whoever waits for a change.
func (e *Engine) notifyLocked() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// Serve serves h on a unix socket until the test ends and gives its path.
func Serve(tb testing.TB, h http.Handler) string {
	tb.Helper()
	// Not TempDir: a test's name may make the path longer than a socket's may be.
	dir, err := os.MkdirTemp("", "apitest") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(dir, "docker.sock")
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) })
	tb.Cleanup(func() {
		_ = srv.Close()
		served.Wait()
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return path
}

// newSwarmID gives an ID as SwarmKit gives them: 25 digits and small letters.
func newSwarmID() string { return strings.ToLower(rand.Text()[:25]) }

// byID gives the values of a map in the order of their keys.
func byID[T any](m map[string]T) []T {
	out := make([]T, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// Sizes gives the terminal sizes clients have told, in order.
func (e *Engine) Sizes() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.sizes)
}
