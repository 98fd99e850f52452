package runtime

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"weft/engine/model"
)

func TestExitCodes(t *testing.T) { onBoth(t, testExitCodes) }

func testExitCodes(t *testing.T, b *bed) {
	for _, want := range []string{"0", "1", "42", "255"} {
		st, _, _ := b.run("exit", want)
		if got := strconv.Itoa(st.Code); got != want {
			t.Errorf("exit %s: got %s", want, got)
		}
		if st.Finished.IsZero() || st.Err != "" {
			t.Errorf("exit %s: %+v", want, st)
		}
	}
}

func TestStreams(t *testing.T) { onBoth(t, testStreams) }

func testStreams(t *testing.T, b *bed) {
	_, out, errs := b.run("both")
	if out != "out 0\nout 1\nout 2\n" || errs != "err 0\nerr 1\nerr 2\n" {
		t.Errorf("got %q and %q", out, errs)
	}
	if _, out, _ := b.run("printf", "no end of line"); out != "no end of line" {
		t.Errorf("got %q", out)
	}
}

func TestCommandNotFound(t *testing.T) { onBoth(t, testCommandNotFound) }

func testCommandNotFound(t *testing.T, b *bed) {
	cases := []struct {
		name, entry string
		code        int
		text        string
	}{
		{"not in PATH", "nosuch", 127, `exec: "nosuch": executable file not found in $PATH`},
		{"no file", "/no/such", 127, `exec: "/no/such": stat /no/such: no such file or directory`},
		{"not executable", "/etc/passwd", 126, `exec: "/etc/passwd": permission denied`},
		{"directory", "/etc", 126, `exec: "/etc": `},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			id := b.create(model.ProcessSpec{Entrypoint: []string{c.entry}})
			_, err := b.Start(t.Context(), id)
			if !isExec(err, c.code) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			st, err := b.State(t.Context(), id)
			if err != nil || st.Status != model.StateCreated {
				t.Errorf("state %+v %v", st, err)
			}
			if _, err := b.Wait(t.Context(), id); err == nil {
				t.Error("waited for a container that was never started")
			}
		})
	}
	if _, err := b.Start(t.Context(), "nosuch"); err == nil || errors.As(err, new(*ExecError)) {
		t.Errorf("start of nothing: %v", err)
	}
}

func TestSignals(t *testing.T) { onBoth(t, testSignals) }

func testSignals(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"stubborn"}})
	if err := b.Signal(t.Context(), id, syscall.SIGTERM); !errdefs.IsConflict(err) {
		t.Errorf("signal before the start: %v", err)
	}
	b.start(id)
	b.ready(id)
	if _, err := b.Start(t.Context(), id); !errdefs.IsConflict(err) {
		t.Errorf("second start: %v", err)
	}
	if err := b.Signal(t.Context(), id, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ignored signal", func() bool {
		out, _ := b.logs(id, LogOptions{Tail: -1})
		return strings.Contains(out, "ignored")
	})
	if err := b.Signal(t.Context(), id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := b.wait(id); st.Code != 137 {
		t.Errorf("killed: %+v", st)
	}
	if err := b.Signal(t.Context(), id, syscall.SIGKILL); !errdefs.IsConflict(err) {
		t.Errorf("signal after the end: %v", err)
	}
	if err := b.Signal(t.Context(), "nosuch", syscall.SIGKILL); !errdefs.IsNotFound(err) {
		t.Errorf("signal to nothing: %v", err)
	}

	b.start(id) // once more
	b.ready(id)
	for _, sig := range []syscall.Signal{syscall.SIGUSR1} {
		if err := b.Signal(t.Context(), id, sig); err != nil {
			t.Fatal(err)
		}
		if st := b.wait(id); st.Code != 128+int(sig) {
			t.Errorf("signal %d: %+v", sig, st)
		}
	}
}

func TestStateOverALife(t *testing.T) { onBoth(t, testStateOverALife) }

func testStateOverALife(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"serve"}})
	check := func(want model.ContainerState, pid int) State {
		t.Helper()
		st, err := b.State(t.Context(), id)
		if err != nil || st.Status != want || st.Pid != pid || st.Running != (pid != 0) {
			t.Errorf("want %s with PID %d: %+v %v", want, pid, st, err)
		}
		return st
	}
	check(model.StateCreated, 0)
	pid := b.start(id)
	first := check(model.StateRunning, pid)
	if err := syscall.Kill(pid, 0); err != nil || first.Started.IsZero() {
		t.Errorf("no process %d: %v", pid, err)
	}
	b.ready(id)
	if err := b.Signal(t.Context(), id, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.wait(id)
	if st := check(model.StateExited, 0); st.Exit.Code != 143 {
		t.Errorf("exit %+v", st)
	}
	again := b.start(id)
	second := check(model.StateRunning, again)
	if !second.Started.After(first.Started) {
		t.Errorf("second start at %s, first at %s", second.Started, first.Started)
	}
	if ids, err := b.List(t.Context()); err != nil || len(ids) != 1 || ids[0] != id {
		t.Errorf("list: %v %v", ids, err)
	}
	if err := b.Create(t.Context(), Spec{ID: id, Builtin: true}); !errdefs.IsConflict(err) {
		t.Errorf("second creation: %v", err)
	}
	if err := b.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	if err := b.Remove(t.Context(), id); !errdefs.IsNotFound(err) {
		t.Errorf("second removal: %v", err)
	}
	if _, err := b.State(t.Context(), id); !errdefs.IsNotFound(err) {
		t.Errorf("state of nothing: %v", err)
	}
}

func TestRemoveLetsWaitersGo(t *testing.T) { onBoth(t, testRemoveLetsWaitersGo) }

func testRemoveLetsWaitersGo(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"serve"}})
	b.start(id)
	done := make(chan model.ExitStatus, 1)
	go func() {
		st, _ := b.Wait(deadline(t), id)
		done <- st
	}()
	b.ready(id)
	if err := b.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestFiftyAtOnce(t *testing.T) { onBoth(t, testFiftyAtOnce) }

func testFiftyAtOnce(t *testing.T, b *bed) {
	const n = 50
	ids := make([]string, n)
	for i := range ids {
		ids[i] = b.create(model.ProcessSpec{Args: []string{"serve"}})
	}
	each := func(fn func(id string) error) {
		t.Helper()
		var all sync.WaitGroup
		for _, id := range ids {
			all.Go(func() {
				if err := fn(id); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	each(func(id string) error { _, err := b.Start(deadline(t), id); return err })
	if procs := b.processes(); len(procs) != n*b.each() {
		t.Errorf("%d processes, want %d for each of %d", len(procs), b.each(), n)
	}
	for _, id := range ids {
		b.ready(id)
	}
	each(func(id string) error { return b.Signal(deadline(t), id, syscall.SIGTERM) })
	each(func(id string) error {
		st, err := b.Wait(deadline(t), id)
		if err == nil && st.Code != 143 {
			t.Errorf("%s: %+v", id, st)
		}
		return err
	})
	eventually(t, "the shims to leave by themselves", func() bool { return len(b.processes()) == 0 })
}
