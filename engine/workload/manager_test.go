package workload_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"

	"weft/engine/model"
	"weft/engine/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLifeOfAContainer(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	id := started(t, m, spec("web", "a", "b"))

	const running = "address a, address b, bundle, endpoint a, endpoint b, names, sandbox"
	if got := w.has(); got != running {
		t.Errorf("running container has %q, want %q", got, running)
	}
	c, err := m.Container(t.Context(), "/web")
	if err != nil || c.ID != id || c.State != model.StateRunning || len(c.Endpoints) != 2 {
		t.Fatalf("Container(/web) = %+v, %v", c, err)
	}
	if c.Endpoints[1].IfName != "eth1" || c.Endpoints[0].MAC != model.MACFromAddr(c.Endpoints[0].Addr.Addr()) {
		t.Errorf("endpoints = %+v", c.Endpoints)
	}

	w.exit(id, 3)
	if st := awaitState(t, m, id); st.Code != 3 {
		t.Errorf("exit code %d, want 3", st.Code)
	}
	if got := w.has(); got != "bundle" {
		t.Errorf("after its end the container has %q, want its bundle only", got)
	}
	if err := m.Start(t.Context(), "web"); err != nil {
		t.Fatalf("start again: %v", err)
	}
	if err := m.Remove(t.Context(), "web", false, false); !errdefs.IsConflict(err) {
		t.Errorf("removing a running container = %v, want a conflict", err)
	}
	if err := m.Remove(t.Context(), "web", true, false); err != nil {
		t.Fatal(err)
	}
	if got := w.has(); got != "" || len(w.saved) != 0 {
		t.Errorf("after rm: %q and %d records", got, len(w.saved))
	}
}

func TestStartUndoesItself(t *testing.T) {
	for _, call := range []string{"sandbox", "allocate a", "allocate b", "join a", "join b", "arrange", "start"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld()
			m := w.manager(t)
			id, err := m.Create(t.Context(), spec("web", "a", "b"))
			if err != nil {
				t.Fatal(err)
			}
			w.fail[call] = errInjected
			if err := m.Start(t.Context(), id); !errors.Is(err, errInjected) {
				t.Fatalf("Start = %v", err)
			}
			if got := w.has(); got != "bundle" {
				t.Errorf("left behind %q, want the bundle only", got)
			}
			c, err := m.Container(t.Context(), id)
			if err != nil || c.State != model.StateCreated || len(c.Endpoints) != 0 || !strings.Contains(c.Error, "injected") {
				t.Errorf("record = %+v, %v", c, err)
			}
			delete(w.fail, call)
			if err := m.Start(t.Context(), id); err != nil {
				t.Errorf("second Start = %v", err)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	started(t, m, spec("web"))
	cases := []struct {
		name string
		spec model.ContainerSpec
		is   func(error) bool
		text string
	}{
		{"name taken", spec("web"), errdefs.IsConflict, `The container name "/web" is already in use by container`},
		{"bad name", spec("a b"), errdefs.IsInvalidArgument, "Invalid container name (a b)"},
		{"unknown image", model.ContainerSpec{Process: model.ProcessSpec{Image: "nginx"}}, errdefs.IsNotFound, "No such image: nginx"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			before := w.has()
			_, err := m.Create(t.Context(), tc.spec)
			if !tc.is(err) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Create = %v", err)
			}
			if w.has() != before {
				t.Errorf("left %q, had %q", w.has(), before)
			}
		})
	}
	w.fail["create"] = errInjected
	if _, err := m.Create(t.Context(), spec("other")); !errors.Is(err, errInjected) {
		t.Errorf("Create = %v", err)
	}
	if _, err := m.Container(t.Context(), "other"); !errdefs.IsNotFound(err) {
		t.Errorf("a container that could not be created is listed: %v", err)
	}
}

func TestFind(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	id := started(t, m, spec("web"))
	for _, name := range []string{id, id[:12], "web", "/web"} {
		if c, err := m.Container(t.Context(), name); err != nil || c.ID != id {
			t.Errorf("Container(%q) = %v, %v", name, c.ID, err)
		}
	}
	for _, name := range []string{"", "we", "nope"} {
		if _, err := m.Container(t.Context(), name); !errdefs.IsNotFound(err) {
			t.Errorf("Container(%q) = %v, want not found", name, err)
		}
	}
}

func TestStop(t *testing.T) {
	short := time.Duration(0)
	cases := []struct {
		name     string
		stubborn bool
		code     int
	}{{"ends on TERM", false, 143}, {"killed after its grace", true, 137}}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			w.stubborn = tc.stubborn
			m := w.manager(t)
			id := started(t, m, spec("web", "a"))
			grace := &short
			if !tc.stubborn {
				grace = nil
			}
			stopped, err := m.Stop(t.Context(), "web", "", grace)
			if err != nil || !stopped {
				t.Fatalf("Stop = %v, %v", stopped, err)
			}
			if st := awaitState(t, m, id); st.Code != tc.code {
				t.Errorf("exit code %d, want %d", st.Code, tc.code)
			}
			if stopped, err := m.Stop(t.Context(), "web", "", nil); err != nil || stopped {
				t.Errorf("second Stop = %v, %v", stopped, err)
			}
		})
	}
}

func TestAutoRemove(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	s := spec("web", "a")
	s.AutoRemove = true
	id := started(t, m, s)
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		_, err := m.Wait(context.Background(), id, workload.Removed, func() { close(ready) })
		done <- err
	}()
	<-ready
	w.exit(id, 0)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if w.has() != "" {
		t.Errorf("left %q", w.has())
	}
}

func TestWaitNextExit(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	id, err := m.Create(t.Context(), spec("web"))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int, 1)
	ready := make(chan struct{})
	go func() {
		st, _ := m.Wait(context.Background(), id, workload.NextExit, func() { close(ready) })
		got <- st.Code
	}()
	<-ready // docker run waits before it starts the container
	if err := m.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.exit(id, 9)
	if code := <-got; code != 9 {
		t.Errorf("waited for exit code %d, want 9", code)
	}
}

func TestConnect(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	id := started(t, m, spec("web", "a"))
	if err := m.Connect(t.Context(), "web", model.NetworkRequest{Network: "b"}, "b"); err != nil {
		t.Fatal(err)
	}
	if err := m.Connect(t.Context(), "web", model.NetworkRequest{Network: "b"}, "b"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("second connect = %v, want forbidden as in Docker", err)
	}
	if err := m.Disconnect(t.Context(), "web", "a", "a"); err != nil {
		t.Fatal(err)
	}
	if got := w.has(); got != "address b, bundle, endpoint b, names, sandbox" {
		t.Errorf("has %q", got)
	}
	if err := m.Connect(t.Context(), "web", model.NetworkRequest{Network: "c"}, "c"); err != nil {
		t.Fatal(err)
	}
	c, _ := m.Container(t.Context(), id)
	if c.Endpoints[1].IfName != "eth0" {
		t.Errorf("third network got %s, want the freed eth0", c.Endpoints[1].IfName)
	}
	if _, err := m.Stop(t.Context(), "web", "", nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if got := w.has(); got != "address b, address c, bundle, endpoint b, endpoint c, names, sandbox" {
		t.Errorf("after a restart has %q, want the connected networks", got)
	}
}

func taskOf(id string) model.Task {
	s := spec("svc.1." + id)
	s.Service = &model.ServiceTask{TaskID: id, ServiceID: "s", ServiceName: "svc", Slot: 1}
	a, _ := networks{newWorld()}.Allocate(context.Background(), "", model.NetworkRequest{Network: "ov"})
	return model.Task{ID: id, Spec: s, Attachments: []model.Attachment{a}}
}

func TestTask(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	if err := m.RemoveTask(t.Context(), "t1"); err != nil {
		t.Errorf("removing an unknown task = %v; after a restart the agent does that first", err)
	}
	for range 2 { // the agent prepares again after a restart
		if err := m.PrepareTask(t.Context(), taskOf("t1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.StartTask(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	c, ok := m.Task("t1")
	if !ok || c.Endpoints[0].ServiceName != "svc" || w.has() != "bundle, endpoint ov, names, sandbox" {
		t.Fatalf("Task = %+v, %v, has %q: a task's address is the swarm's to release", c, ok, w.has())
	}
	if err := m.Connect(t.Context(), c.ID, model.NetworkRequest{Network: "x"}, "x"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("connecting a task = %v", err)
	}
	if err := m.ShutdownTask(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	if st, err := m.WaitTask(t.Context(), "t1"); err != nil || st.Code != 143 {
		t.Errorf("WaitTask = %+v, %v", st, err)
	}
	if !m.IDs()[c.ID] {
		t.Error("IDs lacks the task's container")
	}
	if err := m.RemoveTasks(t.Context(), nil); err != nil || w.has() != "" {
		t.Errorf("RemoveTasks = %v, left %q", err, w.has())
	}
}

func TestRestore(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	kept := started(t, m, spec("kept", "a"))
	lost := started(t, m, spec("lost", "b"))
	gone := spec("gone", "c")
	gone.AutoRemove = true
	goneID := started(t, m, gone)
	m.Close() // as a crash would: nothing is undone
	w.exit(lost, 5)
	w.exit(goneID, 0)

	m = w.manager(t)
	if err := m.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.has(); got != "address a, bundle, bundle, endpoint a, names, sandbox" {
		t.Errorf("after the restart %q", got)
	}
	if c, err := m.Container(t.Context(), "kept"); err != nil || c.ID != kept || c.State != model.StateRunning || len(c.Endpoints) != 1 {
		t.Errorf("kept = %+v, %v", c, err)
	}
	if c, err := m.Container(t.Context(), "lost"); err != nil || c.State != model.StateExited || c.ExitCode != 5 {
		t.Errorf("lost = %+v, %v", c, err)
	}
	if _, err := m.Container(t.Context(), "gone"); !errdefs.IsNotFound(err) {
		t.Errorf("a --rm container that ended is still there: %v", err)
	}
	w.exit(kept, 0) // the adopted one is watched
	awaitState(t, m, kept)
}

func TestStopStandalone(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	for _, n := range []string{"one", "two", "three"} {
		started(t, m, spec(n, n))
	}
	if err := m.PrepareTask(t.Context(), taskOf("t1")); err != nil {
		t.Fatal(err)
	}
	if err := m.StartTask(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	if err := m.StopStandalone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.has(); got != "bundle, bundle, bundle, bundle, endpoint ov, names, sandbox" {
		t.Errorf("left %q", got)
	}
}

func TestDisconnectAll(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	started(t, m, spec("one", "a", "b"))
	if err := m.DisconnectAll(t.Context(), func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	// The addresses are the swarm's, which is gone: nobody to give them back to.
	if got := w.has(); got != "address a, address b, bundle, names, sandbox" {
		t.Errorf("has %q", got)
	}
	if c, _ := m.Container(t.Context(), "one"); c.State != model.StateRunning || len(c.Endpoints) != 0 {
		t.Errorf("container = %+v", c)
	}
}
