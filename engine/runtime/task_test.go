package runtime

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/containerd"
	"weft/engine/model"
)

// inOrder checks that a log of ticks lacks none.
func inOrder(t *testing.T, log string) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSpace(log), "\n") {
		if line != fmt.Sprint("tick ", i) {
			t.Fatalf("line %d of the log is %q", i, line)
		}
	}
}

// grows waits for more output in a container's log.
func (b *bed) grows(id string) {
	b.t.Helper()
	before, _ := b.logs(id, LogOptions{Tail: -1})
	eventually(b.t, "output to go on", func() bool {
		now, _ := b.logs(id, LogOptions{Tail: -1})
		return len(now) > len(before)+20
	})
}

// TestTaskShimKilled kills what logs a container of containerd's: the
// container goes on, and so does its log, under another.
func TestTaskShimKilled(t *testing.T) {
	b := newTaskBed(t)
	id := b.create(model.ProcessSpec{Args: []string{"ticks"}})
	pid := b.start(id)
	b.ready(id)
	execEnded := make(chan error, 1)
	go func() {
		execEnded <- b.Exec(deadline(t), id, "later", model.ExecSpec{Args: []string{probePath, "serve"}}, AttachOptions{Stdout: io.Discard})
	}()
	eventually(t, "the further process", func() bool {
		_, err := os.Stat(filepath.Join(b.dirs.RunDir, id, dirStreams, execStreams+"later", fileProcs))
		return err == nil
	})
	waited := make(chan model.ExitStatus, 1)
	go func() {
		st, _ := b.Wait(deadline(t), id)
		waited <- st
	}()
	for range 3 {
		before := b.procs(id).Shim
		if err := syscall.Kill(before.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another shim", func() bool {
			st, err := b.State(t.Context(), id)
			return err == nil && st.Running && st.Pid == pid && b.procs(id).Shim != before
		})
		b.grows(id)
	}
	if err := <-execEnded; err != nil { // its streams were the dead shim's
		t.Error(err)
	}
	client := b.attach(deadline(t), id, AttachOptions{})
	execStatus := make(chan model.ExitStatus, 1)
	go func() {
		st, _ := b.WaitExec(deadline(t), id, "later")
		execStatus <- st
	}()
	eventually(t, "output", func() bool { return client.out.String() != "" })
	if err := b.Signal(t.Context(), id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := <-waited; st.Code != 137 || st.Err != "" {
		t.Errorf("exit %+v", st)
	}
	if err := <-client.done; err != nil {
		t.Error(err)
	}
	<-execStatus
	out, _ := b.logs(id, LogOptions{Tail: -1})
	ticks := 0
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var n int
		if _, err := fmt.Sscanf(line, "tick %d", &n); err != nil {
			t.Fatalf("in the log: %q", line)
		}
		if n < ticks {
			t.Fatalf("tick %d after %d", n, ticks)
		}
		ticks = n
	}
}

// TestTaskEndsWithoutShim has a container end while nobody but containerd
// looks: its exit code is known nonetheless.
func TestTaskEndsWithoutShim(t *testing.T) {
	b := newTaskBed(t)
	id := b.create(model.ProcessSpec{Args: []string{"serve"}})
	pid := b.start(id)
	b.ready(id)
	if err := syscall.Kill(b.procs(id).Shim.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process to end", func() bool { return syscall.Kill(pid, 0) != nil })
	b.open()
	if st := b.wait(id); st.Code != 128+int(syscall.SIGUSR1) || st.Err != "" {
		t.Errorf("exit %+v", st)
	}
	b.start(id)
}

// TestContainerdKilled has containerd crash: containers go on, end, and are
// asked about when it is back.
func TestContainerdKilled(t *testing.T) {
	b := newTaskBed(t)
	stays := b.create(model.ProcessSpec{Args: []string{"ticks"}})
	ends := b.create(model.ProcessSpec{Args: []string{"serve"}})
	late := b.create(model.ProcessSpec{Args: []string{"exit", "3"}})
	pid := b.start(stays)
	b.start(ends)
	b.ready(stays)
	b.ready(ends)
	b.daemon.kill()
	back := false
	defer func() {
		if !back {
			b.daemon.start(t)
		}
	}()
	b.grows(stays)
	client := b.attach(t.Context(), stays, AttachOptions{})
	eventually(t, "output for a client", func() bool { return client.out.String() != "" })
	if _, err := b.Start(deadline(t), late); err == nil || !strings.Contains(err.Error(), b.daemon.address) {
		t.Errorf("start without containerd: %v", err)
	}
	if err := b.Signal(t.Context(), ends, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	b.open() // an engine that comes back before containerd does
	if st, err := b.State(t.Context(), stays); err != nil || !st.Running || st.Pid != pid {
		t.Errorf("state %+v %v", st, err)
	}
	b.daemon.start(t)
	back = true
	if st := b.wait(ends); st.Code != 143 || st.Err != "" {
		t.Errorf("exit %+v", st)
	}
	if _, err := b.Start(deadline(t), late); err != nil {
		t.Error(err)
	}
	if st := b.wait(late); st.Code != 3 {
		t.Errorf("exit %+v", st)
	}
	var out strings.Builder
	if err := b.Exec(deadline(t), stays, "after", model.ExecSpec{Args: []string{probePath, "echo", "hello"}}, AttachOptions{Stdout: &out}); err != nil || out.String() != "hello\n" {
		t.Errorf("exec: %q %v", out.String(), err)
	}
	if err := b.Signal(t.Context(), stays, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := b.wait(stays); st.Code != 137 || st.Err != "" {
		t.Errorf("exit %+v", st)
	}
	if err := <-client.done; err != nil {
		t.Error(err)
	}
	log, _ := b.logs(stays, LogOptions{Tail: -1})
	inOrder(t, log)
}

// TestEndWithoutContainerd has a container end while containerd is away for
// good: that it did is known, and nothing is forgotten.
func TestEndWithoutContainerd(t *testing.T) {
	b := newTaskBed(t)
	id := b.create(model.ProcessSpec{Args: []string{"serve"}})
	b.start(id)
	b.ready(id)
	b.daemon.kill()
	defer b.daemon.start(t)
	if err := b.Signal(t.Context(), id, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if st := b.wait(id); st.Code != 255 || !strings.Contains(st.Err, "containerd does not say") {
		t.Errorf("exit %+v", st)
	}
	for what, err := range map[string]error{
		"start": func() error { _, err := b.Start(deadline(t), id); return err }(), "removal": b.Remove(deadline(t), id),
	} {
		if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), b.daemon.address) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := b.Sweep(t.Context(), nil); err != nil {
		t.Errorf("sweep: %v", err)
	}
	if ids, err := b.List(t.Context()); err != nil || len(ids) != 1 {
		t.Errorf("left for another time: %v %v", ids, err)
	}
}

// TestContainerdShimKilled kills containerd's own shim of a container.
func TestContainerdShimKilled(t *testing.T) {
	b := newTaskBed(t)
	for _, args := range [][]string{{"serve"}, {"stubborn"}} {
		id := b.create(model.ProcessSpec{Args: args})
		pid := b.start(id)
		b.ready(id)
		shims := b.daemon.shims(b.dirs.Containerd.Namespace)
		if len(shims) != 1 {
			t.Fatalf("containerd's shims: %v", shims)
		}
		if err := syscall.Kill(shims[0], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if st := b.wait(id); st.Code != 137 || !strings.Contains(st.Err, "containerd's shim died") {
			t.Errorf("exit %+v", st)
		}
		eventually(t, "the process to die with it", func() bool { return syscall.Kill(pid, 0) != nil })
		b.start(id)
		b.ready(id)
		if err := b.Signal(t.Context(), id, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if st := b.wait(id); st.Code != 128+int(syscall.SIGUSR1) {
			t.Errorf("after another start: %+v", st)
		}
	}
}

// TestTaskReboot takes run directories and processes away, as a reboot does;
// containerd remembers its containers.
func TestTaskReboot(t *testing.T) {
	b := newTaskBed(t)
	id := b.create(model.ProcessSpec{Args: []string{"serve"}})
	gone := b.create(model.ProcessSpec{Args: []string{"serve"}})
	var pids []int
	for _, id := range []string{id, gone} {
		pids = append(pids, b.start(id))
		b.ready(id)
		if err := syscall.Kill(b.procs(id).Shim.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range b.daemon.shims(b.dirs.Containerd.Namespace) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the processes to die", func() bool { return syscall.Kill(pids[0], 0) != nil && syscall.Kill(pids[1], 0) != nil })
	for _, id := range []string{id, gone} {
		if err := os.RemoveAll(filepath.Join(b.dirs.RunDir, id)); err != nil {
			t.Fatal(err)
		}
	}
	b.open()
	if st := b.wait(id); st.Code != 255 || !strings.Contains(st.Err, "host went down") {
		t.Errorf("exit %+v", st)
	}
	b.start(id) // over what containerd has
	if err := b.Sweep(t.Context(), map[string]bool{id: true}); err != nil {
		t.Fatal(err)
	}
	c, err := containerd.Open(*b.dirs.Containerd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if ids, err := c.List(t.Context()); err != nil || len(ids) != 1 || ids[0] != id {
		t.Errorf("containerd has %v %v", ids, err)
	}
}

// TestTaskOfNoDaemon has a container whose containerd is not there at all.
func TestTaskOfNoDaemon(t *testing.T) {
	b := newBed(t)
	id := testID(1)
	ref := containerd.Ref{Address: filepath.Join(b.dirs.RunDir, "none.sock"), Namespace: "weft"}
	if err := b.Create(t.Context(), Spec{ID: id, Builtin: true, Process: probe("serve"), Containerd: &ref}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := b.Start(ctx, id); err == nil || !strings.Contains(err.Error(), ref.Address) || errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
	if st, err := b.State(t.Context(), id); err != nil || st.Status != model.StateCreated {
		t.Errorf("state %+v %v", st, err)
	}
	if err := b.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}
