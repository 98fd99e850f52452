package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/model"
)

// MeshTrace follows a client's packet to a published port by what the kernel
// of this node has.
func (e *Engine) MeshTrace(ctx context.Context, q model.MeshQuery) (model.MeshTrace, error) {
	return e.publisher.trace(ctx, q)
}

// view is the kernel's state of one port, with what is known of its tasks.
type view struct {
	offer  *offer // nil: nothing is published there
	listed bool   // the host's kernel has the port
	addrs  []netip.Addr
	way    mesh.Observed
	known  bool // that: the kernel has tasks for the port
	// straight says that they are reached without the ingress sandbox.
	straight bool
	silent   model.MeshProblem
	where    map[string]netip.Addr
	// sandbox is the path of the ingress sandbox.
	sandbox string
	now     func() time.Time
}

func (p *publisher) trace(ctx context.Context, q model.MeshQuery) (model.MeshTrace, error) {
	port := mesh.Port{Proto: protocolNumber(q.Proto), Published: q.Port}
	t := model.MeshTrace{Port: port.String(), From: q.From, To: q.To, Steps: []model.MeshStep{}, Flows: []model.MeshFlow{}, Tries: []model.MeshTry{}}
	v, err := p.look(port, q, &t)
	if err != nil || v.offer == nil || port.Proto != unix.IPPROTO_TCP {
		return t, err
	}
	t.Tries, err = v.reach(ctx)
	return t, err
}

// look fills in what the kernel has.
func (p *publisher) look(port mesh.Port, q model.MeshQuery, t *model.MeshTrace) (view, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sandbox == nil {
		return view{}, fault.Unavailable("this node is in no ingress network: join a swarm, or make one with `weft network create --driver overlay --ingress`")
	}
	v, err := p.view(port)
	if err != nil {
		return v, err
	}
	own, err := kernel.Addresses(p.hostNS)
	if err != nil {
		return v, err
	}
	found, err := p.drift()
	if err != nil {
		return v, err
	}
	t.Steps = append(p.steps(v, q, own), differences(found, port)...)
	flows, err := p.host.Flows(port)
	if err != nil {
		return v, err
	}
	hidden, err := p.node.Flows(port)
	for _, f := range append(flows, hidden...) {
		if !q.From.IsValid() || f.Client.Addr() == q.From {
			t.Flows = append(t.Flows, model.MeshFlow{Client: f.Client, Task: p.taskAt(f.Task.Addr()), Addr: f.Task, State: f.State, Left: f.Left})
		}
	}
	return v, err
}

// view looks at the kernel. p.mu is held.
func (p *publisher) view(port mesh.Port) (view, error) {
	v := view{sandbox: p.place.Sandbox, now: p.now}
	if o := p.offer(port, p.local(p.network)); len(o.tasks) > 0 {
		v.offer = o
		v.silent, _ = p.silent(o)
	}
	listens, err := p.host.Observe()
	if err != nil {
		return v, err
	}
	services, straight, err := p.observe()
	if err != nil {
		return v, err
	}
	v.addrs, v.listed = listens[port]
	v.way, v.known = services[port]
	v.straight = straight[port]
	v.where = p.vteps(p.network)
	return v, nil
}

// steps goes from the host to the task and back. p.mu is held.
func (p *publisher) steps(v view, q model.MeshQuery, own []kernel.Address) []model.MeshStep {
	steps := []model.MeshStep{p.hostStep(v, q, own)}
	if steps[0].OK {
		steps = append(steps, p.choiceStep(v, q))
	}
	if !steps[len(steps)-1].OK {
		return steps
	}
	list := v.way.V4
	if q.From.Is6() {
		list = v.way.V6
	}
	if chosen := v.way.Task(q.From); chosen.IsValid() && q.From.IsValid() {
		list = []netip.Addr{chosen}
	}
	for _, a := range list {
		steps = append(steps, p.taskStep(v, a))
	}
	return append(steps, p.answerStep(v, q))
}

// differences gives what of a port's way is not as it was written, which a
// packet may or may not meet.
func differences(found []mesh.Drift, port mesh.Port) []model.MeshStep {
	var out []model.MeshStep
	for _, d := range found {
		if d.Port == port || d.Port == (mesh.Port{}) {
			out = append(out, model.MeshStep{Place: model.PlaceKernel, What: "not as it was written: " + d.What})
		}
	}
	return out
}

func (p *publisher) hostStep(v view, q model.MeshQuery, own []kernel.Address) model.MeshStep {
	s := model.MeshStep{Place: "host"}
	port := mesh.Port{Proto: protocolNumber(q.Proto), Published: q.Port}
	at := "any address of this host"
	if q.To.IsValid() {
		at = q.To.String()
		if !q.To.IsLoopback() && !slices.ContainsFunc(own, func(a kernel.Address) bool { return a.Addr == q.To }) {
			s.What = at + " is no address of this host: ask the node that has it"
			return s
		}
	}
	switch {
	case v.offer == nil && !v.listed:
		s.What = "no task that is ready publishes " + port.String() + ": the host's own programs answer, or it refuses"
	case !v.listed:
		s.What = "not sent to the mesh: " + cmp.Or(v.silent.What, "nftables table weft-mesh lacks the port")
	case len(v.addrs) > 0 && q.To.IsValid() && !slices.Contains(v.addrs, q.To):
		s.What = fmt.Sprintf("bound to %s and not to %s: the host's own programs answer, or it refuses", addresses(v.addrs), at)
	default:
		if len(v.addrs) > 0 && !q.To.IsValid() {
			at = addresses(v.addrs)
		}
		s.OK = true
		s.What = fmt.Sprintf("%s at %s goes over weft-ingress to the ingress sandbox", port, at)
		if v.straight {
			s.What = fmt.Sprintf("%s at %s goes over weft-mesh straight to a task", port, at)
		}
		if q.From.IsLoopback() {
			s.What += fmt.Sprintf(", from %s, as a loopback address means nothing elsewhere", p.source)
		}
	}
	return s
}

func addresses(list []netip.Addr) string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}

func (p *publisher) choiceStep(v view, q model.MeshQuery) model.MeshStep {
	s := model.MeshStep{Place: "ingress sandbox"}
	if v.straight {
		s.Place = "host"
	}
	n := len(v.way.V4)
	if q.From.Is6() {
		n = len(v.way.V6)
	}
	switch {
	case !v.known:
		s.What = "the kernel knows no task for the port: refused"
		return s
	case n == 0:
		s.What = "no task is reached over IPv6: refused"
		return s
	}
	s.OK = true
	how := map[mesh.Algorithm]string{mesh.RoundRobin: "in turn", mesh.Random: "at random", mesh.SourceHash: "by the client's address"}
	s.What = fmt.Sprintf("one of %d tasks, %s (chain %s)", n, how[v.way.Algorithm()], v.way.Chain)
	if n == 1 {
		s.What = fmt.Sprintf("the only task (chain %s)", v.way.Chain)
	}
	return s
}

func (p *publisher) taskStep(v view, addr netip.Addr) model.MeshStep {
	s := model.MeshStep{Place: "task", What: addr.String() + ", of which the gossip knows nothing: a leftover"}
	if v.offer == nil {
		return s
	}
	for _, t := range v.offer.tasks {
		if t.Addr != addr && t.backend.AddrV6 != addr {
			continue
		}
		node := v.where[t.EndpointID]
		if t.near {
			node = p.source
		}
		s.OK = !t.Disabled
		s.What = fmt.Sprintf("%s at %s on %s: port %d becomes %d", t.Name, addr, node, v.offer.Published, t.target)
		switch {
		case t.Disabled:
			s.What += "; it is leaving and should get nothing new"
		case t.backend.Foreign:
			s.What += fmt.Sprintf("; a Docker task, which sees %s", p.place.Addr.Addr())
		case v.way.Masquerade():
			s.What += fmt.Sprintf("; it sees %s", p.place.Addr.Addr())
		}
		return s
	}
	return s
}

func (p *publisher) answerStep(v view, q model.MeshQuery) model.MeshStep {
	s := model.MeshStep{Place: "answer", OK: true, What: fmt.Sprintf("to this node's ingress sandbox (%s, %s) and over weft-ingress to the client", p.place.Addr.Addr(), p.place.MAC)}
	if v.straight {
		s.What = fmt.Sprintf("straight to this host (weft-mesh, %s) and to the client", p.place.MAC.Leg())
	}
	if !v.way.Masquerade() && q.From.IsValid() && !q.From.IsLoopback() {
		s.What += "; the task has seen " + q.From.String()
	}
	return s
}

// taskAt gives the name of the task at an address. p.mu is held.
func (p *publisher) taskAt(addr netip.Addr) string {
	for _, r := range p.records {
		if r.Addr == addr || (p.place.AddrV6.IsValid() && placeOf(p.place).V6Of(r.Addr) == addr) {
			return r.Name
		}
	}
	return ""
}

// reachTime bounds an attempt to reach a task.
const reachTime = 2 * time.Second

// reach tries every task of a port at once.
func (v view) reach(ctx context.Context) ([]model.MeshTry, error) {
	sandbox, err := kernel.Open(v.sandbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sandbox.Close() }()
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	out := make([]model.MeshTry, len(v.offer.tasks))
	var all sync.WaitGroup
	for i, t := range v.offer.tasks {
		all.Go(func() {
			begun := v.now()
			err := mesh.Reach(ctx, sandbox, t.Addr, v.offer.Published)
			out[i] = model.MeshTry{Task: t.Name, Addr: netip.AddrPortFrom(t.Addr, v.offer.Published), After: v.now().Sub(begun)}
			switch {
			case errors.Is(err, unix.ECONNREFUSED):
				out[i].Error = "refused: nothing listens there"
			case errors.Is(err, context.DeadlineExceeded):
				out[i].Error = "no answer"
			case err != nil:
				out[i].Error = err.Error()
			}
		})
	}
	all.Wait()
	return out, nil
}
