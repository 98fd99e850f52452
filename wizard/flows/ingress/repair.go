package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"weft/wizard"
)

// RepairFlow is the kind of workflow, as in plans and journals.
const RepairFlow = "ingress-repair"

// RepairOptions are what a repair has to be told.
type RepairOptions struct {
	// Options are what the ingress network is to be like if there is none.
	Options
	Skip []string `json:"skip,omitempty"` // names of services that are left alone
}

// Repair is the workflow that finishes what somebody has begun by hand: it
// makes the ingress network if there is none, has the nodes join it, and gives
// the services back what their last update has taken off them. It is a
// wizard.Flow.
type Repair struct{ Swarm }

// broken is what a repair mends, and what it needs for that.
type broken struct {
	saved

	Had    []int   `json:"had"`    // tasks that run now, of each of Services
	Create bool    `json:"create"` // there is no ingress network
	Join   bool    `json:"join"`   // a node that is up has not joined it
	Rolls  []rolls `json:"rolls,omitempty"`
}

// rolls is a service whose tasks hold on to a network that is gone.
type rolls struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	From uint64 `json:"from"` // TaskTemplate.ForceUpdate
	Want int    `json:"want"` // tasks
}

// ParseRepairOptions reads answers, as ParseOptions does.
func ParseRepairOptions(answers json.RawMessage) (RepairOptions, error) {
	o := RepairOptions{Options: Options{Strategy: Detach}}
	if err := json.Unmarshal(answers, &o); err != nil {
		return RepairOptions{}, fmt.Errorf("read answers: %w", err)
	}
	return o, o.check()
}

// Plan is part of wizard.Flow. If nothing is broken it returns a
// *wizard.NothingError.
func (r *Repair) Plan(ctx context.Context, answers json.RawMessage) (wizard.Draft, error) {
	opts, err := ParseRepairOptions(answers)
	if err != nil {
		return wizard.Draft{}, err
	}
	w, err := r.survey(ctx)
	if err != nil {
		return wizard.Draft{}, err
	}
	if w.Manager {
		if w.Ingress, err = r.Observer.Ingress(ctx); err != nil { // with its peers
			return wizard.Draft{}, err
		}
	}
	b, err := diagnose(&w, &opts)
	if err != nil {
		return wizard.Draft{}, err
	}
	if !b.Create && !b.Join && len(b.Services)+len(b.Rolls) == 0 && w.Manager {
		return wizard.Draft{}, &wizard.NothingError{Text: "nothing to repair: there is an ingress network, every node that is up has joined it, and no service has lost its ports with its last update"}
	}
	return r.draft(&w, &opts, b)
}

// diagnose finds out what is broken.
func diagnose(w *World, opts *RepairOptions) (*broken, error) {
	b := &broken{Create: w.Ingress == nil, saved: saved{Old: w.Ingress, New: opts.renewed(w.Ingress), Nodes: w.Nodes}}
	if !b.Create && opts.says() {
		return nil, errors.New("there is an ingress network: what it is like is changed by `weft ingress customise`")
	}
	for _, name := range opts.Skip {
		if !slices.ContainsFunc(w.Services, func(s Service) bool { return s.Name == name }) {
			return nil, &wizard.AnswerError{Answer: "skip", Err: fmt.Errorf("there is no service %s to skip", name)}
		}
	}
	b.Join = b.Create || slices.ContainsFunc(w.Nodes, func(n Node) bool { return n.Ready() && !w.Ingress.Joined(n) })
	for _, svc := range w.Services {
		if slices.Contains(opts.Skip, svc.Name) {
			continue
		}
		if err := b.look(w, &svc); err != nil {
			return nil, fmt.Errorf("service %s: %w", svc.Name, err)
		}
	}
	return b, nil
}

// look finds out what is broken with one service.
func (b *broken) look(w *World, svc *Service) error {
	wanted, err := before(svc)
	if err != nil {
		return err
	}
	if wanted != nil {
		published, err := Published(wanted)
		if err != nil {
			return err
		}
		k := kept{ID: svc.ID, Name: svc.Name, Spec: wanted, Detached: svc.Spec, Published: published, Silent: published}
		if k.Running = running(w.Tasks, svc.ID); k.Running == 0 {
			k.Running = replicas(wanted, 0)
		}
		b.Services = append(b.Services, k)
		b.Had = append(b.Had, running(w.Tasks, svc.ID))
		return nil
	}
	lost := func(t Task) bool {
		return t.Service == svc.ID && t.Desired == "running" && slices.ContainsFunc(t.Networks, func(id string) bool { return t.Holds(id) && !slices.Contains(w.Networks, id) })
	}
	if published, err := Published(svc.Spec); err != nil || len(published) == 0 || !slices.ContainsFunc(w.Tasks, lost) {
		return err
	}
	n, err := forceUpdate(svc.Spec)
	b.Rolls = append(b.Rolls, rolls{ID: svc.ID, Name: svc.Name, From: n, Want: replicas(svc.Spec, 1)})
	return err
}

// before gives the spec of a service with what its last update has taken off
// it: its published ports, or all its replicas. Nil: nothing.
func before(svc *Service) (json.RawMessage, error) {
	if svc.Before == nil {
		return nil, nil
	}
	now, errNow := Published(svc.Spec)
	then, errThen := Published(svc.Before)
	spec, err := parse(svc.Spec)
	was, errWas := parse(svc.Before)
	if err := errors.Join(errNow, errThen, err, errWas); err != nil {
		return nil, err
	}
	changed := false
	if len(now) == 0 && len(then) > 0 {
		spec["EndpointSpec"], changed = was["EndpointSpec"], true
	}
	if (changed || len(now) > 0) && replicas(svc.Spec, 1) == 0 && replicas(svc.Before, 0) > 0 {
		spec["Mode"], changed = was["Mode"], true
	}
	if !changed {
		return nil, nil
	}
	return json.Marshal(spec)
}

// replicas gives the number of tasks a replicated service is to have, or other
// for a service of another mode.
func replicas(spec json.RawMessage, other int) int {
	var s struct {
		Mode struct{ Replicated *struct{ Replicas *int } }
	}
	if json.Unmarshal(spec, &s) != nil || s.Mode.Replicated == nil || s.Mode.Replicated.Replicas == nil {
		return other
	}
	return *s.Mode.Replicated.Replicas
}

// says tells whether the options say anything of a network.
func (o *RepairOptions) says() bool {
	return o.Name != "" || len(o.Pools)+len(o.Opts)+len(o.Labels) > 0 || o.MTU != 0 || o.IPv4 != nil || o.IPv6 != nil
}

func (r *Repair) draft(w *World, opts *RepairOptions, b *broken) (wizard.Draft, error) {
	p := wizard.Plan{
		Format: wizard.PlanFormat, Flow: RepairFlow, Cluster: w.Cluster, Command: repairLine(*opts), Title: b.title(),
		Findings: b.preflight(w), Hazards: b.hazards(),
		Notes: []string{
			"only what the last update of a service has taken off it can be seen; a service that was removed has to be created again",
			"ports that come back have no baseline: whether they answer is for you to see",
		},
	}
	if len(b.Services) > 0 {
		p.Losses = losses(&b.saved)
	}
	var err error
	if p.Answers, err = json.Marshal(opts); err != nil {
		return wizard.Draft{}, err
	}
	if p.World, err = json.Marshal(b.seen(w)); err != nil {
		return wizard.Draft{}, err
	}
	for _, step := range r.steps(b) {
		p.Steps = append(p.Steps, step.Planned)
	}
	text, err := json.Marshal(b)
	return wizard.Draft{Plan: p, Saved: text}, err
}

func (b *broken) title() string {
	var what []string
	if b.Create {
		what = append(what, "create ingress network "+describe(&b.New))
	} else if b.Join {
		what = append(what, "have all nodes join ingress network "+b.New.Name)
	}
	if n := len(b.Services) + len(b.Rolls); n > 0 {
		what = append(what, "mend "+amount(n, "service"))
	}
	return "Repair: " + strings.Join(what, ", ")
}

// seen is what of the world the plan depends on.
func (b *broken) seen(w *World) any {
	return struct {
		world
		Rolls []rolls `json:"rolls"`
	}{seen(w, &b.saved), b.Rolls}
}

func (b *broken) preflight(w *World) []wizard.Finding {
	list := checkManager(w, &b.saved)
	for _, n := range w.Nodes {
		if !n.Ready() {
			list = append(list, wizard.Finding{
				Code: "node-not-ready", Severity: wizard.Warns, Text: fmt.Sprintf("node %s is %s: it is not waited for", n.Hostname, n.State),
				Fix: fmt.Sprintf("bring %[1]s back, or remove it: `weft node rm %[1]s`", n.Hostname),
			})
		}
	}
	if b.Create {
		for _, check := range []func(*World, *saved) []wizard.Finding{checkName, checkSubnets, checkPools, checkFamilies, checkRoom, checkMTUs} {
			list = append(list, check(w, &b.saved)...)
		}
	}
	return append(list, checkServices(w, &b.saved)...)
}

func (b *broken) hazards() []wizard.Hazard {
	var list []wizard.Hazard
	var names []string
	for _, k := range b.Services {
		names = append(names, k.Name)
	}
	if len(names) > 0 {
		list = append(list, wizard.Hazard{
			Name: "restores-ports",
			Text: strings.Join(names, ", ") + " get back what their last update has taken off them; somebody may have done that on purpose (--skip SERVICE leaves one alone)",
		})
	}
	if len(names)+len(b.Rolls) > 0 {
		list = append(list, wizard.Hazard{Name: "restarts-tasks", Text: "the tasks of these services are replaced once, as by an update of the service"})
	}
	return list
}

// Steps is part of wizard.Flow.
func (r *Repair) Steps(_ wizard.Plan, raw json.RawMessage) ([]wizard.Step, error) {
	var b broken
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, fmt.Errorf("read what the run has saved: %w", err)
	}
	if b.New.Name == "" || len(b.Had) != len(b.Services) {
		return nil, errors.New("read what the run has saved: no network in it, or not all of the services")
	}
	return r.steps(&b), nil
}

// steps gives the way from what is broken to what works. The way back leads to
// what was found, as broken as it was.
func (r *Repair) steps(b *broken) []wizard.Step {
	var list []wizard.Step
	if len(b.Services) > 0 {
		regard := r.regardStep(&b.saved, func(k *kept) json.RawMessage { return k.Detached })
		regard.Undo = func(ctx context.Context, log *wizard.Log) error { return r.converged(ctx, b.found(), log) }
		list = append(list, regard)
	}
	if b.Create {
		list = append(list, r.createStep(&b.saved))
	}
	if b.Join {
		join := r.joinStep(&b.saved)
		if !b.Create {
			join.Undo = nil // it is the one that was there before
		}
		list = append(list, join)
	}
	for i := range b.Services {
		list = append(list, r.restoreStep(&b.Services[i]))
	}
	for _, roll := range b.Rolls {
		list = append(list, r.rollStep(roll))
	}
	if all := b.touched(); len(all.Services) > 0 {
		list = append(list, r.convergeStep(all))
	}
	return append(list, r.verifyStep(&b.saved))
}

// found are the services as they were found.
func (b *broken) found() *saved {
	was := b.saved
	was.Services = slices.Clone(was.Services)
	for i := range was.Services {
		was.Services[i].Running = b.Had[i]
	}
	return &was
}

// touched are all services whose tasks are replaced.
func (b *broken) touched() *saved {
	all := b.saved
	all.Services = slices.Clone(all.Services)
	for _, roll := range b.Rolls {
		all.Services = append(all.Services, kept{ID: roll.ID, Name: roll.Name, Running: roll.Want})
	}
	return &all
}

// rollStep replaces a service's tasks. There is nothing to take back: the
// service is as it was.
func (r *Repair) rollStep(roll rolls) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "roll:" + roll.ID, Title: "Replace the tasks of service " + roll.Name, Interrupts: "the tasks are replaced"},
		Do: func(ctx context.Context, log *wizard.Log) error {
			svc, err := r.Observer.Service(ctx, roll.ID)
			if err != nil {
				return err
			}
			n, err := forceUpdate(svc.Spec)
			if err != nil {
				return err
			}
			if n != roll.From {
				log.Progress(roll.Name, "is being replaced already")
				return nil
			}
			spec, err := forced(svc.Spec, n+1)
			if err != nil {
				return err
			}
			return r.Changer.UpdateService(ctx, roll.ID, svc.Version, spec)
		},
	}
}
