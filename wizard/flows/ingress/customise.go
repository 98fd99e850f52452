package ingress

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"weft/wizard"
)

// Customise is the workflow that replaces the ingress network, bound to a
// swarm. It is a wizard.Flow and a wizard.Guide.
type Customise struct{ Swarm }

// world is what a plan shows of what it was made from, and what must still be
// so when it is carried out. It has no secrets.
type world struct {
	Ingress  *Network      `json:"ingress"`
	Nodes    []nodeSeen    `json:"nodes"`
	Services []serviceSeen `json:"services"` // those that publish through the ingress network
}

type nodeSeen struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	Ready    bool   `json:"ready"`
}

type serviceSeen struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Spec  string `json:"spec"` // a digest
	Ports string `json:"ports"`
}

// saved is what undoing a run, and verifying it, needs. It has the secrets of
// the specs.
type saved struct {
	Old      *Network    `json:"old"`
	New      NetworkSpec `json:"new"`
	Nodes    []Node      `json:"nodes"`
	Services []kept      `json:"services"`
	// Bystanders are services that publish ports, but none through the
	// network. Nothing is done to them, and their ports are verified as well.
	Bystanders []kept `json:"bystanders,omitempty"`
	ToZero     bool   `json:"to_zero"`
}

// kept is a service as it was.
type kept struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Spec     json.RawMessage `json:"spec"`
	Detached json.RawMessage `json:"detached"` // its spec meanwhile
	Running  int             `json:"running"`  // tasks

	Published []Port   `json:"published"` // through the ingress network
	Answered  []answer `json:"answered,omitempty"`
	Silent    []Port   `json:"silent,omitempty"` // did not answer before either
}

// answer is a port that answered, and where.
type answer struct {
	Port  Port     `json:"port"`
	Addrs []string `json:"addrs"`
}

// Plan is part of wizard.Flow.
func (c *Customise) Plan(ctx context.Context, answers json.RawMessage) (wizard.Draft, error) {
	opts, err := ParseOptions(answers)
	if err != nil {
		return wizard.Draft{}, err
	}
	w, err := c.survey(ctx)
	if err != nil {
		return wizard.Draft{}, err
	}
	s, err := keep(&w, &opts)
	if err != nil {
		return wizard.Draft{}, err
	}
	c.probe(ctx, &w, s)
	return c.draft(ctx, &w, &opts, s)
}

// survey observes all that planning looks at.
func (c *Swarm) survey(ctx context.Context) (World, error) {
	w, err := c.Observer.Observe(ctx)
	if err != nil {
		return w, err
	}
	taken, err := c.Nodes.Taken(ctx)
	w.Taken = append(w.Taken, taken...)
	return w, err
}

// keep collects what the run will need from the world as it is.
func keep(w *World, opts *Options) (*saved, error) {
	s := &saved{Old: w.Ingress, New: opts.renewed(w.Ingress), Nodes: w.Nodes, ToZero: opts.Strategy == ScaleToZero}
	slices.SortFunc(w.Services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	for _, svc := range w.Services {
		published, err := Published(svc.Spec)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", svc.Name, err)
		}
		if len(published) == 0 {
			if len(svc.Ports) > 0 {
				s.Bystanders = append(s.Bystanders, kept{ID: svc.ID, Name: svc.Name})
			}
			continue
		}
		detached, err := detach(svc.Spec, s.ToZero)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", svc.Name, err)
		}
		k := kept{ID: svc.ID, Name: svc.Name, Spec: svc.Spec, Published: published, Detached: detached, Running: running(w.Tasks, svc.ID)}
		s.Services = append(s.Services, k)
	}
	return s, nil
}

func running(tasks []Task, service string) int {
	n := 0
	for _, t := range tasks {
		if t.Service == service && t.Desired == "running" && t.State == "running" {
			n++
		}
	}
	return n
}

func (c *Customise) draft(ctx context.Context, w *World, opts *Options, s *saved) (wizard.Draft, error) {
	p := wizard.Plan{
		Format: wizard.PlanFormat, Flow: Flow, Cluster: w.Cluster, Command: CommandLine(*opts),
		Title: "Create ingress network " + describe(&s.New), Losses: losses(s), Notes: append(endpoints(w), c.notes(ctx, s)...),
		Findings: preflight(w, s), Hazards: hazards(s),
	}
	if s.Old != nil {
		p.Title = fmt.Sprintf("Replace ingress network %s by %s", describe(&s.Old.Spec), describe(&s.New))
	}
	var err error
	if p.Answers, err = json.Marshal(opts); err != nil {
		return wizard.Draft{}, err
	}
	if p.World, err = json.Marshal(seen(w, s)); err != nil {
		return wizard.Draft{}, err
	}
	for _, step := range c.steps(s) {
		p.Steps = append(p.Steps, step.Planned)
	}
	text, err := json.Marshal(s)
	return wizard.Draft{Plan: p, Saved: text}, err
}

// seen is what of the world the plan depends on. A network's peers come and go
// without a change.
func seen(w *World, s *saved) world {
	out := world{Ingress: w.Ingress, Nodes: []nodeSeen{}, Services: []serviceSeen{}}
	for _, n := range w.Nodes {
		out.Nodes = append(out.Nodes, nodeSeen{n.ID, n.Hostname, n.Ready()})
	}
	slices.SortFunc(out.Nodes, func(a, b nodeSeen) int { return cmp.Compare(a.ID, b.ID) })
	for _, k := range s.Services {
		sum := sha256.Sum256(k.Spec)
		out.Services = append(out.Services, serviceSeen{ID: k.ID, Name: k.Name, Spec: hex.EncodeToString(sum[:8]), Ports: Words(k.Published)})
	}
	return out
}

// describe gives a network in a few words.
func describe(n *NetworkSpec) string {
	text := n.Name
	var subnets []string
	for _, p := range n.IPAM.Config {
		t := p.Subnet
		if p.Gateway != "" {
			t += " gateway " + p.Gateway
		}
		subnets = append(subnets, t)
	}
	if len(subnets) > 0 {
		text += " (" + strings.Join(subnets, ", ")
	} else {
		text += " (a subnet of the default pool"
	}
	if mtu := n.mtu(); mtu != 0 {
		text += fmt.Sprintf(", MTU %d", mtu)
	}
	return text + ")"
}

// Steps is part of wizard.Flow.
func (c *Customise) Steps(_ wizard.Plan, raw json.RawMessage) ([]wizard.Step, error) {
	s, err := restore(raw)
	if err != nil {
		return nil, err
	}
	return c.steps(s), nil
}

// restore reads what a run has saved.
func restore(raw json.RawMessage) (*saved, error) {
	var s saved
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read what the run has saved: %w", err)
	}
	if s.New.Name == "" {
		return nil, errors.New("read what the run has saved: no new network in it")
	}
	return &s, nil
}
