package guarded_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/commands/cluster"
	"weft/wizard"
	"weft/wizard/flows/ingress"
)

// repairBed is a swarm that somebody has left in the middle of replacing the
// ingress network by hand.
type repairBed struct {
	*bed

	flow  *ingress.Repair
	whole string // the swarm's state before they began
}

func newRepairBed(tb testing.TB, leave func(b *bed)) *repairBed {
	tb.Helper()
	b := newBed(tb)
	whole := b.State()
	leave(b)
	b.Settle()
	b.before = b.State()
	flow := &ingress.Repair{Swarm: b.flow.Swarm}
	b.runner.Flow = flow
	return &repairBed{b, flow, whole}
}

// publishers are the services of Busy with ports in ingress mode.
func publishers() []string {
	return []string{"api", "batch", "chosen", "dns", "mixed", "proxy", "range", "stats", "web"}
}

// unpublish takes the ports in ingress mode off services, as `service update
// --publish-rm` does.
func unpublish(b *bed, names ...string) {
	for _, name := range names {
		b.UpdateService(name, func(spec map[string]any) {
			endpoint, _ := spec["EndpointSpec"].(map[string]any)
			ports, _ := endpoint["Ports"].([]any)
			endpoint["Ports"] = slices.DeleteFunc(ports, func(p any) bool { return p.(map[string]any)["PublishMode"] != "host" })
		})
	}
}

// halfWay is where the documentation's steps lead when one stops after the
// removal.
func halfWay(b *bed) {
	unpublish(b, publishers()...)
	b.Settle()
	if status, answer := b.Swarm.Do("DELETE", "/networks/ingress", ""); status >= 300 {
		b.tb.Fatalf("remove ingress: %d %s", status, answer)
	}
}

// halfWayStopped is the same with a service that was stopped for it.
func halfWayStopped(b *bed) {
	b.UpdateService("web", func(spec map[string]any) {
		spec["Mode"] = map[string]any{"Replicated": map[string]any{"Replicas": 0}}
		spec["EndpointSpec"] = map[string]any{"Mode": "vip"}
	})
	unpublish(b, slices.DeleteFunc(publishers(), func(name string) bool { return name == "web" })...)
	b.Settle()
	if status, answer := b.Swarm.Do("DELETE", "/networks/ingress", ""); status >= 300 {
		b.tb.Fatalf("remove ingress: %d %s", status, answer)
	}
}

func (b *repairBed) draft(answers string) wizard.Draft {
	b.tb.Helper()
	d, err := b.flow.Plan(b.tb.Context(), json.RawMessage(answers))
	if err != nil {
		b.tb.Fatal(err)
	}
	return d
}

// repaired fails unless the swarm is as it was before anybody touched it, but
// for the ingress network's own options.
func (b *repairBed) repaired() {
	b.tb.Helper()
	b.Settle()
	if got := services(b.State()); got != services(b.whole) {
		b.tb.Errorf("the services are\n%s\nwant\n%s", got, services(b.whole))
	}
	if got := ingressOf.FindString(b.State()); got == "" {
		b.tb.Error("there is no ingress network")
	}
	b.sound()
}

func steps(p *wizard.Plan) string {
	var ids []string
	for _, s := range p.Steps {
		kind, _, _ := strings.Cut(s.ID, ":")
		ids = append(ids, kind)
	}
	return strings.Join(slices.Compact(ids), " ")
}

func TestRepair(t *testing.T) {
	scale := func(b *bed, name string, n int) {
		b.UpdateService(name, func(spec map[string]any) {
			spec["Mode"] = map[string]any{"Replicated": map[string]any{"Replicas": n}}
		})
	}
	for name, c := range map[string]struct {
		leave   func(b *bed)
		answers string
		steps   string
		hazards int
	}{
		"no network, no ports": {halfWay, `{}`, "services create join restore converge verify", 2},
		"only the network": {func(b *bed) {
			halfWay(b)
			for _, name := range publishers() { // another update, so that what was before is not seen
				b.UpdateService(name, func(spec map[string]any) { spec["Labels"] = map[string]any{"later": "yes"} })
			}
		}, `{"name":"ingress"}`, "create join verify", 0},
		"ports":    {func(b *bed) { unpublish(b, "web", "api") }, `{}`, "services restore converge verify", 2},
		"skipped":  {func(b *bed) { unpublish(b, "web", "api") }, `{"skip":["web"]}`, "services restore converge verify", 2},
		"replicas": {func(b *bed) { scale(b, "web", 0) }, `{}`, "services restore converge verify", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newRepairBed(t, c.leave)
			d := b.draft(c.answers)
			if got := steps(&d.Plan); got != c.steps || len(d.Plan.Hazards) != c.hazards || len(d.Plan.Blockers()) > 0 {
				t.Fatalf("steps %s, want %s; hazards %+v; findings %+v", got, c.steps, d.Plan.Hazards, d.Plan.Findings)
			}
			out, err := b.runner.Start(t.Context(), d)
			if err != nil || out.Result != wizard.ResultDone {
				t.Fatalf("%+v, %v\n%s", out, err, b.log())
			}
			switch name {
			case "only the network":
				b.sound()
			case "skipped":
				if strings.Contains(b.State(), "published=80 ") {
					t.Errorf("web has its ports back:\n%s", b.State())
				}
			default:
				b.repaired()
			}
			again, err := b.flow.Plan(t.Context(), json.RawMessage(strings.Replace(c.answers, `"name":"ingress"`, "", 1)))
			if nothing := (*wizard.NothingError)(nil); !errors.As(err, &nothing) {
				t.Errorf("something is left to repair: %+v, %v", again.Plan.Steps, err)
			}
		})
	}
}

func TestNothingToRepair(t *testing.T) {
	b := newRepairBed(t, func(*bed) {})
	_, err := b.flow.Plan(t.Context(), json.RawMessage(`{}`))
	if nothing := (*wizard.NothingError)(nil); !errors.As(err, &nothing) {
		t.Errorf("%v", err)
	}
	if _, err := b.flow.Plan(t.Context(), json.RawMessage(`{"mtu":1200}`)); err == nil || !strings.Contains(err.Error(), "weft ingress customise") {
		t.Errorf("an option for a network that is there: %v", err)
	}
	if _, err := b.flow.Plan(t.Context(), json.RawMessage(`{"skip":["nobody"]}`)); err == nil || !strings.Contains(err.Error(), "no service nobody") {
		t.Errorf("skipping nobody: %v", err)
	}
}

// TestRepairKilled ends the process after each record, and goes on both ways.
func TestRepairKilled(t *testing.T) {
	for name, w := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everywhere(t, func(t *testing.T, n int) bool {
				b := newRepairBed(t, halfWayStopped)
				d := b.draft(`{}`)
				b.dieAt(n)
				if !until(func() {
					if out, err := b.runner.Start(t.Context(), d); err != nil || out.Result != wizard.ResultDone {
						t.Errorf("%+v, %v", out, err)
					}
				}) {
					if n < 30 {
						t.Errorf("only %d points", n-1)
					}
					return true
				}
				b.runner.Report = func(e wizard.Event) { b.events = append(b.events, e) }
				runs, err := b.runner.Store.Runs()
				if err != nil || len(runs) != 1 {
					t.Fatalf("%d runs, %v", len(runs), err)
				}
				out, err := w.goOn(b.runner, t.Context(), runs[0].ID)
				if err != nil || out.Result != w.want {
					t.Fatalf("%+v, %v\n%s", out, err, b.log())
				}
				if w.want == wizard.ResultDone {
					b.repaired()
				} else {
					b.undone()
				}
				return false
			})
		})
	}
}

// stale gives a task of web's an endpoint of a network that is gone, until it
// is replaced.
type stale struct{ ingress.Observer }

func (s *stale) Observe(ctx context.Context) (ingress.World, error) {
	w, err := s.Observer.Observe(ctx)
	if err != nil {
		return w, err
	}
	for i, svc := range w.Services {
		if svc.Name != "web" || strings.Contains(string(svc.Spec), `"ForceUpdate":1`) {
			continue
		}
		for j := range w.Tasks {
			if w.Tasks[j].Service == w.Services[i].ID && w.Tasks[j].Desired == "running" {
				w.Tasks[j].State, w.Tasks[j].Networks = "pending", []string{"gone"}
				return w, nil
			}
		}
	}
	return w, nil
}

// TestRepairRolls replaces the tasks of a service that waits for a network that
// is gone.
func TestRepairRolls(t *testing.T) {
	b := newRepairBed(t, func(*bed) {})
	b.flow.Observer = &stale{Observer: b.manager}
	d := b.draft(`{}`)
	if got := steps(&d.Plan); got != "roll converge verify" {
		t.Fatalf("steps %s", got)
	}
	out, err := b.runner.Start(t.Context(), d)
	if err != nil || out.Result != wizard.ResultDone {
		t.Fatalf("%+v, %v\n%s", out, err, b.log())
	}
	if !strings.Contains(b.State(), `"ForceUpdate":1`) {
		t.Errorf("web was not updated:\n%s", b.State())
	}
}

// TestRepairLocked is refused while somebody's run is open.
func TestRepairLocked(t *testing.T) {
	b := newRepairBed(t, halfWay)
	d := b.draft(`{}`)
	other := &cluster.Lock{Manager: b.manager}
	if err := other.Acquire(t.Context(), wizard.Holder{Run: "20261123-120000-abcd", Flow: "ingress-customise", Host: "there", User: "them", Since: time.Now().Format(time.RFC3339)}); err != nil {
		t.Fatal(err)
	}
	out, err := b.runner.Start(t.Context(), d)
	if err != nil || out.Result != wizard.ResultRefused || !strings.Contains(out.Err.Error(), "20261123-120000-abcd") {
		t.Errorf("%+v, %v", out, err)
	}
	if err := other.Release(t.Context(), "20261123-120000-abcd"); err != nil {
		t.Fatal(err)
	}
	b.undone()
}
