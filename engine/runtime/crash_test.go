package runtime

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/containerd"
	"weft/engine/model"
)

// engineName is the argv[0] of an engine that is going to be killed.
const engineName = "weft-doomed-engine"

// doomedEngine starts containers in the directories args name, says so, and
// goes on until it is killed.
func doomedEngine(args []string) int {
	cfg := Config{
		Dir: args[0], RunDir: args[1], Self: args[2],
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	if len(args) > 4 {
		cfg.Containerd = &containerd.Ref{Address: args[4], Namespace: args[5]}
	}
	r, err := New(cfg)
	for i := 1; err == nil; i++ {
		id := fmt.Sprintf("%s%032x", args[3], i)
		err = r.Create(context.Background(), Spec{ID: id, Builtin: true, Containerd: cfg.Containerd, Process: probe("ticks")})
		if err == nil {
			_, err = r.Start(context.Background(), id)
			fmt.Println(id)
		}
	}
	fmt.Println(err)
	return 1
}

// doom runs an engine and kills it once it has started n containers and some
// time has passed.
func (b *bed) doom(n int, after time.Duration) {
	b.t.Helper()
	cmd := exec.Command(testSelf)
	cmd.Args = []string{engineName, b.dirs.Dir, b.dirs.RunDir, testSelf, testID(0)[32:]}
	if b.daemon != nil {
		cmd.Args = append(cmd.Args, b.dirs.Containerd.Address, b.dirs.Containerd.Namespace)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	for range n {
		if _, err := io.ReadFull(out, make([]byte, 65)); err != nil {
			b.t.Error(err)
		}
	}
	<-time.After(after)
	if err := cmd.Process.Kill(); err != nil {
		b.t.Error(err)
	}
	_ = cmd.Wait()
}

// doomed is the ID of the first container of an engine that was killed.
func (b *bed) doomed() string { return fmt.Sprintf("%s%032x", testID(0)[32:], 1) }

func TestEngineKilled(t *testing.T) { onBoth(t, testEngineKilled) }

func testEngineKilled(t *testing.T, b *bed) {
	b.doom(1, 0)
	b.open()
	id := b.doomed()
	st, err := b.State(t.Context(), id)
	if err != nil || !st.Running || syscall.Kill(st.Pid, 0) != nil {
		t.Fatalf("after the crash: %+v %v", st, err)
	}
	before, _ := b.logs(id, LogOptions{Tail: -1})
	eventually(t, "output to go on", func() bool {
		now, _ := b.logs(id, LogOptions{Tail: -1})
		return len(now) > len(before)
	})
	if err := b.Signal(t.Context(), id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := b.wait(id); st.Code != 137 || st.Err != "" {
		t.Errorf("exit %+v", st)
	}
	out, _ := b.logs(id, LogOptions{Tail: -1})
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if line != fmt.Sprint("tick ", i) {
			t.Fatalf("line %d of the log is %q", i, line)
		}
	}
}

func TestExitWhileNoEngineRuns(t *testing.T) { onBoth(t, testExitWhileNoEngineRuns) }

func testExitWhileNoEngineRuns(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"exit", "7"}})
	b.start(id)
	eventually(t, "the shim to leave", func() bool { return len(b.processes()) == 0 })
	b.open()
	if st := b.wait(id); st.Code != 7 {
		t.Errorf("exit %+v", st)
	}
}

// TestEngineKilledAnywhere kills engines in the middle of whatever they do:
// every container is then running, or was never started, and none is lost.
func TestEngineKilledAnywhere(t *testing.T) { onBoth(t, testEngineKilledAnywhere) }

func testEngineKilledAnywhere(t *testing.T, b *bed) {
	for round := range 12 {
		b.doom(0, time.Duration(10+7*round)*time.Millisecond)
		b.open()
		ids, err := b.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, id := range ids {
			// A shim that has not heard the word leaves; one that has goes on.
			eventually(t, "a settled state", func() bool {
				st, err := b.State(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if st.Running {
					running++
				}
				return st.Running || st.Status == model.StateCreated
			})
		}
		eventually(t, "no more processes than containers account for", func() bool {
			running = 0
			for _, id := range ids {
				if st, err := b.State(t.Context(), id); err == nil && st.Running {
					running++
				}
			}
			return len(b.processes()) == b.each()*running
		})
		if err := b.Sweep(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nothing to be left", func() bool { return len(b.processes()) == 0 })
	}
}

func (b *bed) procs(id string) procsRecord {
	b.t.Helper()
	var p procsRecord
	if err := readRecord(filepath.Join(b.dirs.RunDir, id, fileProcs), &p); err != nil || p.Shim.Pid == 0 {
		b.t.Fatalf("%+v %v", p, err)
	}
	return p
}

func TestShimKilled(t *testing.T) {
	b := newBed(t)
	for _, args := range [][]string{{"serve"}, {"stubborn"}} {
		id := b.create(model.ProcessSpec{Args: args})
		pid := b.start(id)
		b.ready(id)
		waited := make(chan model.ExitStatus, 1)
		go func() {
			st, _ := b.Wait(deadline(t), id)
			waited <- st
		}()
		if err := syscall.Kill(b.procs(id).Shim.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if st := <-waited; st.Code != 137 || st.Err != "shim died" {
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

// TestProcessDiesWithItsShim leaves it to the kernel alone.
func TestProcessDiesWithItsShim(t *testing.T) {
	b := newBed(t)
	for _, user := range []string{"", "nobody"} {
		id := b.create(model.ProcessSpec{Args: []string{"stubborn"}, User: user})
		pid := b.start(id)
		b.ready(id)
		if err := syscall.Kill(b.procs(id).Shim.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the process to die", func() bool { return syscall.Kill(pid, 0) != nil })
	}
}

func TestReboot(t *testing.T) {
	b := newBed(t)
	id := b.create(model.ProcessSpec{Args: []string{"serve"}})
	pid := b.start(id)
	b.ready(id)
	if err := syscall.Kill(b.procs(id).Shim.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process to die", func() bool { return syscall.Kill(pid, 0) != nil })
	if err := os.RemoveAll(filepath.Join(b.dirs.RunDir, id)); err != nil {
		t.Fatal(err)
	}
	b.open()
	if st := b.wait(id); st.Code != 255 || !strings.Contains(st.Err, "host went down") {
		t.Errorf("exit %+v", st)
	}
	out, _ := b.logs(id, LogOptions{Tail: -1})
	if out != "ready\n" {
		t.Errorf("log %q", out)
	}
	b.start(id)
}

// TestShimThatHangs removes a container whose shim does not answer.
func TestShimThatHangs(t *testing.T) {
	b := newBed(t)
	id := b.create(model.ProcessSpec{Args: []string{"serve"}})
	b.start(id)
	if err := syscall.Kill(b.procs(id).Shim.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Wait(ctx, id); err == nil {
		t.Error("waited for a stopped shim")
	}
	if err := b.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func TestSweepKeeps(t *testing.T) { onBoth(t, testSweepKeeps) }

func testSweepKeeps(t *testing.T, b *bed) {
	keep := b.create(model.ProcessSpec{Args: []string{"serve"}})
	drop := b.create(model.ProcessSpec{Args: []string{"serve"}})
	b.start(keep)
	b.start(drop)
	stray := filepath.Join(b.dirs.RunDir, "stray")
	half := filepath.Join(b.dirs.Dir, tmpPrefix+"half")
	for _, dir := range []string{stray, half} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Sweep(t.Context(), map[string]bool{keep: true}); err != nil {
		t.Fatal(err)
	}
	if ids, err := b.List(t.Context()); err != nil || len(ids) != 1 || ids[0] != keep {
		t.Errorf("left: %v %v", ids, err)
	}
	if st, err := b.State(t.Context(), keep); err != nil || !st.Running {
		t.Errorf("kept: %+v %v", st, err)
	}
	for _, dir := range []string{stray, half} {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is still there", dir)
		}
	}
	if procs := b.processes(); len(procs) != b.each() {
		t.Errorf("processes: %q", procs)
	}
}
