package ingress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/errdefs"

	"weft/wizard"
)

// atOnce is how many questions are under way at a time: a port that is silent
// takes as long as a Prober waits.
const atOnce = 64

// question is whether a port answers at an address.
type question struct {
	port Port
	addr string
}

// ask has ports asked at every node that is up, and gives the addresses at which
// each answers, sorted.
func (c *Swarm) ask(ctx context.Context, w *World, ports []Port) map[Port][]string {
	var list []question
	for _, p := range ports {
		for _, n := range w.Nodes {
			if n.Addr != "" && n.Ready() {
				list = append(list, question{p, n.Addr})
			}
		}
	}
	yes := make([]bool, len(list))
	room := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, q := range list {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			yes[i] = c.Prober.Answers(ctx, q.addr, q.port)
		})
	}
	wg.Wait()
	out := map[Port][]string{}
	for i, q := range list {
		if yes[i] {
			out[q.port] = append(out[q.port], q.addr)
		}
	}
	for p := range out {
		slices.Sort(out[p])
		out[p] = slices.Compact(out[p]) // two services may have a port in host mode
	}
	return out
}

// probe finds out which of the ports answer now, and where: on every node for
// those of the mesh, on any for those of a task's node.
func (c *Swarm) probe(ctx context.Context, w *World, s *saved) {
	var ports []Port
	each := func(do func(k *kept, svc *Service)) {
		for _, list := range [][]kept{s.Services, s.Bystanders} {
			for i := range list {
				j := slices.IndexFunc(w.Services, func(svc Service) bool { return svc.ID == list[i].ID })
				do(&list[i], &w.Services[j])
			}
		}
	}
	each(func(_ *kept, svc *Service) { ports = append(ports, svc.Ports...) })
	now := c.ask(ctx, w, ports)
	each(func(k *kept, svc *Service) {
		for _, p := range svc.Ports {
			if addrs := now[p]; len(addrs) > 0 {
				k.Answered = append(k.Answered, answer{p, addrs})
			} else {
				k.Silent = append(k.Silent, p)
			}
		}
	})
}

func (c *Swarm) verifyStep(s *saved) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "verify", Title: "Verify specs, network and ports against what was before"},
		Do:      func(ctx context.Context, log *wizard.Log) error { return c.verify(ctx, s, log) },
		Keep:    true,
	}
}

func (c *Swarm) verify(ctx context.Context, s *saved, log *wizard.Log) error {
	now, err := c.Observer.Ingress(ctx)
	if err != nil {
		return err
	}
	if now == nil || !now.like(&s.New) {
		return &wizard.FinalError{Err: fmt.Errorf("the ingress network is not %s", describe(&s.New))}
	}
	for i := range s.Services {
		if err := c.intact(ctx, &s.Services[i]); err != nil {
			return err
		}
	}
	for _, k := range slices.Concat(s.Services, s.Bystanders) {
		for _, p := range k.Silent {
			log.Note(k.Name, p.String()+" is unverifiable: it did not answer before either")
		}
	}
	return c.until(ctx, "for ports that answered before", func(ctx context.Context) ([]lack, error) {
		w, err := c.Observer.Observe(ctx)
		if err != nil {
			return nil, err
		}
		return c.mute(ctx, &w, slices.Concat(s.Services, s.Bystanders)), nil
	}, log)
}

// intact looks whether a service has left the state it was in meanwhile. What
// somebody else has made of it has been told when it was put back.
func (c *Swarm) intact(ctx context.Context, k *kept) error {
	svc, err := c.Observer.Service(ctx, k.ID)
	if errdefs.IsNotFound(err) {
		return nil // putBack has told
	}
	if err != nil {
		return err
	}
	now, errNow := parse(svc.Spec)
	was, errWas := parse(k.Spec)
	meanwhile, err := parse(k.Detached)
	if err := errors.Join(errNow, errWas, err); err != nil {
		return fmt.Errorf("service %s: %w", k.Name, err)
	}
	for _, part := range parts() {
		if !same(now[part], was[part]) && same(now[part], meanwhile[part]) {
			return &wizard.FinalError{Err: fmt.Errorf("service %s: %s is not as it was: somebody has taken it back", k.Name, part)}
		}
	}
	return nil
}

// mute names the ports of services that answered before and do not now.
func (c *Swarm) mute(ctx context.Context, w *World, services []kept) []lack {
	type expected struct {
		answer
		service string
	}
	var list []expected
	var ports []Port
	for _, k := range services {
		i := slices.IndexFunc(w.Services, func(s Service) bool { return s.ID == k.ID })
		if i < 0 {
			continue // putBack has told
		}
		for _, was := range k.Answered {
			was.Port = renumbered(was.Port, w.Services[i].Ports)
			list, ports = append(list, expected{was, k.Name}), append(ports, was.Port)
		}
	}
	now := c.ask(ctx, w, ports)
	var missing []lack
	for _, was := range list {
		is := now[was.Port]
		if !was.Port.Ingress() {
			if len(is) == 0 {
				missing = append(missing, lack{fmt.Sprintf("%s of %s", was.Port, was.service), "answers on no node"})
			}
			continue
		}
		for _, addr := range was.Addrs {
			if !slices.Contains(is, addr) {
				missing = append(missing, lack{fmt.Sprintf("%s of %s at %s", was.Port, was.service, addr), "does not answer"})
			}
		}
	}
	return missing
}

// renumbered gives the present form of a port, whose number the engine may have
// chosen anew.
func renumbered(p Port, now []Port) Port {
	if slices.Contains(now, p) {
		return p
	}
	for _, q := range now {
		if q.TargetPort == p.TargetPort && q.Protocol == p.Protocol && q.PublishMode == p.PublishMode {
			return q
		}
	}
	return p
}
