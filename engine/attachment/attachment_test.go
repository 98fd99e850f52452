package attachment_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// named makes a namespace with a name; end takes the name away.
func named(t *testing.T) (path string, end func()) {
	t.Helper()
	ns, _ := netnstest.Sandbox(t)
	path = filepath.Join(t.TempDir(), "blue")
	must(t, ns.Bind(path))
	t.Cleanup(func() { must(t, kernel.Remove(path)) })
	return path, func() { must(t, kernel.Remove(path)) }
}

// process starts one in a namespace of its own.
func process(t *testing.T) (pid int, end func()) {
	t.Helper()
	ns, _ := netnstest.Sandbox(t)
	cmd := exec.Command("sleep", "1000")
	must(t, kernel.Do(ns, cmd.Start))
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

// holders gives a request for each kind of holder, and its end.
func holders(t *testing.T, w *world) map[string]func(*testing.T) (model.AttachRequest, func()) {
	t.Helper()
	return map[string]func(*testing.T) (model.AttachRequest, func()){
		"process": func(t *testing.T) (model.AttachRequest, func()) {
			pid, end := process(t)
			return model.AttachRequest{Network: "ov", Pid: pid}, end
		},
		"namespace": func(t *testing.T) (model.AttachRequest, func()) {
			path, end := named(t)
			return model.AttachRequest{Network: "ov", NetNS: path}, end
		},
		"tap": func(*testing.T) (model.AttachRequest, func()) {
			return model.AttachRequest{Network: "ov", Tap: "vm0", User: 12345}, func() {
				netnstest.Exec(w.tb, w.host, "ip", "link", "delete", "vm0")
			}
		},
	}
}

const (
	allOfNamespace = "address ov, leg ov, mount, names ov, record"
	allOfTap       = "address ov, leg ov, names ov, record, tap"
)

func whole(req model.AttachRequest) string {
	if req.Tap != "" {
		return allOfTap
	}
	return allOfNamespace
}

// await waits until the world has what is wanted.
func (w *world) await(t *testing.T, want string) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for w.has() != want {
		select {
		case <-w.changed:
		case <-limit.C:
			t.Fatalf("has %q, want %q", w.has(), want)
		}
	}
}

func TestAttachAndDetach(t *testing.T) {
	w := newWorld(t)
	for name, holder := range holders(t, w) {
		t.Run(name, func(t *testing.T) {
			m := w.start(t)
			req, _ := holder(t)
			req.Aliases = []string{"other"}
			a, err := m.Attach(t.Context(), req)
			must(t, err)
			if got := w.has(); got != whole(req) {
				t.Errorf("has %s, want %s", got, whole(req))
			}
			if a.Network != "ov" || a.NetworkID != "ov-id" || a.Holder != req.Holder() || !a.Address.IsValid() || a.MTU == 0 ||
				!strings.HasPrefix(a.MAC, "02:42:0a:14:00:") || (a.Interface == "") != (req.Tap != "") {
				t.Errorf("%+v", a)
			}
			if len(a.Routes) != 1 || a.Routes[0].String() != "10.21.0.0/24" {
				t.Errorf("routes %v", a.Routes)
			}
			ep := m.Endpoints()[0]
			if got := strings.Join(ep.TaskAliases, " "); got != a.ID[:12]+" other" || ep.Name != a.Name || ep.ContainerID != a.ID {
				t.Errorf("endpoint %+v", ep)
			}
			if list := m.List(); len(list) != 1 || list[0].ID != a.ID {
				t.Errorf("list %+v", list)
			}
			must(t, m.Detach(t.Context(), a.ID[:10]))
			if got := w.has(); got != "" {
				t.Errorf("left: %s", got)
			}
			if err := m.Detach(t.Context(), a.ID); !errdefs.IsNotFound(err) {
				t.Errorf("detached twice: %v", err)
			}
		})
	}
	if got := strings.Join(w.events, ", "); got != strings.TrimSuffix(strings.Repeat("connect ov, disconnect ov, ", 3), ", ") {
		t.Errorf("events: %s", got)
	}
}

// TestFailureLeavesNothing lets each call fail in turn.
func TestFailureLeavesNothing(t *testing.T) {
	w := newWorld(t)
	for name, holder := range holders(t, w) {
		for _, call := range []string{"check", "allocate", "join", "serve"} {
			t.Run(name+" "+call, func(t *testing.T) {
				m := w.start(t)
				req, _ := holder(t)
				w.fail = call
				if _, err := m.Attach(t.Context(), req); !errors.Is(err, errFails) {
					t.Errorf("got %v", err)
				}
				w.fail = ""
				if got := w.has(); got != "" {
					t.Errorf("left: %s", got)
				}
			})
		}
	}
}

func TestHolderEnds(t *testing.T) {
	w := newWorld(t)
	for name, holder := range holders(t, w) {
		t.Run(name, func(t *testing.T) {
			m := w.start(t)
			req, end := holder(t)
			_, err := m.Attach(t.Context(), req)
			must(t, err)
			end()
			w.await(t, "")
			if list := m.List(); len(list) != 0 {
				t.Errorf("listed: %+v", list)
			}
		})
	}
}

// TestPathMeansAnother puts another namespace in the place of one that is
// attached.
func TestPathMeansAnother(t *testing.T) {
	w := newWorld(t)
	m := w.start(t)
	path, end := named(t)
	_, err := m.Attach(t.Context(), model.AttachRequest{Network: "ov", NetNS: path})
	must(t, err)
	other, _ := netnstest.Sandbox(t)
	end()
	must(t, other.Bind(path))
	w.await(t, "")

	// The same while no engine looks.
	before := w.manager()
	_, err = before.Attach(t.Context(), model.AttachRequest{Network: "ov", NetNS: path})
	must(t, err)
	before.Close()
	end()
	third, _ := netnstest.Sandbox(t)
	must(t, third.Bind(path))
	after := w.start(t)
	must(t, after.Restore(t.Context()))
	must(t, after.Settle(t.Context(), func(string) bool { return true }))
	w.await(t, "")
}

func TestRestart(t *testing.T) {
	w := newWorld(t)
	for name, holder := range holders(t, w) {
		t.Run(name, func(t *testing.T) {
			req, end := holder(t)
			first := w.manager()
			a, err := first.Attach(t.Context(), req)
			must(t, err)
			first.Close()

			w.calls = nil
			second := w.manager()
			must(t, second.Restore(t.Context()))
			must(t, second.Resume())
			must(t, second.Settle(t.Context(), func(string) bool { return true }))
			if got := strings.Join(w.calls, " "); got != "serve" {
				t.Errorf("a restart calls %s", got)
			}
			if list := second.List(); len(list) != 1 || list[0].ID != a.ID || w.has() != whole(req) {
				t.Errorf("taken back: %+v, has %s", list, w.has())
			}
			second.Close()

			end() // while no engine looks
			third := w.start(t)
			must(t, third.Restore(t.Context()))
			if list, eps := third.List(), third.Endpoints(); len(list) != 0 || len(eps) != 0 {
				t.Errorf("of a holder that has ended: %+v, %+v", list, eps)
			}
			must(t, third.Resume())
			must(t, third.Settle(t.Context(), func(id string) bool { return id == "another" }))
			if len(w.saved) != 1 {
				t.Error("settled on another network")
			}
			must(t, third.Settle(t.Context(), func(id string) bool { return id == "ov-id" }))
			w.await(t, "")
		})
	}
}

// TestCrashInTheMiddle has records of attachments that were being made.
func TestCrashInTheMiddle(t *testing.T) {
	w := newWorld(t)
	path, _ := named(t)
	before := w.manager()
	a, err := before.Attach(t.Context(), model.AttachRequest{Network: "ov", NetNS: path})
	must(t, err)
	before.Close()
	rec := w.saved[a.ID]
	rec.Complete = false
	w.saved[a.ID] = rec

	after := w.start(t)
	must(t, after.Restore(t.Context()))
	must(t, after.Settle(t.Context(), func(string) bool { return true }))
	w.await(t, "")
}

// TestNumberUsedAgain has another process under the number of one that ended.
func TestNumberUsedAgain(t *testing.T) {
	w := newWorld(t)
	pid, _ := process(t)
	before := w.manager()
	a, err := before.Attach(t.Context(), model.AttachRequest{Network: "ov", Pid: pid})
	must(t, err)
	before.Close()
	rec := w.saved[a.ID]
	rec.Process.Start = "1"
	w.saved[a.ID] = rec

	after := w.start(t)
	must(t, after.Restore(t.Context()))
	must(t, after.Settle(t.Context(), func(string) bool { return true }))
	w.await(t, "")
}

// TestOneSandbox attaches a namespace to two networks, by its path and by a
// process in it.
func TestOneSandbox(t *testing.T) {
	w := newWorld(t)
	m := w.start(t)
	path, _ := named(t)
	ns, err := kernel.Open(path)
	must(t, err)
	defer ns.Close()
	cmd := exec.Command("sleep", "1000")
	must(t, kernel.Do(ns, cmd.Start))
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()

	a, err := m.Attach(t.Context(), model.AttachRequest{Network: "ov", NetNS: path})
	must(t, err)
	if _, err := m.Attach(t.Context(), model.AttachRequest{Network: "ov", Pid: cmd.Process.Pid}); !errdefs.IsPermissionDenied(err) ||
		!strings.Contains(err.Error(), "already attached to network ov") {
		t.Errorf("twice on one network: %v", err)
	}
	w.things["address ov"] = true // the fake has one per network
	w.things["leg ov"] = true
	b, err := m.Attach(t.Context(), model.AttachRequest{Network: "lan", Pid: cmd.Process.Pid})
	must(t, err)
	if got := w.has(); !strings.Contains(got, "names lan+ov") {
		t.Errorf("has %s", got)
	}
	must(t, m.Detach(t.Context(), a.ID))
	if got := w.has(); got != "address lan, leg lan, mount, names lan, record" {
		t.Errorf("has %s", got)
	}
	must(t, m.Detach(t.Context(), b.ID))
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	m := w.start(t)
	path, _ := named(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	hostPath := filepath.Join(t.TempDir(), "host")
	must(t, w.host.Bind(hostPath))
	defer func() { must(t, kernel.Remove(hostPath)) }()
	for _, tt := range []struct {
		req  model.AttachRequest
		is   func(error) bool
		want string
	}{
		{model.AttachRequest{NetNS: path}, errdefs.IsInvalidArgument, "name the network"},
		{model.AttachRequest{Network: "ov"}, errdefs.IsInvalidArgument, "give one of"},
		{model.AttachRequest{Network: "ov", NetNS: path, Tap: "vm0"}, errdefs.IsInvalidArgument, "give one of"},
		{model.AttachRequest{Network: "ov", Pid: -1}, errdefs.IsInvalidArgument, "positive"},
		{model.AttachRequest{Network: "ov", NetNS: "a/b"}, errdefs.IsInvalidArgument, "absolute path"},
		{model.AttachRequest{Network: "ov", NetNS: "/proc/self/ns/net"}, errdefs.IsInvalidArgument, "--pid"},
		{model.AttachRequest{Network: "ov", NetNS: "/run/../proc/1/ns/net"}, errdefs.IsInvalidArgument, "--pid"},
		{model.AttachRequest{Network: "ov", NetNS: file}, errdefs.IsNotFound, "is not a network namespace"},
		{model.AttachRequest{Network: "ov", NetNS: "weft-test-none"}, errdefs.IsNotFound, "/run/netns/weft-test-none"},
		{model.AttachRequest{Network: "ov", NetNS: hostPath}, errdefs.IsPermissionDenied, "the host's"},
		{model.AttachRequest{Network: "ov", Pid: 1 << 22}, errdefs.IsNotFound, "no such process"},
		{model.AttachRequest{Network: "ov", NetNS: path, Name: "-x"}, errdefs.IsInvalidArgument, "invalid attachment name"},
		{model.AttachRequest{Network: "ov", NetNS: path, Name: "taken"}, errdefs.IsConflict, "already in use"},
		{model.AttachRequest{Network: "ov", NetNS: path, User: 7}, errdefs.IsInvalidArgument, "--tap"},
		{model.AttachRequest{Network: "ov", Tap: "lo"}, errdefs.IsConflict, "exists already"},
		{model.AttachRequest{Network: "lan", Tap: "vm0"}, errdefs.IsInvalidArgument, "overlay networks"},
		{model.AttachRequest{Network: "ov", Tap: "vm0", ResolvConf: "/x"}, errdefs.IsInvalidArgument, "its own resolv.conf"},
		{model.AttachRequest{Network: "ov", NetNS: path, ResolvConf: file}, errdefs.IsConflict, "is not touched"},
		{model.AttachRequest{Network: "ov", NetNS: path, ResolvConf: "x"}, errdefs.IsInvalidArgument, "absolute path"},
		{model.AttachRequest{Network: "ov", NetNS: path, ResolvConf: file + "/x/y"}, errdefs.IsInvalidArgument, "resolver configuration"},
		{model.AttachRequest{Network: "nameless", NetNS: path, ResolvConf: file + "-new"}, errdefs.IsInvalidArgument, "no names on network"},
	} {
		if _, err := m.Attach(t.Context(), tt.req); !tt.is(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.req, err, tt.want)
		}
		if got := w.has(); got != "" {
			t.Errorf("%+v leaves %s", tt.req, got)
		}
	}
	if err := m.Detach(t.Context(), ""); !errdefs.IsNotFound(err) {
		t.Errorf("nothing detached: %v", err)
	}
}

func TestResolvConf(t *testing.T) {
	const text = "nameserver 127.0.0.11\noptions ndots:0\n"
	for name, tt := range map[string]struct {
		meanwhile func(file string) error
		left      string // of the file's directory
	}{
		"as it was made":    {func(string) error { return nil }, ""},
		"gone":              {os.Remove, ""},
		"written to":        {func(f string) error { return os.WriteFile(f, []byte("mine"), 0o600) }, "resolv.conf"},
		"another besides":   {func(f string) error { return os.WriteFile(f+".other", nil, 0o600) }, "resolv.conf.other"},
		"directory is gone": {func(f string) error { return os.RemoveAll(filepath.Dir(f)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.start(t)
			path, _ := named(t)
			dir := filepath.Join(t.TempDir(), "made")
			file := filepath.Join(dir, "resolv.conf")
			a, err := m.Attach(t.Context(), model.AttachRequest{Network: "ov", NetNS: path, ResolvConf: file})
			must(t, err)
			if b, err := os.ReadFile(file); err != nil || string(b) != text {
				t.Errorf("%q, %v", b, err)
			}
			must(t, tt.meanwhile(file))
			must(t, m.Detach(t.Context(), a.ID))
			var left []string
			entries, err := os.ReadDir(dir)
			for _, e := range entries {
				left = append(left, e.Name())
			}
			if got := strings.Join(left, " "); got != tt.left || (err != nil) != (tt.left == "") {
				t.Errorf("left in the directory: %q, %v", got, err)
			}
		})
	}
}

// TestLostNetworks has the swarm leave: its addresses are nobody's.
func TestLostNetworks(t *testing.T) {
	w := newWorld(t)
	m := w.start(t)
	path, _ := named(t)
	_, err := m.Attach(t.Context(), model.AttachRequest{Network: "ov", NetNS: path})
	must(t, err)
	must(t, m.ReleaseAll(context.Background(), false, func(id string) bool { return id == "ov-id" }))
	if got := w.has(); got != "address ov" {
		t.Errorf("has %s", got)
	}
	delete(w.things, "address ov")
}
