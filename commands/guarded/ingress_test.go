package guarded_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/commands/cluster"
	"weft/commands/cmdtest"
	"weft/commands/swarmtest"
	"weft/wizard"
	"weft/wizard/flows/ingress"
)

// bed is a swarm with twelve services and a runner on it, in virtual time.
type bed struct {
	*swarmtest.Swarm
	*mortal

	tb      testing.TB
	manager *cluster.Manager
	flow    *ingress.Customise
	runner  *wizard.Runner
	events  []wizard.Event
	before  string // the swarm's state

	careless bool // what breaks a node that was down is no failure
}

// mortal is an API whose client dies at a request that changes something.
type mortal struct {
	cluster.Doer

	at    int  // the n-th from now; 0: never
	after bool // when it has been answered
}

func (m *mortal) Do(ctx context.Context, method, route string, query url.Values, body any) ([]byte, error) {
	if method == http.MethodGet {
		return m.Doer.Do(ctx, method, route, query, body)
	}
	m.at--
	if m.at == 0 && !m.after {
		panic(killed{})
	}
	text, err := m.Doer.Do(ctx, method, route, query, body)
	if m.at == 0 {
		panic(killed{})
	}
	return text, err
}

// probe asks the swarm itself.
type probe struct{ swarm *swarmtest.Swarm }

func (p probe) Answers(_ context.Context, _ string, port ingress.Port) bool {
	return p.swarm.Answers(int(port.PublishedPort), port.Protocol)
}

func newBed(tb testing.TB, options ...swarmtest.Option) *bed {
	tb.Helper()
	s := swarmtest.New(tb, append(options, swarmtest.Busy())...)
	s.Settle()
	b := &bed{Swarm: s, tb: tb, before: s.State()}
	env := cmdtest.NewSession(tb, "", map[string]string{"DOCKER_HOST": s.Host()}).Env
	tb.Cleanup(func() { _ = env.Close() })
	api, err := env.Raw(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	b.mortal = &mortal{Doer: api}
	m := &cluster.Manager{API: b.mortal, Timeout: cluster.RequestTimeout}
	b.manager = m
	b.flow = &ingress.Customise{Swarm: ingress.Swarm{
		Observer: m, Changer: m, Nodes: cluster.Nodes{}, Prober: probe{s}, Now: s.Now, Sleep: s.Sleep, Patience: 10 * time.Minute,
	}}
	b.runner = &wizard.Runner{
		Flow: b.flow, Lock: &cluster.Lock{Manager: m}, Store: &wizard.Store{Dir: filepath.Join(tb.TempDir(), "runs"), Now: s.Now},
		Host: "here", User: "me", Sleep: s.Sleep,
	}
	b.runner.Report = func(e wizard.Event) { b.events = append(b.events, e) }
	return b
}

// answers are those of the documentation's example.
func answers() json.RawMessage {
	return json.RawMessage(`{"name":"my-ingress","pools":[{"Subnet":"10.11.0.0/16","Gateway":"10.11.0.2"}],"mtu":1200,"strategy":"detach"}`)
}

func (b *bed) plan(answers json.RawMessage) wizard.Draft {
	b.tb.Helper()
	d, err := b.flow.Plan(b.tb.Context(), answers)
	if err != nil {
		b.tb.Fatal(err)
	}
	if list := d.Plan.Blockers(); len(list) > 0 {
		b.tb.Fatalf("blocked: %+v", list)
	}
	return d
}

// ingressOf finds the ingress network in a swarm's state.
var ingressOf = regexp.MustCompile(`(?m)^network [^ ]+\n  allocated=true ingress=true .*\n`)

func services(state string) string { return ingressOf.ReplaceAllString(state, "") }

// done fails unless the swarm has the new network, and else all it had.
func (b *bed) done() {
	b.tb.Helper()
	b.Settle()
	now := b.State()
	if services(now) != services(b.before) {
		b.tb.Errorf("not as before:\n%s\nwant\n%s", services(now), services(b.before))
	}
	if got := ingressOf.FindString(now); !strings.Contains(got, "my-ingress") || !strings.Contains(got, "10.11.0.0/16") || !strings.Contains(got, "1200") {
		b.tb.Errorf("the ingress network is %q", got)
	}
	b.sound()
}

// undone fails unless the swarm is as it was.
func (b *bed) undone() {
	b.tb.Helper()
	b.Settle()
	if now := b.State(); now != b.before {
		b.tb.Errorf("not as before:\n%s\nwant\n%s", now, b.before)
	}
	b.sound()
}

// sound fails if something was done that breaks a swarm, or a secret stays in
// a journal.
func (b *bed) sound() {
	b.tb.Helper()
	if v := b.Violations(); len(v) > 0 && !b.careless {
		b.tb.Errorf("violations: %v", v)
	}
	runs, err := b.runner.Store.Runs()
	if err != nil {
		b.tb.Error(err)
	}
	for _, r := range runs {
		if !r.Open() && r.Saved != nil {
			b.tb.Errorf("run %s is over and still has its secrets", r.ID)
		}
	}
}

func (b *bed) start(ctx context.Context, d wizard.Draft) wizard.Outcome {
	b.tb.Helper()
	out, err := b.runner.Start(ctx, d)
	if err != nil {
		b.tb.Fatal(err)
	}
	return out
}

func TestCustomise(t *testing.T) {
	for _, strategy := range []string{"detach", "scale-to-zero"} {
		t.Run(strategy, func(t *testing.T) {
			b := newBed(t)
			d := b.plan(json.RawMessage(strings.Replace(string(answers()), `"detach"`, `"`+strategy+`"`, 1)))
			if out := b.start(t.Context(), d); out.Result != wizard.ResultDone {
				t.Fatalf("%+v\n%s", out, b.log())
			}
			b.done()
		})
	}
}

func (b *bed) log() string {
	var text strings.Builder
	for _, e := range b.events {
		fmt.Fprintf(&text, "%s %s %s: %s\n", e.Type, e.Step, e.Subject, e.Text)
	}
	return text.String()
}

// killed is what a test's kill panics with.
type killed struct{}

// until runs fn and reports whether it was killed on the way.
func until(fn func()) (dead bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, is := r.(killed); !is {
				panic(r)
			}
			dead = true
		}
	}()
	fn()
	return false
}

// ways are what may become of a run that was killed.
func ways() map[string]way {
	return map[string]way{
		"resume":   {(*wizard.Runner).Resume, wizard.ResultDone},
		"rollback": {(*wizard.Runner).Rollback, wizard.ResultRolledBack},
	}
}

type way struct {
	goOn func(*wizard.Runner, context.Context, string) (wizard.Outcome, error)
	want wizard.Result
}

// mostPoints is more than there are: with -run at some points only, the end is
// not known.
const mostPoints = 10_000

// everywhere runs a test at each point there is, from the first to the one that
// is past the last or fails. Each has a swarm of its own, which ends with it.
func everywhere(t *testing.T, at func(t *testing.T, n int) (past bool)) {
	t.Helper()
	past := false
	for n := 1; n <= mostPoints && !past && !t.Failed(); n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) { past = at(t, n) })
	}
}

// killEverywhere kills a run at each point there is, the n-th being set by
// aim, and goes on with it in a new process.
func killEverywhere(t *testing.T, least int, w way, aim func(b *bed, n int), options ...swarmtest.Option) {
	t.Helper()
	everywhere(t, func(t *testing.T, n int) bool {
		b := newBed(t, options...)
		d := b.plan(answers())
		aim(b, n)
		if !until(func() { b.start(t.Context(), d) }) {
			if n <= least {
				t.Errorf("only %d points", n-1)
			}
			return true
		}
		b.at = 0
		b.goOn(w)
		return false
	})
}

// TestKilledAtEveryRecord ends the process after each event, that is after each
// record of the journal; then a new process resumes or rolls back.
func TestKilledAtEveryRecord(t *testing.T) {
	for name, w := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killEverywhere(t, 60, w, func(b *bed, n int) { b.dieAt(n) })
		})
	}
}

// dieAt kills at the n-th event.
func (b *bed) dieAt(n int) {
	b.runner.Report = func(e wizard.Event) {
		if n--; n == 0 && e.Type != wizard.Ends {
			panic(killed{})
		}
	}
}

// TestKilledAtEveryChange ends the process before and after each request that
// changes something, that is before the record that it is done.
func TestKilledAtEveryChange(t *testing.T) {
	for name, w := range ways() {
		for moment, after := range map[string]bool{"before": false, "after": true} {
			t.Run(name+" "+moment, func(t *testing.T) {
				t.Parallel()
				killEverywhere(t, 20, w, func(b *bed, n int) { b.at, b.after = n, after })
			})
		}
	}
}

// TestKilledAmongSlowNodes does so where nodes take long to let go of a network:
// the manager goes on showing its own node's copy of one that was removed.
func TestKilledAmongSlowNodes(t *testing.T) {
	pace := swarmtest.DefaultPace()
	pace.Leave = 12
	for name, w := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killEverywhere(t, 20, w, func(b *bed, n int) { b.at, b.after = n, true }, swarmtest.WithPace(pace))
		})
	}
}

// TestKilledGoingBack has a run fail late, and be killed at each event from
// there on.
func TestKilledGoingBack(t *testing.T) {
	t.Parallel()
	killEverywhere(t, 60, way{(*wizard.Runner).Resume, wizard.ResultRolledBack}, func(b *bed, n int) {
		back := false
		b.runner.Report = func(e wizard.Event) {
			if e.Type == wizard.StepBegins && e.Step == "converge" {
				b.SetUpdateStatus("web", "paused", "a task failed")
			}
			if e.Type == wizard.GoesBack {
				b.SetUpdateStatus("web", "completed", "")
				back = true
			}
			if back && e.Type != wizard.Ends {
				if n--; n == 0 {
					panic(killed{})
				}
			}
		}
	})
}

// goOn is a new process that finds the run.
func (b *bed) goOn(w way) {
	b.tb.Helper()
	b.runner.Report = func(e wizard.Event) { b.events = append(b.events, e) }
	runs, err := b.runner.Store.Runs()
	if err != nil || len(runs) != 1 {
		b.tb.Fatalf("%d runs, %v", len(runs), err)
	}
	out, err := w.goOn(b.runner, b.tb.Context(), runs[0].ID)
	if !runs[0].Open() { // killed while cleaning up: there is nothing to take back
		w.want = runs[0].Result
		if over := (*wizard.OverError)(nil); errors.As(err, &over) {
			err = nil
		}
	}
	if err != nil || out.Result != w.want {
		b.tb.Fatalf("%+v, %v\n%s", out, err, b.log())
	}
	if w.want == wizard.ResultDone {
		b.done()
	} else {
		b.undone()
	}
}

// TestFailingAtEveryCall lets each request fail in each way. Whatever happens,
// the run is done, or all is as before.
func TestFailingAtEveryCall(t *testing.T) {
	for _, f := range swarmtest.Faults() {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			everywhere(t, func(t *testing.T, n int) bool {
				b := newBed(t)
				d := b.plan(answers())
				if f == swarmtest.NoAnswer || f == swarmtest.NoAnswerAfter {
					b.manager.Timeout = 200 * time.Millisecond
				}
				b.Fail(n, f)
				before := b.Count()
				out := b.start(t.Context(), d)
				switch out.Result {
				case wizard.ResultDone:
					b.done()
				case wizard.ResultRolledBack, wizard.ResultRefused:
					b.undone()
				default:
					t.Errorf("%+v", out)
				}
				if t.Failed() {
					t.Fatalf("%+v\n%s", out, b.log())
				}
				return b.Count()-before < n
			})
		})
	}
}

// TestABrokenPortFailsVerify breaks a port of a service that is changed, and one
// of a service that nothing is done to.
func TestABrokenPortFailsVerify(t *testing.T) {
	for _, port := range []int{8080, 9100} {
		t.Run(strconv.Itoa(port), func(t *testing.T) {
			b := newBed(t)
			d := b.plan(answers())
			b.flow.Patience = 30 * time.Second
			if !b.Answers(port, "tcp") {
				t.Fatalf("the swarm's ports are %v", b.Ports())
			}
			b.BreakPort(port, "tcp", true)
			out := b.start(t.Context(), d)
			if out.Result != wizard.ResultOpen || out.Step != "verify" || !strings.Contains(out.Err.Error(), strconv.Itoa(port)) {
				t.Fatalf("%+v", out)
			}
			b.BreakPort(port, "tcp", false)
			b.goOn(ways()["resume"])
		})
	}
}

func TestLock(t *testing.T) {
	b := newBed(t)
	d := b.plan(answers())
	b.dieAt(20)
	if !until(func() { b.start(t.Context(), d) }) {
		t.Fatal("not killed")
	}
	other := *b.runner
	other.Store = &wizard.Store{Dir: t.TempDir(), Now: b.Now}
	other.Report = func(wizard.Event) {}
	out, err := other.Start(t.Context(), d)
	held := (*wizard.HeldError)(nil)
	if err != nil || out.Result != wizard.ResultRefused || !errors.As(out.Err, &held) || held.By.User != "me" || held.By.Host != "here" {
		t.Fatalf("a second operator: %+v, %v", out, err)
	}
	if runs, err := other.Store.Runs(); err != nil || len(runs) != 0 {
		t.Errorf("a refused run left %v, %v", runs, err)
	}
	b.goOn(ways()["rollback"])
}

// TestSomebodyElse has others change the swarm in the middle.
func TestSomebodyElse(t *testing.T) {
	at := func(b *bed, step string, do func()) {
		report := b.runner.Report
		b.runner.Report = func(e wizard.Event) {
			report(e)
			if e.Type == wizard.StepBegins && e.Step == step {
				do()
			}
		}
	}
	label := func(spec map[string]any) { spec["Labels"] = map[string]any{"theirs": "yes"} }
	t.Run("another change of a service is kept", func(t *testing.T) {
		b := newBed(t)
		d := b.plan(answers())
		at(b, "create", func() { b.UpdateService("web", label) })
		if out := b.start(t.Context(), d); out.Result != wizard.ResultDone {
			t.Fatalf("%+v\n%s", out, b.log())
		}
		b.Settle()
		if !strings.Contains(b.State(), `"theirs":"yes"`) || !b.Answers(8080, "tcp") {
			t.Error(b.State())
		}
	})
	t.Run("a new service with ports stops the run", func(t *testing.T) {
		b := newBed(t)
		d := b.plan(answers())
		at(b, "drain", func() {
			b.AddService(`{"Name":"late","TaskTemplate":{"ContainerSpec":{"Image":"busybox"}},"Mode":{"Replicated":{"Replicas":1}},"EndpointSpec":{"Mode":"vip","Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":9999,"PublishMode":"ingress"}]}}`)
		})
		if out := b.start(t.Context(), d); out.Result != wizard.ResultRolledBack || !strings.Contains(out.Err.Error(), "late") {
			t.Fatalf("%+v\n%s", out, b.log())
		}
	})
	t.Run("ports that somebody puts back stop the run", func(t *testing.T) {
		b := newBed(t)
		d := b.plan(answers())
		began := b.Now()
		at(b, "drain", func() {
			b.UpdateService("web", func(spec map[string]any) {
				spec["EndpointSpec"] = map[string]any{"Mode": "vip", "Ports": []any{map[string]any{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8088, "PublishMode": "ingress"}}}
			})
		})
		out := b.start(t.Context(), d)
		if out.Result != wizard.ResultRolledBack || !strings.Contains(out.Err.Error(), "service web publishes ports again") {
			t.Fatalf("%+v\n%s", out, b.log())
		}
		if took := b.Now().Sub(began); took > 2*time.Minute { // of the patience of 5
			t.Errorf("it was found out after %v", took)
		}
		b.Settle()
		if state := b.State(); !strings.Contains(state, "8088") {
			t.Errorf("the port is not left as they made it:\n%s", state)
		}
	})
	t.Run("a change before the first step refuses", func(t *testing.T) {
		b := newBed(t)
		d := b.plan(answers())
		b.UpdateService("web", label)
		b.before = b.State()
		out := b.start(t.Context(), d)
		if out.Result != wizard.ResultRefused || !strings.Contains(out.Err.Error(), "changed") {
			t.Fatalf("%+v", out)
		}
		b.undone()
	})
}

func TestInterrupted(t *testing.T) {
	b := newBed(t)
	d := b.plan(answers())
	ctx, cancel := context.WithCancel(t.Context())
	b.runner.Report = func(e wizard.Event) {
		if e.Step == "remove" {
			cancel()
		}
	}
	if out := b.start(ctx, d); out.Result != wizard.ResultOpen {
		t.Fatalf("%+v", out)
	}
	b.goOn(ways()["resume"])
}

// TestDiskFull fills the disk at each record: the run stops where it is and is
// gone on with when there is room again.
func TestDiskFull(t *testing.T) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(size uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		limit(old.Cur)
		signal.Reset(syscall.SIGXFSZ)
	})
	everywhere(t, func(t *testing.T, n int) bool {
		b := newBed(t)
		d := b.plan(answers())
		count := 0
		b.runner.Report = func(e wizard.Event) {
			if count++; count == n && e.Type != wizard.Ends {
				limit(b.journalSize() + 10)
			}
		}
		out := b.start(t.Context(), d)
		limit(old.Cur)
		if out.Result == wizard.ResultDone {
			return true
		}
		if out.Result != wizard.ResultOpen || !errors.Is(out.Err, syscall.EFBIG) {
			t.Fatalf("%+v", out)
		}
		b.goOn(ways()[[]string{"resume", "rollback"}[n%2]])
		return false
	})
}

func (b *bed) journalSize() uint64 {
	files, err := filepath.Glob(filepath.Join(b.runner.Store.Dir, "*.journal"))
	if err != nil || len(files) != 1 {
		b.tb.Fatalf("%v, %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		b.tb.Fatal(err)
	}
	return uint64(info.Size())
}
