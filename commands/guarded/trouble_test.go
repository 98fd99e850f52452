package guarded_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/commands/swarmtest"
	"weft/wizard"
)

// settled fails unless a run has ended in a way that lost nothing: done, or
// taken back, or open and then done after a resume.
func (b *bed) settled(out wizard.Outcome) {
	b.tb.Helper()
	switch out.Result {
	case wizard.ResultDone:
		b.done()
	case wizard.ResultRolledBack, wizard.ResultRefused:
		b.undone()
	case wizard.ResultOpen:
		want := wizard.ResultDone
		if run, err := b.runner.Store.Load(out.Run); err != nil || run.Back {
			want = wizard.ResultRolledBack
		}
		b.goOn(way{(*wizard.Runner).Resume, want})
	default:
		b.tb.Errorf("%+v", out)
	}
}

// TestDaemonRestarts restarts the daemon at every request, before and after it
// has done what it was asked for.
func TestDaemonRestarts(t *testing.T) {
	for name, after := range map[string]bool{"before": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everywhere(t, func(t *testing.T, n int) bool {
				b := newBed(t)
				d := b.plan(answers())
				b.Restart(n, 3, after)
				before := b.Count()
				out := b.start(t.Context(), d)
				if out.Result == wizard.ResultOpen {
					t.Fatalf("%+v\n%s", out, b.log())
				}
				b.settled(out)
				return b.Count()-before < n
			})
		})
	}
}

// TestNodeDown has a node go down when a step begins, for a while or until the
// run has ended.
func TestNodeDown(t *testing.T) {
	steps := []string{"services", "drain", "remove", "gone", "create", "join", "converge", "verify"}
	for _, step := range steps {
		for name, back := range map[string]time.Duration{"for a while": 20 * time.Second, "for good": 0} {
			t.Run(step+" "+name, func(t *testing.T) {
				t.Parallel()
				b := newBed(t)
				b.flow.Patience = time.Minute
				d := b.plan(answers())
				var since time.Time
				up := func() { b.SetNode("node3", "ready", "") }
				sleep := b.flow.Sleep
				b.flow.Sleep = func(ctx context.Context, wait time.Duration) error {
					if back > 0 && !since.IsZero() && b.Now().Sub(since) > back {
						up()
					}
					return sleep(ctx, wait)
				}
				b.runner.Report = func(e wizard.Event) {
					b.events = append(b.events, e)
					if e.Type == wizard.StepBegins && e.Step == step {
						since = b.Now()
						b.SetNode("node3", "down", "")
					}
				}
				out := b.start(t.Context(), d)
				if since.IsZero() {
					t.Fatalf("there was no step %s", step)
				}
				up()
				b.Settle()
				b.careless = out.Result == wizard.ResultRolledBack // the way back does not wait for a node that is down
				b.settled(out)
				if t.Failed() {
					t.Logf("%+v\n%s", out, b.log())
				}
			})
		}
	}
}

// failLate has a run fail at its last wait and calls hook when it turns back.
func failLate(b *bed, hook func()) {
	b.runner.Report = func(e wizard.Event) {
		b.events = append(b.events, e)
		if e.Type == wizard.StepBegins && e.Step == "converge" {
			b.SetUpdateStatus("web", "paused", "a task failed")
		}
		if e.Type == wizard.GoesBack {
			b.SetUpdateStatus("web", "completed", "")
			hook()
		}
	}
}

// TestFailingGoingBack lets each request of the way back fail once, in each
// way.
func TestFailingGoingBack(t *testing.T) {
	for _, f := range swarmtest.Faults() {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			everywhere(t, func(t *testing.T, n int) bool {
				b := newBed(t)
				d := b.plan(answers())
				if f == swarmtest.NoAnswer || f == swarmtest.NoAnswerAfter {
					b.manager.Timeout = 200 * time.Millisecond
				}
				before := 0
				failLate(b, func() {
					before = b.Count()
					b.Fail(n, f)
				})
				out := b.start(t.Context(), d)
				if out.Result != wizard.ResultRolledBack {
					t.Fatalf("%+v\n%s", out, b.log())
				}
				b.undone()
				return b.Count()-before < n
			})
		})
	}
}

// TestNoAPIGoingBack has the API fail for good on the way back: the run is left
// open, and is taken back when there is an API again.
func TestNoAPIGoingBack(t *testing.T) {
	for _, f := range []swarmtest.Fault{swarmtest.ServerError, swarmtest.Cut} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			b := newBed(t)
			d := b.plan(answers())
			stop := func() {}
			failLate(b, func() { stop = b.FailAll(f) })
			out := b.start(t.Context(), d)
			stop()
			if out.Result != wizard.ResultOpen {
				t.Fatalf("%+v\n%s", out, b.log())
			}
			b.goOn(way{(*wizard.Runner).Resume, wizard.ResultRolledBack})
		})
	}
}

// TestDeafNode has a node miss the new network, or the old one on the way back.
func TestDeafNode(t *testing.T) {
	t.Run("forward", func(t *testing.T) {
		b := newBed(t)
		d := b.plan(answers())
		b.SetDeaf("node3")
		if out := b.start(t.Context(), d); out.Result != wizard.ResultDone {
			t.Fatalf("%+v\n%s", out, b.log())
		}
		b.done()
	})
	t.Run("back", func(t *testing.T) {
		b := newBed(t)
		d := b.plan(answers())
		failLate(b, func() { b.SetDeaf("node2") })
		if out := b.start(t.Context(), d); out.Result != wizard.ResultRolledBack {
			t.Fatalf("%+v\n%s", out, b.log())
		}
		b.undone()
	})
	for name, w := range ways() {
		t.Run("killed with a mark, then "+name, func(t *testing.T) {
			b := newBed(t)
			d := b.plan(answers())
			b.SetDeaf("node3")
			b.Before(1, func() { b.at = 1 }, swarmtest.On("POST", "/nodes/*/update"), func(r swarmtest.Request) bool { return strings.Contains(r.Body, "weft.join") })
			if !until(func() { b.start(t.Context(), d) }) {
				t.Fatal("not killed")
			}
			b.at = 0
			if _, nodes := b.Swarm.Do("GET", "/nodes", ""); !strings.Contains(nodes, "weft.join") {
				t.Error("no mark was left")
			}
			b.goOn(w)
			if _, nodes := b.Swarm.Do("GET", "/nodes", ""); strings.Contains(nodes, "weft.join") {
				t.Errorf("a mark is left: %s", nodes)
			}
		})
	}
}
