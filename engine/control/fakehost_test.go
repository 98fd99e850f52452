package control_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"go.uber.org/goleak"

	"weft/engine/control"
	"weft/engine/fault"
	"weft/engine/model"
)

// fakeHost runs tasks that are nothing but an entry in a map. It survives its
// Node, as containers survive an engine.
type fakeHost struct {
	name string

	mu       sync.Mutex
	joined   []control.Membership
	left     int
	keys     int
	tasks    map[string]*fakeTask
	removed  []string
	keep     []string
	attached []string
	kept     int
	checkErr error
	joinErr  error

	ingress    *model.Attachment
	ingressSet int
	ingressErr error
}

type fakeTask struct {
	spec    model.Task
	running bool
	status  model.ExitStatus
	ended   chan struct{}
}

func newFakeHost(name string) *fakeHost {
	return &fakeHost{name: name, tasks: map[string]*fakeTask{}}
}

func (h *fakeHost) Describe(context.Context) (control.Description, error) {
	return control.Description{
		Hostname: h.name, Architecture: "x86_64", OS: "linux", NanoCPUs: 2e9, MemoryBytes: 1 << 30, EngineVersion: "test",
	}, nil
}

func (h *fakeHost) Joined(_ context.Context, m control.Membership) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.joinErr != nil {
		return h.joinErr
	}
	h.joined = append(h.joined, m)
	return nil
}

func (h *fakeHost) CheckMembership(_ context.Context, m control.Membership) error {
	if !m.AdvertiseAddr.IsValid() || !m.DataPathAddr.IsValid() || !m.ListenAddr.IsValid() {
		return fault.Internal("checked with %+v", m)
	}
	return h.checkErr
}

func (h *fakeHost) Left(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left++
	return nil
}

func (h *fakeHost) SetKeys(_ context.Context, keys []model.GossipKey) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys = len(keys)
	return nil
}

func (h *fakeHost) SetIngress(_ context.Context, a *model.Attachment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.joined) == 0 {
		return fault.Internal("an ingress network before the membership")
	}
	h.ingressSet++
	if h.ingressErr != nil {
		return h.ingressErr
	}
	h.ingress = a
	return nil
}

func (h *fakeHost) PrepareTask(_ context.Context, t model.Task) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tasks[t.ID] == nil {
		h.tasks[t.ID] = &fakeTask{spec: t, ended: make(chan struct{})}
	}
	return nil
}

func (h *fakeHost) StartTask(_ context.Context, id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tasks[id]
	if t == nil {
		return fault.NotFound("no such task %s", id)
	}
	t.running = true
	return nil
}

func (h *fakeHost) WaitTask(ctx context.Context, id string) (model.ExitStatus, error) {
	h.mu.Lock()
	t := h.tasks[id]
	h.mu.Unlock()
	if t == nil {
		return model.ExitStatus{}, fault.NotFound("no such task %s", id)
	}
	select {
	case <-t.ended:
		return t.status, nil
	case <-ctx.Done():
		return model.ExitStatus{}, ctx.Err()
	}
}

func (h *fakeHost) end(id string, code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.tasks[id]; t != nil && t.running {
		t.running, t.status.Code = false, code
		close(t.ended)
	}
}

func (h *fakeHost) ShutdownTask(_ context.Context, id string) error {
	h.end(id, 0)
	return nil
}

func (h *fakeHost) TerminateTask(_ context.Context, id string) error {
	h.end(id, 137)
	return nil
}

func (h *fakeHost) RemoveTask(_ context.Context, id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tasks, id)
	h.removed = append(h.removed, id)
	return nil
}

func (h *fakeHost) TaskStatus(_ context.Context, id string) (control.TaskStatus, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tasks[id]
	if t == nil {
		return control.TaskStatus{}, false
	}
	return control.TaskStatus{ContainerID: "ctr-" + id, Pid: 4242, ExitCode: t.status.Code, Running: t.running}, true
}

func (h *fakeHost) KeepTasks(_ context.Context, ids, attached []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept++
	h.keep, h.attached = ids, attached
}

// running gives the IDs of running tasks.
func (h *fakeHost) running() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id, t := range h.tasks {
		if t.running {
			ids = append(ids, id)
		}
	}
	return ids
}

func (h *fakeHost) get(f func(*fakeHost) bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return f(h)
}

// member is a node under test and the host under it.
type member struct {
	*control.Node
	host *fakeHost
	dir  string
	addr string
}

func newMember(t *testing.T, name string) *member {
	t.Helper()
	m := &member{host: newFakeHost(name), dir: t.TempDir(), addr: freeAddr(t)}
	m.renew(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := m.StopKeep(ctx); err != nil {
			t.Errorf("stop %s: %v", name, err)
		}
	})
	return m
}

// renew makes a new Node on the same state, as a new engine process would.
func (m *member) renew(t *testing.T) {
	t.Helper()
	n, err := control.New(control.Config{StateDir: m.dir, Host: m.host, Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	m.Node = n
}

func testLog() *slog.Logger {
	var w io.Writer = io.Discard
	if os.Getenv("WEFT_TEST_LOG") != "" {
		w = os.Stderr
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *member) init(t *testing.T) {
	t.Helper()
	id, err := m.Init(t.Context(), swarm.InitRequest{ListenAddr: m.addr, AdvertiseAddr: m.addr})
	if err != nil {
		t.Fatalf("init: %v", err)
	}
	if id == "" || id != m.NodeID() {
		t.Fatalf("init gave ID %q, node has %q", id, m.NodeID())
	}
}

func (m *member) join(t *testing.T, to *member, asManager bool) {
	t.Helper()
	s, err := to.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token := s.JoinTokens.Worker
	if asManager {
		token = s.JoinTokens.Manager
	}
	err = m.Join(t.Context(), swarm.JoinRequest{
		ListenAddr: m.addr, AdvertiseAddr: m.addr, RemoteAddrs: []string{to.addr}, JoinToken: token,
	})
	if err != nil {
		t.Fatalf("join: %v", err)
	}
}

// eventually waits for a condition; SwarmKit tells of most only in its store.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("still not: %s", what)
		}
	}
}

func refused(t *testing.T, err error, is func(error) bool, part string) {
	t.Helper()
	if err == nil || !is(err) || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v (class as wanted: %v), want one with %q", err, err != nil && is(err), part)
	}
}

func addrOf(t *testing.T, s string) netip.Addr {
	t.Helper()
	return netip.MustParseAddrPort(s).Addr()
}

func TestMain(m *testing.M) {
	control.RouteLibraryLogs(testLog())
	// SwarmKit leaves these behind: its volume manager, and a timer of a task
	// that was shut down within the second before it was to be asked again.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/moby/swarmkit/v2/volumequeue.(*VolumeQueue).Wait"),
		goleak.IgnoreAnyFunction("github.com/moby/swarmkit/v2/manager/csi.(*Manager).run"),
		goleak.IgnoreAnyFunction("github.com/moby/swarmkit/v2/agent.(*taskManager).run.func3"))
}
