package workload_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weft/engine/fault"
	"weft/engine/model"
	"weft/engine/workload"
)

// world is everything a Manager drives, kept as text so that a test can say
// what should exist. It outlives the Manager, as the kernel does.
type world struct {
	mu       sync.Mutex
	more     *sync.Cond       // events or checks; of mu
	fail     map[string]error // by call, as in "join" or "start"
	things   map[string]bool  // "sandbox ID", "endpoint NET", "bundle ID", "address NET"
	procs    map[string]chan model.ExitStatus
	stubborn bool // processes ignore SIGTERM
	saved    map[string]model.Container
	events   []string
	calls    []string // as in fail, and signals
	next     byte
	ill      int // what checks exit with
	checks   int
	image    model.Image
}

func newWorld() *world {
	w := &world{
		fail: map[string]error{}, things: map[string]bool{},
		procs: map[string]chan model.ExitStatus{}, saved: map[string]model.Container{},
	}
	w.more = sync.NewCond(&w.mu)
	return w
}

func (w *world) manager(t *testing.T) *workload.Manager {
	t.Helper()
	m := workload.New(workload.Config{
		Runtime: w, Sandboxes: sandboxes{w}, Networks: networks{w}, Volumes: volumes{w}, Table: table{w},
		Publish: func(e model.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e.Type+" "+e.Action)
			w.more.Broadcast()
		},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	t.Cleanup(m.Close)
	return m
}

func (w *world) do(call, add, del string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call)
	if err := w.fail[call]; err != nil {
		return err
	}
	if add != "" {
		w.things[add] = true
	}
	delete(w.things, del)
	return nil
}

// has gives what exists, sorted, with IDs cut off.
func (w *world) has() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for k := range w.things {
		kind, rest, _ := strings.Cut(k, " ")
		if kind == "sandbox" || kind == "bundle" || kind == "names" {
			rest = ""
		}
		out = append(out, strings.TrimSpace(kind+" "+rest))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (w *world) Resolve(_ context.Context, image string) (model.Image, error) {
	if image != "weft/probe" {
		return model.Image{}, fault.NotFound("No such image: %s", image)
	}
	return w.image, nil
}

func (w *world) Create(_ context.Context, id, _ string, _ model.ProcessSpec) error {
	return w.do("create", "bundle "+id, "")
}

func (w *world) Start(_ context.Context, id string) (int, error) {
	if err := w.do("start", "", ""); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.procs[id] = make(chan model.ExitStatus, 1)
	return 100 + len(w.procs), nil
}

func (w *world) Wait(ctx context.Context, id string) (model.ExitStatus, error) {
	w.mu.Lock()
	p := w.procs[id]
	w.mu.Unlock()
	if p == nil {
		return model.ExitStatus{}, errors.New("no record of it")
	}
	select {
	case st := <-p:
		p <- st
		return st, nil
	case <-ctx.Done():
		return model.ExitStatus{}, ctx.Err()
	}
}

// exit ends the process of a container as if by itself.
func (w *world) exit(id string, code int) {
	w.mu.Lock()
	p := w.procs[id]
	w.mu.Unlock()
	select {
	case p <- model.ExitStatus{Code: code, Finished: time.Now()}:
	default:
	}
}

func (w *world) Signal(_ context.Context, id string, sig syscall.Signal) error {
	w.mu.Lock()
	stubborn := w.stubborn
	w.calls = append(w.calls, "signal "+sig.String())
	w.mu.Unlock()
	if sig == syscall.SIGKILL || !stubborn {
		w.exit(id, 128+int(sig))
	}
	return nil
}

func (w *world) Running(_ context.Context, id string) (int, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.procs[id]
	return 7, p != nil && len(p) == 0, nil
}

func (w *world) Check(ctx context.Context, _ string, spec model.ExecSpec) (int, string, error) {
	if spec.Args[0] == "hang" {
		<-ctx.Done()
		return 0, "", ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checks++
	w.more.Broadcast()
	return w.ill, strings.Join(spec.Args, " "), nil
}

// exitChecks has checks exit with a code from now on.
func (w *world) exitChecks(code int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ill = code
}

// checked counts the checks so far.
func (w *world) checked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.checks
}

// awaitChecks waits, in a bubble of synctest, for the nth check and what comes of
// it.
func (w *world) awaitChecks(n int) { w.await(func() bool { return w.checks >= n }) }

// awaitEvents does so for the nth of these events.
func (w *world) awaitEvents(event string, n int) {
	w.await(func() bool {
		count := 0
		for _, e := range w.events {
			if e == event {
				count++
			}
		}
		return count >= n
	})
}

func (w *world) await(there func() bool) {
	w.mu.Lock()
	for !there() {
		w.more.Wait()
	}
	w.mu.Unlock()
	synctest.Wait()
}

// published gives the events so far.
func (w *world) published() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *world) Remove(_ context.Context, id string) error {
	return w.do("remove", "", "bundle "+id)
}

type sandboxes struct{ w *world }

func (s sandboxes) Path(id string) string { return "/run/x/" + id }
func (s sandboxes) Create(_ context.Context, id, _ string) error {
	return s.w.do("sandbox", "sandbox "+id, "")
}

func (s sandboxes) Remove(_ context.Context, id string) error {
	return s.w.do("sandbox-rm", "", "sandbox "+id)
}

type networks struct{ w *world }

func (n networks) Allocate(_ context.Context, _ string, req model.NetworkRequest) (model.Attachment, error) {
	if err := n.w.do("allocate "+req.Network, "address "+req.Network, ""); err != nil {
		return model.Attachment{}, err
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	n.w.next++
	addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, 0, n.w.next}), 16)
	if req.Addr.IsValid() {
		addr = netip.PrefixFrom(req.Addr, 16)
	}
	return model.Attachment{Network: model.Network{ID: req.Network, Name: req.Network}, Addrs: []netip.Prefix{addr}}, nil
}

func (n networks) Release(_ context.Context, ep model.Endpoint) error {
	return n.w.do("release", "", "address "+ep.NetworkID)
}

func (n networks) Check(_ context.Context, req model.NetworkRequest) error {
	return n.w.do("check "+req.Network, "", "")
}

func (n networks) Arrange(_ context.Context, c *model.Container) error {
	return n.w.do("arrange", "names "+c.ID[:3], "")
}

func (n networks) Dismiss(_ context.Context, c *model.Container) error {
	return n.w.do("dismiss", "", "names "+c.ID[:3])
}

func (n networks) SetReadiness(_ context.Context, endpoints []model.Endpoint) error {
	return n.w.do("readiness "+string(endpoints[0].Readiness), "", "")
}

func (n networks) Join(_ context.Context, nw model.Network, ep model.Endpoint) (model.Endpoint, error) {
	return ep, n.w.do("join "+nw.ID, "endpoint "+nw.ID, "")
}

func (n networks) Leave(_ context.Context, ep model.Endpoint) error {
	return n.w.do("leave", "", "endpoint "+ep.NetworkID)
}

type volumes struct{ w *world }

func (v volumes) Plan(_ context.Context, s *model.ContainerSpec, _ model.Image) error {
	for _, target := range s.Volumes {
		s.Process.Mounts = append(s.Process.Mounts, model.Mount{Kind: model.MountVolume, Name: target, Target: target})
	}
	return v.w.do("plan", "", "")
}

func (v volumes) Take(_ context.Context, _ string, mounts []model.Mount) error {
	return v.each("take", "volume ", "", mounts)
}

func (v volumes) Fill(_ context.Context, _ string, mounts []model.Mount) error {
	return v.each("fill", "", "", mounts)
}

func (v volumes) Mount(_ context.Context, _ string, mounts []model.Mount) error {
	return v.each("mount", "mounted ", "", mounts)
}

func (v volumes) Unmount(_ context.Context, _ string, mounts []model.Mount) error {
	return v.each("unmount", "", "mounted ", mounts)
}

func (v volumes) Drop(_ context.Context, _ string, mounts []model.Mount, anonymous bool) error {
	if !anonymous {
		return v.each("drop", "", "", mounts)
	}
	return v.each("drop", "", "volume ", mounts)
}

func (v volumes) each(call, add, del string, mounts []model.Mount) error {
	for _, m := range mounts {
		a, d := add, del
		if a != "" {
			a += m.Name
		}
		if d != "" {
			d += m.Name
		}
		if err := v.w.do(call, a, d); err != nil {
			return err
		}
	}
	return nil
}

type table struct{ w *world }

func (t table) Put(id string, c model.Container) error {
	if err := t.w.do("put", "", ""); err != nil {
		return err
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.saved[id] = c
	return nil
}

func (t table) Delete(id string) error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	delete(t.w.saved, id)
	return nil
}

func (t table) List() (map[string]model.Container, error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	out := map[string]model.Container{}
	for k, v := range t.w.saved {
		out[k] = v
	}
	return out, nil
}

// spec is a standalone container on the networks named.
func spec(name string, nets ...string) model.ContainerSpec {
	s := model.ContainerSpec{Name: name, Process: model.ProcessSpec{Image: "weft/probe"}}
	for _, n := range nets {
		s.Networks = append(s.Networks, model.NetworkRequest{Network: n})
	}
	return s
}

func started(t *testing.T, m *workload.Manager, s model.ContainerSpec) string {
	t.Helper()
	id, err := m.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func awaitState(t *testing.T, m *workload.Manager, id string) model.ExitStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	st, err := m.Wait(ctx, id, workload.NotRunning, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

var errInjected = errors.New("injected")

func record(t *testing.T, m *workload.Manager, id string) model.Container {
	t.Helper()
	c, err := m.Container(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
