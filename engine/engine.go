package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/attachment"
	"weft/engine/bridge"
	"weft/engine/control"
	"weft/engine/dockerapi"
	"weft/engine/event"
	"weft/engine/fault"
	"weft/engine/image"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/localnet"
	"weft/engine/model"
	"weft/engine/runtime"
	"weft/engine/store"
	"weft/engine/volume"
	"weft/engine/weftapi"
	"weft/engine/workload"
)

// shutdownGrace bounds how long API requests may run on once the engine stops.
const shutdownGrace = 2 * time.Second

// Engine is a running node: New makes it, Run serves until its context ends.
type Engine struct {
	cfg     Config
	id      string    // of this engine, kept over restarts
	created time.Time // of the data directory

	lock        *os.File
	store       *store.Store
	runtime     *runtime.Runtime
	runtimes    runtimes
	images      *image.Store
	execs       *execs
	volumes     volumes
	life        context.Context // ends with Run; bounds background
	endLife     context.CancelFunc
	background  sync.WaitGroup // what outlives the request that began it
	workload    *workload.Manager
	attachments *attachment.Manager
	bridges     *bridge.Driver
	local       *localnet.Registry
	directory   *directory
	networks    *networks
	ingress     *ingress
	publisher   *publisher
	control     *control.Node
	host        *host
	events      *event.Hub
	hostNS      *kernel.Namespace // the engine's own
	listeners   []net.Listener

	cleanup []func() error // undoes New, last first
}

// New claims the directories, opens what is in them and binds the sockets.
// Nothing of it remains when it fails.
func New(ctx context.Context, cfg Config) (_ *Engine, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := kernel.Probe(ctx).Overlay(); err != nil {
		return nil, err
	}
	control.RouteLibraryLogs(cfg.Log)
	e := &Engine{cfg: cfg, events: event.NewHub(cfg.Now), execs: newExecs()}
	e.life, e.endLife = context.WithCancel(context.WithoutCancel(ctx))
	e.onUndo(func() error { e.endLife(); e.background.Wait(); return nil })
	defer func() {
		if err != nil {
			err = errors.Join(err, e.undo())
		}
	}()
	for _, open := range []func(context.Context) error{e.claim, e.openStore, e.openLocal, e.openRuntime, e.openControl, e.listen} {
		if err := open(ctx); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// undo closes what New opened, in reverse.
func (e *Engine) undo() error {
	var errs []error
	for i := len(e.cleanup) - 1; i >= 0; i-- {
		errs = append(errs, e.cleanup[i]())
	}
	e.cleanup = nil
	return errors.Join(errs...)
}

func (e *Engine) onUndo(f func() error) { e.cleanup = append(e.cleanup, f) }

func (e *Engine) claim(context.Context) error {
	if err := os.MkdirAll(e.cfg.DataDir, 0o700); err != nil {
		return fault.Internal("make --data-dir: %w", err)
	}
	lock, err := claim(e.cfg.RunDir, Instance{
		Pid: cmp.Or(e.cfg.Pid, os.Getpid()), Version: e.cfg.Version, Listen: e.cfg.Listen, DataDir: e.cfg.DataDir, Started: e.cfg.Now(),
	})
	if err != nil {
		return err
	}
	e.lock = lock
	e.onUndo(func() error { return release(lock) })
	return nil
}

// identity is what an engine is known by, made once per data directory.
type identity struct {
	ID      string
	Created time.Time
}

func (e *Engine) openStore(context.Context) error {
	st, err := store.Open(filepath.Join(e.cfg.DataDir, "engine.db"), store.Options{})
	if err != nil {
		return err
	}
	e.store = st
	e.onUndo(st.Close)
	who, err := store.Bucket[identity](st, "identity").Update("engine", func(i *identity) error {
		if i.ID == "" {
			i.ID, i.Created = rand.Text(), e.cfg.Now()
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.id, e.created = who.ID, who.Created
	e.directory = newDirectory(e.cfg.Log)
	e.onUndo(e.directory.close)
	e.networks = newNetworks(e.cfg.Log, rows[model.Network]{store.Bucket[model.Network](st, "networks")}, e.directory)
	e.directory.heard = e.networks.spared
	e.background.Go(func() { e.directory.run(e.life) })
	e.publisher = newPublisher(e.cfg.Log, e.cfg.Now)
	e.publisher.heard = e.networks.heard
	e.publisher.ask = e.networks.ask
	e.publisher.report, e.publisher.nodes, e.publisher.vteps = e.networks.report, e.networks.nodes, e.networks.vteps
	e.onUndo(e.publisher.stop)
	e.publisher.local, e.publisher.overlay, e.publisher.lead = e.networks.addresses, e.networks.namespace, e.networks.lead
	e.networks.publisher = e.publisher
	e.ingress, err = newIngress(e.networks, e.publisher, e.namespaceDir(), rows[model.Endpoint]{store.Bucket[model.Endpoint](st, "ingress")})
	return err
}

// openLocal takes back the networks of this node. Without the claim on the
// namespace's bridges the engine does without.
func (e *Engine) openLocal(context.Context) error {
	var driver localnet.Driver
	d, err := bridge.New(e.cfg.Log, e.cfg.OpenPort)
	switch {
	case errdefs.IsConflict(err):
		e.cfg.Log.Warn("no bridge networks", "err", err)
		driver = noBridges{err}
	case err != nil:
		return err
	default:
		e.bridges, driver = d, d
		e.onUndo(d.Close)
	}
	host, err := kernel.Current()
	if err != nil {
		return err
	}
	e.onUndo(host.Close)
	e.hostNS, e.publisher.hostNS = host, host
	if e.bridges != nil {
		e.publisher.reserve, e.publisher.holder = e.bridges.Reserve, e.bridges.Holder
		e.bridges.KnowServices(e.publisher.serviceAt)
	}
	e.background.Go(func() { e.publisher.run(e.life) })
	e.background.Go(e.reviewListeners)
	e.local, err = localnet.Open(localnet.Config{
		EngineID: e.id, Table: rows[model.Network]{store.Bucket[model.Network](e.store, "local-networks")}, Driver: driver,
		Routed:  func() ([]netip.Prefix, error) { return link.Routed(host) },
		Default: localnet.Default{Bridge: e.cfg.Bridge, Subnet: e.cfg.BridgeIP, ICC: true},
		Log:     e.cfg.Log, Now: e.cfg.Now,
	})
	return err
}

// openRuntime takes back the containers of an earlier run.
func (e *Engine) openRuntime(ctx context.Context) error {
	var err error
	if e.runtimes, err = e.chooseRuntimes(ctx); err != nil {
		return err
	}
	rt, err := runtime.New(runtime.Config{
		Dir: filepath.Join(e.cfg.DataDir, "containers"), RunDir: filepath.Join(e.cfg.RunDir, "shim"),
		Self: e.cfg.Self, Containerd: e.runtimes.containerd, Log: e.cfg.Log, Now: e.cfg.Now, CgroupParent: e.cfg.CgroupParent,
	})
	if err != nil {
		return err
	}
	e.runtime = rt
	e.onUndo(rt.Close)
	e.images, err = image.Open(ctx, filepath.Join(e.cfg.DataDir, "images"), e.cfg.Log)
	if err != nil {
		return err
	}
	e.onUndo(e.images.Close)
	vols, err := volume.Open(volume.Config{
		Dir: filepath.Join(e.cfg.DataDir, "volumes"), Table: rows[model.Volume]{store.Bucket[model.Volume](e.store, "volumes")},
		Publish: e.events.Publish, Log: e.cfg.Log, Now: e.cfg.Now,
	})
	if err != nil {
		return err
	}
	e.volumes = volumes{vols, e}
	e.workload = workload.New(workload.Config{
		Runtime: processes{rt, e.images, e.runtimes}, DefaultRuntime: e.runtimes.byDefault, Sandboxes: sandboxes{e.namespaceDir()}, Networks: allocator{e}, Volumes: e.volumes,
		Table:   rows[model.Container]{e.store.Containers()},
		Publish: e.events.Publish, Log: e.cfg.Log, Now: e.cfg.Now,
	})
	e.onUndo(func() error { e.workload.Close(); return nil })
	if err := e.workload.Restore(ctx); err != nil {
		return err
	}
	if err := e.openAttachments(ctx); err != nil {
		return err
	}
	if err := e.restoreLocal(ctx); err != nil {
		return err
	}
	all, err := e.workload.Containers(ctx)
	if err != nil {
		return err
	}
	if err := e.volumes.Restore(all); err != nil {
		return err
	}
	return errors.Join(rt.Sweep(ctx, e.workload.IDs()), e.images.Sweep(ctx, e.workload.IDs()))
}

func (e *Engine) openControl(context.Context) error {
	pools := make([]string, len(e.cfg.DefaultAddrPool))
	for i, p := range e.cfg.DefaultAddrPool {
		pools[i] = p.String()
	}
	e.host = &host{e: e}
	node, err := control.New(control.Config{
		StateDir: filepath.Join(e.cfg.DataDir, "swarm"), RunDir: filepath.Join(e.cfg.RunDir, "swarm"),
		Host: e.host, Log: e.cfg.Log,
		DefaultAdvertiseAddr: e.cfg.AdvertiseAddr, DefaultDataPathAddr: e.cfg.DataPathAddr, DataPathPort: e.cfg.DataPathPort,
		DefaultAddrPool: pools, SubnetSize: e.cfg.SubnetSize,
		LocalNetwork: func(name string) bool { _, ok := e.local.Find(name); return ok },
		OwnLink:      e.ownLink,
	})
	if err != nil {
		return err
	}
	e.control = node
	return nil
}

func (e *Engine) listen(context.Context) error {
	for _, address := range e.cfg.Listen {
		l, err := listenUnix(address)
		if err != nil {
			return err
		}
		e.listeners = append(e.listeners, l)
		e.onUndo(func() error {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return nil
}

// Run joins the swarm this node is a member of, serves the API and calls ready
// once. When ctx ends it stops the containers, removes what it made in the
// kernel and returns; an Engine runs once.
func (e *Engine) Run(ctx context.Context, ready func()) error {
	background := context.WithoutCancel(ctx)
	if err := e.control.Start(background); err != nil {
		return errors.Join(err, e.undo())
	}
	if _, member := e.control.Membership(); !member {
		if err := e.forgetNetworks(background); err != nil {
			e.cfg.Log.ErrorContext(ctx, "leftovers of an earlier run not removed", "err", err)
		}
	}
	var parts sync.WaitGroup
	watchCtx, stopWatch := context.WithCancel(background)
	parts.Go(func() {
		for ev := range e.control.Watch(watchCtx) {
			e.events.Publish(ev)
		}
	})
	srv := &http.Server{Handler: e.handler(), ReadHeaderTimeout: time.Minute}
	failed := make(chan error, len(e.listeners))
	for _, l := range e.listeners {
		parts.Go(func() { failed <- srv.Serve(l) })
	}
	if err := e.workload.Resume(background); err != nil {
		e.cfg.Log.ErrorContext(ctx, "containers not started again", "err", err)
	}
	e.cfg.Log.InfoContext(ctx, "engine ready", "version", e.cfg.Version, "listen", e.cfg.Listen)
	ready()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	e.cfg.Log.InfoContext(ctx, "engine stopping")
	stopWatch()
	err = errors.Join(err, e.shutdown(background, srv))
	parts.Wait()
	return errors.Join(err, e.undo())
}

func (e *Engine) handler() http.Handler {
	return dockerapi.New(dockerapi.Config{
		Backends: dockerapi.Backends{
			System: systemBackend{e}, Swarm: e.control, Networks: networkBackend{e}, Containers: containerBackend{e},
			Files: fileBackend{e}, Images: imageBackend{e}, Volumes: e.volumes, Events: e.events,
		},
		Version: e.cfg.Version, Log: e.cfg.Log, Now: e.cfg.Now,
		Extra: weftapi.New(weftapi.Config{Attachments: attachmentBackend{e}, Mesh: e, Log: e.cfg.Log}),
	})
}

// shutdown takes everything of this node down but its records and its
// membership. Standalone containers and attachments go first: their addresses
// are given back through the swarm node, which ends after them and removes its
// tasks.
func (e *Engine) shutdown(ctx context.Context, srv *http.Server) error {
	httpCtx, cancel := context.WithTimeout(ctx, shutdownGrace)
	defer cancel()
	if err := srv.Shutdown(httpCtx); err != nil {
		_ = srv.Close() // streams that do not end by themselves
	}
	return errors.Join(
		e.workload.StopStandalone(ctx),
		e.attachments.ReleaseAll(ctx, true, anyNetwork),
		e.control.Stop(ctx),
		e.workload.RemoveTasks(ctx, nil),
		e.host.stop(ctx),
		e.local.Stop(ctx),
	)
}

// forgetNetworks removes what an engine that crashed while it left its swarm
// has left.
func (e *Engine) forgetNetworks(ctx context.Context) error {
	return errors.Join(
		e.workload.RemoveTasks(ctx, nil),
		e.workload.DisconnectAll(ctx, e.swarms),
		e.workload.Settle(ctx),
		e.attachments.ReleaseAll(ctx, false, e.swarms),
		e.networks.detach(ctx),
		e.ingress.remove(),
	)
}
