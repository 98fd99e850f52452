package workload_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"weft/engine/model"
)

// restarting is a container with a policy.
func restarting(policy string, retries int) model.ContainerSpec {
	s := spec("one", "ov")
	s.Restart = model.RestartPolicy{Name: policy, MaxRetries: retries}
	return s
}

func TestRestartPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy  string
		retries int
		code    int
		starts  int // in a minute of ends right after the start, of at most 4
	}{
		{"no", 0, 1, 1},
		{"", 0, 1, 1},
		{"always", 0, 0, 4},
		{"unless-stopped", 0, 3, 4},
		{"on-failure", 0, 1, 4},
		{"on-failure", 0, 0, 1},
		{"on-failure", 2, 1, 3},
	} {
		t.Run(tt.policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				m := w.manager(t)
				id := started(t, m, restarting(tt.policy, tt.retries))
				starts := 1
				for starts < 4 {
					w.exit(id, tt.code)
					synctest.Wait()
					begin := time.Now()
					rec := record(t, m, id)
					if rec.State != model.StateRestarting {
						break
					}
					w.awaitEvents("container start", starts+1)
					rec = record(t, m, id)
					if want := 100 * time.Millisecond << (starts - 1); time.Since(begin) != want {
						t.Errorf("pause before start %d: %v, want %v", starts+1, time.Since(begin), want)
					}
					starts++
					if rec.RestartCount != starts-1 {
						t.Errorf("restart count %d after %d starts", rec.RestartCount, starts)
					}
				}
				if starts != tt.starts {
					t.Errorf("started %d times, want %d", starts, tt.starts)
				}
				m.Close()
			})
		})
	}
}

func TestStopRestsThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := w.manager(t)
		id := started(t, m, restarting("always", 0))
		if _, err := m.Stop(t.Context(), id, "", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if rec := record(t, m, id); rec.State != model.StateExited || !rec.Stopped {
			t.Errorf("stopped: %s", rec.State)
		}
		if err := m.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.exit(id, 1)
		synctest.Wait()
		if rec := record(t, m, id); rec.State != model.StateRestarting {
			t.Fatalf("ended: %s", rec.State)
		}
		if err := m.Remove(t.Context(), id, false, false); err == nil {
			t.Error("removed while it waits for its restart")
		}
		if stopped, err := m.Stop(t.Context(), id, "", nil); err != nil || !stopped {
			t.Errorf("stop while it waits: %t, %v", stopped, err)
		}
		<-time.After(time.Hour) // in which nothing comes
		if rec := record(t, m, id); rec.State != model.StateExited {
			t.Errorf("after an hour: %s", rec.State)
		}
		m.Close()
	})
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := w.manager(t)
		ids := map[string]string{}
		for _, policy := range []string{"no", "always", "unless-stopped", "on-failure"} {
			for _, how := range []string{"ended", "stopped"} {
				s := restarting(policy, 0)
				s.Name = policy + "-" + how
				ids[s.Name] = started(t, m, s)
				if how == "stopped" {
					if _, err := m.Stop(t.Context(), s.Name, "", nil); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		m.Close() // the engine is gone, then the rest of the containers
		for _, id := range ids {
			w.exit(id, 1)
		}
		later := w.manager(t)
		if err := later.Restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := later.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.awaitEvents("container start", len(ids)+4)
		var running []string
		for name, id := range ids {
			if record(t, later, id).State == model.StateRunning {
				running = append(running, name)
			}
		}
		slices.Sort(running)
		if want := []string{"always-ended", "always-stopped", "on-failure-ended", "unless-stopped-ended"}; !slices.Equal(running, want) {
			t.Errorf("running again: %v, want %v", running, want)
		}
		later.Close()
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := w.manager(t)
		s := spec("one", "ov")
		s.Health = &model.HealthCheck{Args: []string{"true"}, Interval: 10 * time.Second, StartPeriod: time.Minute, StartInterval: time.Second, Retries: 2}
		w.exitChecks(1)
		id := started(t, m, s)
		status := func() model.HealthStatus { return record(t, m, id).Health.Status }
		begin := time.Now()
		check := func(n int, at time.Duration) {
			t.Helper()
			w.awaitChecks(n)
			if took := time.Since(begin); took != at {
				t.Errorf("check %d after %v, want %v", n, took, at)
			}
		}
		check(30, 30*time.Second)
		if got := status(); got != model.HealthStarting {
			t.Errorf("in the start period: %s", got)
		}
		w.exitChecks(0)
		check(31, 31*time.Second)
		if got := status(); got != model.Healthy {
			t.Errorf("after a check that succeeds: %s", got)
		}
		w.exitChecks(1)
		check(32, 41*time.Second)
		if got := record(t, m, id).Health; got.Status != model.Healthy || got.FailingStreak != 1 || len(got.Log) != 5 {
			t.Errorf("after one failure: %+v", got)
		}
		check(33, 51*time.Second)
		if got := status(); got != model.Unhealthy {
			t.Errorf("after two failures: %s", got)
		}
		w.exitChecks(0)
		check(34, 61*time.Second)
		if got := status(); got != model.Healthy {
			t.Errorf("recovered: %s", got)
		}
		if !slices.Contains(w.published(), "container health_status: unhealthy") {
			t.Errorf("events: %v", w.published())
		}
		w.exit(id, 0)
		synctest.Wait()
		checks := w.checked()
		<-time.After(time.Minute) // in which nothing comes
		if w.checked() != checks {
			t.Error("checks of a container that has ended")
		}
		m.Close()
	})
}

func TestHealthTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := w.manager(t)
		s := spec("one", "ov")
		s.Health = &model.HealthCheck{Args: []string{"hang"}, Interval: time.Second, Timeout: 2 * time.Second, Retries: 1}
		id := started(t, m, s)
		w.awaitEvents("container health_status: unhealthy", 1)
		rec := record(t, m, id)
		if rec.Health.Status != model.Unhealthy || rec.Health.Log[0].ExitCode != -1 || rec.Health.Log[0].Output != "Health check exceeded timeout (2s)" {
			t.Errorf("%+v", rec.Health)
		}
		m.Close()
	})
}

// TestTaskHealth is about tasks: one runs when it is healthy, and fails when
// it is not any more, once nobody sends it anything new.
func TestTaskHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := w.manager(t)
		task := taskOf("t1")
		task.Spec.Health = &model.HealthCheck{Args: []string{"true"}, Interval: time.Second, Retries: 2}
		if err := m.PrepareTask(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := m.StartTask(t.Context(), "t1"); err != nil || time.Since(begin) != time.Second {
			t.Errorf("started after %v: %v", time.Since(begin), err)
		}
		w.exitChecks(1)
		if _, err := m.WaitTask(context.Background(), "t1"); err == nil || err.Error() != "task: unhealthy container" {
			t.Errorf("waited: %v", err)
		}
		if rec, _ := m.Task("t1"); rec.State != model.StateExited {
			t.Errorf("an unhealthy task is %s", rec.State)
		}
		if i := slices.Index(w.calls, "readiness draining"); i < 0 || !slices.Contains(w.calls[i:], "signal terminated") {
			t.Errorf("the task was not drained before its signal: %v", w.calls)
		}
		m.Close()
	})
}
