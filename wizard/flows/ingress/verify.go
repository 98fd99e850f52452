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

// baseline finds out which ports of a service answer now, and where: on every
// node for those of the mesh, on any for those of a task's node.
func (c *Swarm) baseline(ctx context.Context, w *World, svc *Service) (answered []answer, silent []Port) {
	for _, p := range svc.Ports {
		if addrs := c.where(ctx, p, w.Nodes); len(addrs) > 0 {
			answered = append(answered, answer{p, addrs})
		} else {
			silent = append(silent, p)
		}
	}
	return answered, silent
}

// where gives the addresses of nodes at which a port answers.
func (c *Swarm) where(ctx context.Context, p Port, nodes []Node) []string {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var list []string
	for _, n := range nodes {
		if n.Addr == "" || !n.Ready() {
			continue
		}
		wg.Go(func() {
			if c.Prober.Answers(ctx, n.Addr, p) {
				mu.Lock()
				defer mu.Unlock()
				list = append(list, n.Addr)
			}
		})
	}
	wg.Wait()
	slices.Sort(list)
	return list
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
		var missing []lack
		for _, list := range [][]kept{s.Services, s.Bystanders} {
			for i := range list {
				missing = append(missing, c.mute(ctx, &w, &list[i])...)
			}
		}
		return missing, nil
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

// mute names the ports of a service that answered before and do not now.
func (c *Swarm) mute(ctx context.Context, w *World, k *kept) []lack {
	i := slices.IndexFunc(w.Services, func(s Service) bool { return s.ID == k.ID })
	if i < 0 {
		return nil // putBack has told
	}
	var list []lack
	for _, was := range k.Answered {
		port := renumbered(was.Port, w.Services[i].Ports)
		is := c.where(ctx, port, w.Nodes)
		if !was.Port.Ingress() {
			if len(is) == 0 {
				list = append(list, lack{fmt.Sprintf("%s of %s", port, k.Name), "answers on no node"})
			}
			continue
		}
		for _, addr := range was.Addrs {
			if !slices.Contains(is, addr) {
				list = append(list, lack{fmt.Sprintf("%s of %s at %s", port, k.Name, addr), "does not answer"})
			}
		}
	}
	return list
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
