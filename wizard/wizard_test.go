package wizard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/wizard"
)

// toy is a flow whose world is a list of the steps that are in force, and the
// lock of that world.
type toy struct {
	names   []string
	world   []string
	did     []string // calls, in order
	fail    map[string][]error
	check   map[string]wizard.State
	keep    string
	blocker string
	holder  wizard.Holder
}

func (f *toy) Plan(context.Context, json.RawMessage) (wizard.Draft, error) {
	world, err := json.Marshal(f.world)
	p := wizard.Plan{Format: wizard.PlanFormat, Flow: "toy", Title: "A toy", Command: "weft toy", Answers: json.RawMessage(`{}`), World: world}
	for _, n := range f.names {
		p.Steps = append(p.Steps, wizard.Planned{ID: n, Title: "Step " + n})
	}
	if f.blocker != "" {
		p.Findings = []wizard.Finding{{Code: "blocked", Severity: wizard.Blocks, Text: f.blocker}}
	}
	return wizard.Draft{Plan: p, Saved: json.RawMessage(`{"secret":"hush"}`)}, err
}

func (f *toy) Steps(p wizard.Plan, _ json.RawMessage) ([]wizard.Step, error) {
	var list []wizard.Step
	for _, planned := range p.Steps {
		step := wizard.Step{Planned: planned, Keep: planned.ID == f.keep, Do: f.call("do", planned.ID), Undo: f.call("undo", planned.ID)}
		if state, is := f.check[planned.ID]; is {
			step.Check = func(context.Context) (wizard.State, error) { return state, nil }
		}
		list = append(list, step)
	}
	return list, nil
}

func (f *toy) call(what, id string) func(context.Context, *wizard.Log) error {
	return func(ctx context.Context, log *wizard.Log) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := what + " " + id
		f.did = append(f.did, name)
		if list := f.fail[name]; len(list) > 0 {
			f.fail[name] = list[1:]
			if list[0] != nil {
				return list[0]
			}
		}
		f.world = slices.DeleteFunc(f.world, func(n string) bool { return n == id })
		if what == "do" {
			f.world = append(f.world, id)
			log.Note(id, "is done")
		}
		return nil
	}
}

func (f *toy) Acquire(_ context.Context, h wizard.Holder) error {
	if f.holder.Run != "" && f.holder.Run != h.Run {
		return &wizard.HeldError{By: f.holder}
	}
	f.holder = h
	return nil
}

func (f *toy) Release(_ context.Context, run string) error {
	if f.holder.Run == run {
		f.holder = wizard.Holder{}
	}
	return nil
}

func clock() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func newRunner(t *testing.T, f *toy) *wizard.Runner {
	t.Helper()
	return &wizard.Runner{
		Flow: f, Lock: f, Store: &wizard.Store{Dir: filepath.Join(t.TempDir(), "runs"), Now: clock}, Host: "here", User: "me",
		Report: func(wizard.Event) {}, Sleep: func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) },
	}
}

func abc() *toy { return &toy{names: []string{"a", "b", "c"}, fail: map[string][]error{}} }

func start(t *testing.T, r *wizard.Runner, f *toy) wizard.Outcome {
	t.Helper()
	d, err := f.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Start(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStart(t *testing.T) {
	boom := errors.New("boom")
	many := func(err error) []error { return slices.Repeat([]error{err}, 20) }
	for name, c := range map[string]struct {
		set   func(f *toy, r *wizard.Runner)
		want  wizard.Result
		did   string
		world string
	}{
		"done":        {func(*toy, *wizard.Runner) {}, wizard.ResultDone, "do a, do b, do c", "a b c"},
		"tried again": {func(f *toy, _ *wizard.Runner) { f.fail["do b"] = []error{boom, boom} }, wizard.ResultDone, "do a, do b, do b, do b, do c", "a b c"},
		"fails for good": {
			func(f *toy, _ *wizard.Runner) { f.fail["do b"] = []error{&wizard.FinalError{Err: boom}} },
			wizard.ResultRolledBack, "do a, do b, undo b, undo a", "",
		},
		"fails too often": {
			func(f *toy, _ *wizard.Runner) { f.fail["do c"] = many(boom) },
			wizard.ResultRolledBack, "do a, do b, " + strings.Repeat("do c, ", 6) + "undo c, undo b, undo a", "",
		},
		"kept open": {
			func(f *toy, _ *wizard.Runner) { f.keep, f.fail["do c"] = "c", many(boom) },
			wizard.ResultOpen, "do a, do b, " + strings.Repeat("do c, ", 5) + "do c", "a b",
		},
		"left open on demand": {
			func(f *toy, r *wizard.Runner) { r.Stay, f.fail["do b"] = true, []error{&wizard.FinalError{Err: boom}} },
			wizard.ResultOpen, "do a, do b", "a",
		},
		"can't go back": {
			func(f *toy, _ *wizard.Runner) {
				f.fail["do b"], f.fail["undo a"] = []error{&wizard.FinalError{Err: boom}}, []error{&wizard.FinalError{Err: boom}}
			},
			wizard.ResultOpen, "do a, do b, undo b, undo a", "a",
		},
		"blocked":  {func(f *toy, _ *wizard.Runner) { f.blocker = "no" }, wizard.ResultRefused, "", ""},
		"locked":   {func(f *toy, _ *wizard.Runner) { f.holder.Run = "other" }, wizard.ResultRefused, "", ""},
		"disabled": {func(f *toy, _ *wizard.Runner) { f.names = f.names[:1] }, wizard.ResultDone, "do a", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			f := abc()
			r := newRunner(t, f)
			c.set(f, r)
			held := f.holder.Run
			out := start(t, r, f)
			if got := strings.Join(f.did, ", "); out.Result != c.want || got != c.did || strings.Join(f.world, " ") != c.world {
				t.Errorf("%s (%v), did %s, world %v; want %s, %s, %s", out.Result, out.Err, got, f.world, c.want, c.did, c.world)
			}
			runs, err := r.Store.Runs()
			switch {
			case err != nil:
				t.Error(err)
			case c.want == wizard.ResultRefused && (len(runs) > 0 || f.holder.Run != held):
				t.Errorf("left %d runs, lock %+v", len(runs), f.holder)
			case c.want == wizard.ResultOpen && (len(runs) != 1 || !runs[0].Open() || f.holder.Run != runs[0].ID || runs[0].Saved == nil):
				t.Errorf("left %+v, lock %+v", runs, f.holder)
			case (c.want == wizard.ResultDone || c.want == wizard.ResultRolledBack) && (len(runs) != 1 || runs[0].Result != c.want || runs[0].Saved != nil || f.holder.Run != ""):
				t.Errorf("left %+v, lock %+v", runs, f.holder)
			}
		})
	}
}

func TestChangedMeanwhile(t *testing.T) {
	f := abc()
	r := newRunner(t, f)
	d, err := f.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f.world = []string{"x"}
	out, err := r.Start(t.Context(), d)
	if err != nil || out.Result != wizard.ResultRefused || !strings.Contains(out.Err.Error(), "plan again") {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestOpenRuns goes on, both ways, with a run that stopped at its second step.
func TestOpenRuns(t *testing.T) {
	stopped := func(t *testing.T) (*toy, *wizard.Runner, string) {
		f := abc()
		r := newRunner(t, f)
		r.Stay = true
		f.fail["do b"] = []error{&wizard.FinalError{Err: errors.New("boom")}}
		id := start(t, r, f).Run
		f.did = nil
		return f, r, id
	}
	for name, c := range map[string]struct {
		do   func(*wizard.Runner, context.Context, string) (wizard.Outcome, error)
		want wizard.Result
		did  string
	}{
		"resume":   {(*wizard.Runner).Resume, wizard.ResultDone, "do b, do c"},
		"rollback": {(*wizard.Runner).Rollback, wizard.ResultRolledBack, "undo b, undo a"},
		"abort":    {(*wizard.Runner).Abort, wizard.ResultAborted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, r, id := stopped(t)
			var open *wizard.OpenRunError
			if err := r.Store.Remove(id); !errors.As(err, &open) {
				t.Errorf("removed while open: %v", err)
			}
			out, err := c.do(r, t.Context(), id)
			if got := strings.Join(f.did, ", "); err != nil || out.Result != c.want || got != c.did {
				t.Errorf("%+v, %v, did %s; want %s, %s", out, err, got, c.want, c.did)
			}
			var over *wizard.OverError
			if _, err := r.Rollback(t.Context(), id); !errors.As(err, &over) || over.Result != c.want {
				t.Errorf("a second time: %v", err)
			}
			if err := r.Store.Remove(id); err != nil {
				t.Error(err)
			}
			var none *wizard.NoRunError
			if _, err := r.Resume(t.Context(), id); !errors.As(err, &none) {
				t.Errorf("after it was removed: %v", err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for state, c := range map[wizard.State]struct {
		want wizard.Result
		did  string
	}{
		wizard.NotDone: {wizard.ResultDone, "do b, do c"},
		wizard.Done:    {wizard.ResultDone, "do c"},
		wizard.Foreign: {wizard.ResultOpen, ""},
	} {
		f := abc()
		r := newRunner(t, f)
		r.Stay = true
		f.fail["do b"] = []error{&wizard.FinalError{Err: errors.New("boom")}}
		id := start(t, r, f).Run
		f.did, f.check = nil, map[string]wizard.State{"b": state}
		out, err := r.Resume(t.Context(), id)
		if got := strings.Join(f.did, ", "); err != nil || out.Result != c.want || got != c.did {
			t.Errorf("state %d: %+v, %v, did %s; want %s, %s", state, out, err, got, c.want, c.did)
		}
	}
}

// TestEndOfContext has the process told to stop at each call.
func TestEndOfContext(t *testing.T) {
	for n := range 3 {
		f := abc()
		r := newRunner(t, f)
		d, err := f.Plan(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		r.Report = func(e wizard.Event) {
			if e.Type == wizard.StepBegins && e.Step == f.names[n] {
				cancel(errors.New("told to stop"))
			}
		}
		out, err := r.Start(ctx, d)
		if err != nil || out.Result != wizard.ResultOpen || out.Step != f.names[n] {
			t.Errorf("stopped at %s: %+v, %v", f.names[n], out, err)
		}
		r.Report = func(wizard.Event) {}
		if out, err := r.Resume(t.Context(), out.Run); err != nil || out.Result != wizard.ResultDone || len(out.Notes) != 3 {
			t.Errorf("then %+v, %v", out, err)
		}
	}
}

func TestFind(t *testing.T) {
	f := abc()
	r := newRunner(t, f)
	one := start(t, r, f).Run
	f.world = nil
	two := start(t, r, f).Run
	for prefix, want := range map[string]string{one: one, two: two, one[:len(one)-1]: one, "2026": "ambiguous", "1999": "no run 1999", "": "no run"} {
		got, err := r.Store.Find(prefix)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) && !(prefix == one[:len(one)-1] && strings.Contains(got, "ambiguous")) {
			t.Errorf("%q: %s, want %s", prefix, got, want)
		}
	}
}

// TestDamagedRun finds out what a journal still tells, next to one that is
// sound.
func TestDamagedRun(t *testing.T) {
	f := abc()
	r := newRunner(t, f)
	sound := start(t, r, f).Run
	f.world, f.did = nil, nil
	r.Stay = true
	f.fail["do b"] = []error{&wizard.FinalError{Err: errors.New("boom")}}
	id := start(t, r, f).Run
	path := filepath.Join(r.Store.Dir, id+".journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[4] = strings.Replace(lines[4], "boom", "doom", 1)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	runs, err := r.Store.Runs()
	if damaged := (*wizard.DamagedRunError)(nil); !errors.As(err, &damaged) || len(runs) != 1 || runs[0].ID != sound {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	for name, do := range map[string]func() error{
		"load":     func() error { _, err := r.Store.Load(id); return err },
		"resume":   func() error { _, err := r.Resume(t.Context(), id); return err },
		"rollback": func() error { _, err := r.Rollback(t.Context(), id); return err },
		"remove":   func() error { return r.Store.Remove(id) },
	} {
		err := do()
		for _, want := range []string{"damaged at line 5", "A toy", "weft toy", "1 of 3", "under way: Step b", "line 1 of the file"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	}
	if err := errors.Join(r.Store.RemoveDamaged(sound), r.Store.RemoveDamaged(id)); err != nil {
		t.Fatal(err)
	}
	if runs, err := r.Store.Runs(); err != nil || len(runs) != 1 {
		t.Errorf("left %d runs, %v", len(runs), err)
	}
}

func TestParsePlanRefuses(t *testing.T) {
	const good = `{"format":1,"flow":"x","steps":[{"id":"a","title":"A"}]}`
	if _, err := wizard.ParsePlan([]byte(good + "\n")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"a newer format":           {`{"format":2,"flow":"x","steps":[{}],"more":1}`, "format 2, of a newer weft"},
		"a member nobody knows":    {`{"format":1,"flow":"x","steps":[{}],"stepz":[]}`, `unknown field "stepz"`},
		"one of a step":            {`{"format":1,"flow":"x","steps":[{"id":"a","undo":"no"}]}`, `unknown field "undo"`},
		"two":                      {good + good, "more after its end"},
		"half":                     {good[:40], "unexpected EOF"},
		"a list":                   {`[]`, "read plan"},
		"something else":           {`{}`, "not a plan"},
		"the first line of --json": {`{"type":"plan","plan":` + good + `}`, `unknown field "type"`},
	} {
		if _, err := wizard.ParsePlan([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	d, err := abc().Plan(f.Context(), nil)
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.MarshalIndent(d.Plan, "", "  ")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1,"flow":"x","steps":[{}],"answers":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := wizard.ParsePlan(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("parsed, and can't be written: %v", err)
		}
		q, err := wizard.ParsePlan(again)
		if err != nil || q.Digest() != p.Digest() {
			t.Errorf("written and read again it is another plan: %v\n%s", err, again)
		}
	})
}

func ExampleCommandLine() {
	fmt.Println(wizard.CommandLine("weft", "network", "create", "--label", "owner=it's us", "net"))
	// Output: weft network create --label 'owner=it'\''s us' net
}
