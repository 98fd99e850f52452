package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"weft/engine/mesh"
	"weft/engine/model"
)

// drift compares the kernel with what was written. p.mu is held.
func (p *publisher) drift() ([]mesh.Drift, error) {
	if p.sandbox == nil {
		return nil, nil
	}
	host, err := p.host.Drift()
	if err != nil {
		return nil, err
	}
	node, err := p.node.Drift()
	return append(host, node...), err
}

// mend puts the kernel right where somebody has changed it.
func (p *publisher) mend() error {
	if err := p.rebind(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	found, err := p.drift()
	if err != nil || len(found) == 0 {
		return err
	}
	err = errors.Join(p.host.Rewrite(p.sandbox), p.node.Rewrite())
	if err == nil {
		p.mended++
	}
	what := make([]string, len(found))
	for i, d := range found {
		what[i] = d.What
	}
	p.log.Warn("published ports were not in the kernel as they should be", "found", what, "mended", err == nil)
	p.failed = err
	p.report(p.network, p.account(nil))
	return err
}

// rebind writes the ports that are bound to something, whose addresses may have
// changed: what has them still is no change.
func (p *publisher) rebind() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sandbox == nil || !p.written {
		return nil
	}
	for port := range p.behind {
		if o := p.offer(port, nil); len(o.options.Bind) > 0 {
			p.dirty[port] = true
		}
	}
	if len(p.dirty) == 0 {
		return nil
	}
	p.failed = p.writeKernel()
	p.report(p.network, p.account(nil))
	return p.failed
}

// account gives how this node fares, with what of the kernel differs. p.mu is
// held.
func (p *publisher) account(found []mesh.Drift) model.MeshReport {
	r := model.MeshReport{DataPath: p.source, Mended: p.mended}
	for _, q := range p.answered {
		if r.Asked == nil {
			r.Asked = map[netip.Addr]string{}
		}
		r.Asked[q.from] = q.text
	}
	for _, d := range found {
		problem := model.MeshProblem{Kind: model.ProblemDrift, What: d.What}
		if d.Port != (mesh.Port{}) {
			problem.Port = d.Port.String()
		}
		r.Problems = append(r.Problems, problem)
	}
	if p.failed != nil {
		r.Problems = append(r.Problems, model.MeshProblem{Kind: model.ProblemFailed, What: p.failed.Error()})
	}
	r.Ports = len(p.behind) - len(p.silences)
	// In an order of its own: what says the same is not told again.
	byPort := func(a, b model.MeshProblem) int { return strings.Compare(a.Port, b.Port) }
	r.Problems = append(r.Problems, slices.SortedFunc(maps.Values(p.silences), byPort)...)
	return r
}

// silent says why this host does not answer at a port.
func (p *publisher) silent(o *offer) (model.MeshProblem, bool) {
	out := model.MeshProblem{Port: o.Port.String()}
	if _, here := p.bound(o.options.Bind); !here {
		out.Kind, out.What = model.ProblemBound, "this host has none of the addresses and interfaces the service is bound to"
		return out, true
	}
	if p.host != nil {
		if err := p.host.Refused(o.Port); err != nil {
			out.Kind, out.What = model.ProblemRefused, err.Error()
			return out, true
		}
	}
	return out, false
}

// Mesh gives the state of the published ports, as this node's kernel has it
// now, and the others' have it when they are asked.
func (e *Engine) Mesh(ctx context.Context) (model.MeshStatus, error) {
	late := e.publisher.askOthers(ctx)
	s, err := e.publisher.status()
	for i := range s.Nodes {
		s.Nodes[i].Late = late[s.Nodes[i].Addr]
	}
	return s, err
}

func (p *publisher) status() (model.MeshStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := model.MeshStatus{Node: p.source, Ports: []model.MeshPort{}, Nodes: []model.MeshNode{}}
	if p.sandbox == nil {
		return s, nil
	}
	s.NetworkID, s.Network = p.place.NetworkID, p.place.NetworkName
	found, err := p.drift()
	if err != nil {
		return s, err
	}
	have, _, err := p.observe()
	if err != nil {
		return s, err
	}
	offers := p.offers()
	own := p.account(found)
	where := p.vteps(p.network)
	for _, o := range offers {
		s.Ports = append(s.Ports, p.describe(o, have[o.Port], own.Problems, where))
	}
	self := model.MeshNode{Addr: p.source, Self: true}
	for _, n := range p.nodes(p.network) {
		if n.Self {
			self = n
		} else {
			s.Nodes = append(s.Nodes, n)
		}
	}
	slices.SortFunc(s.Nodes, func(a, b model.MeshNode) int { return a.Addr.Compare(b.Addr) })
	self.Report = &own
	s.Nodes = slices.Insert(s.Nodes, 0, self)
	return s, nil
}

// observe reads what the kernel does with flows to each port, and at which they
// go straight to their tasks. p.mu is held.
func (p *publisher) observe() (all map[mesh.Port]mesh.Observed, straight map[mesh.Port]bool, err error) {
	if all, err = p.node.Observe(); err != nil {
		return nil, nil, err
	}
	list, err := p.host.ObserveStraight()
	straight = make(map[mesh.Port]bool, len(list))
	for port, o := range list {
		all[port], straight[port] = o, true
	}
	return all, straight, err
}

// describe gives a port with its tasks. p.mu is held.
func (p *publisher) describe(o *offer, have mesh.Observed, problems []model.MeshProblem, where map[string]netip.Addr) model.MeshPort {
	out := model.MeshPort{
		Proto: mesh.Proto(o.Proto), Published: o.Published, Service: o.service, ServiceID: o.serviceID,
		Algorithm: cmp.Or(o.options.Algorithm, string(mesh.RoundRobin)), Local: o.options.Local,
		Masquerade: o.options.Masquerade, Idle: o.options.Idle, Bind: o.options.Bind, Backends: []model.MeshBackend{},
	}
	for _, t := range o.tasks {
		node := where[t.EndpointID]
		if t.near {
			node = p.source
		}
		out.Backends = append(out.Backends, model.MeshBackend{
			Task: t.Name, Addr: t.Addr, AddrV6: t.backend.AddrV6, Target: t.target, Node: node,
			Foreign: t.backend.Foreign, Leaving: t.Disabled, Serving: slices.Contains(have.V4, t.Addr),
		})
	}
	for _, problem := range problems {
		if problem.Port == "" || problem.Port == o.Port.String() {
			out.Problems = append(out.Problems, problem)
		}
	}
	return out
}
