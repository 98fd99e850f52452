package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"

	"weft/wizard"
)

// steps gives the way from the old network to the new one. Undone from the
// last to the first it is the way back: what a step waits for when it is done
// is what the way back has to wait for after the step before it is undone.
func (c *Customise) steps(s *saved) []wizard.Step {
	var list []wizard.Step
	if len(s.Services) > 0 {
		list = append(list, c.regardStep(s, func(k *kept) json.RawMessage { return k.Spec }))
	}
	for i := range s.Services {
		list = append(list, c.detachStep(&s.Services[i]))
	}
	if s.Old != nil {
		list = append(list, c.drainStep(s), c.removeStep(s), c.goneStep(s))
	}
	list = append(list, c.createStep(s), c.joinStep(s))
	for i := range s.Services {
		list = append(list, c.restoreStep(&s.Services[i]))
	}
	if len(s.Services) > 0 {
		list = append(list, c.convergeStep(s))
	}
	return append(list, c.verifyStep(s))
}

// regardStep is where the way back ends: with the services as they were, which
// present gives.
func (c *Swarm) regardStep(s *saved, present func(*kept) json.RawMessage) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "services", Title: "Check that the services are as planned"},
		Do: func(ctx context.Context, _ *wizard.Log) error {
			for i := range s.Services {
				k := &s.Services[i]
				svc, err := c.Observer.Service(ctx, k.ID)
				if err == nil && !same(svc.Spec, present(k)) {
					err = &wizard.FinalError{Err: fmt.Errorf("service %s has been changed since the plan was made", k.Name)}
				}
				if errdefs.IsNotFound(err) {
					err = &wizard.FinalError{Err: err}
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
		Undo: func(ctx context.Context, log *wizard.Log) error { return c.converged(ctx, s, log) },
	}
}

func (c *Swarm) detachStep(k *kept) wizard.Step {
	title := fmt.Sprintf("Take %s off service %s", Words(k.Published), k.Name)
	interrupts := "the ports answer nowhere, and the tasks are replaced"
	if k.stops() {
		title += " and stop it"
		interrupts = "the service, for all who use it"
	}
	return wizard.Step{
		Planned: wizard.Planned{ID: "detach:" + k.ID, Title: title, Interrupts: interrupts},
		Do:      func(ctx context.Context, log *wizard.Log) error { return c.takeOff(ctx, k, log) },
		Undo:    func(ctx context.Context, log *wizard.Log) error { return c.putBack(ctx, k, log) },
	}
}

func (c *Swarm) restoreStep(k *kept) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "restore:" + k.ID, Title: fmt.Sprintf("Put %s back on service %s", Words(k.Published), k.Name), Interrupts: "the tasks are replaced"},
		Do:      func(ctx context.Context, log *wizard.Log) error { return c.putBack(ctx, k, log) },
		Undo:    func(ctx context.Context, log *wizard.Log) error { return c.takeOff(ctx, k, log) },
	}
}

// stops says whether the service has no tasks meanwhile, and had some before.
func (k *kept) stops() bool {
	was, errWas := parse(k.Spec)
	meanwhile, err := parse(k.Detached)
	return errors.Join(errWas, err) == nil && !same(was["Mode"], meanwhile["Mode"])
}

// takeOff takes the published ports off a service that has them as they were
// saved.
func (c *Swarm) takeOff(ctx context.Context, k *kept, log *wizard.Log) error {
	theirs, err := c.change(ctx, k, k.Spec, k.Detached)
	if errdefs.IsNotFound(err) {
		log.Note(k.Name, "the service is gone: somebody has removed it")
		return nil
	}
	if err != nil {
		return err
	}
	for _, part := range theirs {
		if part == "EndpointSpec" {
			return &wizard.FinalError{Err: fmt.Errorf("service %s: somebody else has changed its ports meanwhile", k.Name)}
		}
	}
	return nil
}

// putBack puts the saved ports back on a service that is without them. What
// somebody else has made of them meanwhile is left to them.
func (c *Swarm) putBack(ctx context.Context, k *kept, log *wizard.Log) error {
	theirs, err := c.change(ctx, k, k.Detached, k.Spec)
	if errdefs.IsNotFound(err) {
		log.Note(k.Name, "the service is gone: somebody has removed it, and it is not made again")
		return nil
	}
	for _, part := range theirs {
		log.Note(k.Name, part+" was changed by somebody else meanwhile and is left as they made it")
	}
	return err
}

// change updates a service so that what stands in it as in from is as in to,
// and gives the parts that stand in neither form.
func (c *Swarm) change(ctx context.Context, k *kept, from, to []byte) (theirs []string, err error) {
	svc, err := c.Observer.Service(ctx, k.ID)
	if err != nil {
		return nil, err
	}
	spec, theirs, changed, err := transfer(svc.Spec, from, to)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", k.Name, err)
	}
	if !changed {
		return theirs, nil
	}
	return theirs, c.Changer.UpdateService(ctx, k.ID, svc.Version, spec)
}

func (c *Swarm) drainStep(s *saved) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "drain", Title: "Wait until no task holds an endpoint of " + s.Old.Spec.Name},
		Do:      func(ctx context.Context, log *wizard.Log) error { return c.drained(ctx, s, log) },
		Undo:    func(ctx context.Context, log *wizard.Log) error { return c.joined(ctx, s.Old.again(), log) },
	}
}

func (c *Swarm) removeStep(s *saved) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "remove", Title: "Remove network " + s.Old.Spec.Name},
		Do: func(ctx context.Context, _ *wizard.Log) error {
			now, err := c.Observer.Ingress(ctx)
			if err != nil || now == nil {
				return err
			}
			if now.ID != s.Old.ID {
				return &wizard.FinalError{Err: fmt.Errorf("ingress network %s (%.12s) is not the one the plan was made for: somebody else has replaced it", now.Spec.Name, now.ID)}
			}
			return c.remove(ctx, now)
		},
		Undo: func(ctx context.Context, log *wizard.Log) error { return c.recreate(ctx, s.Old, log) },
		Check: func(ctx context.Context) (wizard.State, error) {
			now, err := c.Observer.Ingress(ctx)
			switch {
			case err != nil:
				return wizard.NotDone, err
			case now == nil:
				return wizard.Done, nil
			case now.ID == s.Old.ID:
				return wizard.NotDone, nil
			}
			return wizard.Foreign, nil
		},
	}
}

func (c *Swarm) goneStep(s *saved) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "gone", Title: "Wait until every node has let go of " + s.Old.Spec.Name},
		Do:      func(ctx context.Context, log *wizard.Log) error { return c.letGo(ctx, log, s.Old.Spec.Name) },
		Undo: func(ctx context.Context, log *wizard.Log) error {
			return c.letGo(ctx, log, s.Old.Spec.Name, s.New.Name) // whichever was removed last
		},
	}
}

func (c *Swarm) createStep(s *saved) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "create", Title: "Create network " + describe(&s.New)},
		Do:      func(ctx context.Context, log *wizard.Log) error { return c.create(ctx, s.New, log) },
		Undo: func(ctx context.Context, _ *wizard.Log) error {
			now, err := c.Observer.Ingress(ctx)
			// The old one can only be there if this step has had no effect.
			if err != nil || now == nil || s.Old != nil && now.ID == s.Old.ID {
				return err
			}
			return c.remove(ctx, now)
		},
	}
}

func (c *Swarm) joinStep(s *saved) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "join", Title: "Wait until every node has joined " + s.New.Name},
		Do:      func(ctx context.Context, log *wizard.Log) error { return c.joined(ctx, s.New, log) },
		Undo:    func(ctx context.Context, log *wizard.Log) error { return c.drainedBack(ctx, s, log) },
	}
}

// recreate makes the old network again, unless it was never removed. For a while
// after its removal a manager still shows its own node's copy: only one that
// stays is the network.
func (c *Swarm) recreate(ctx context.Context, old *Network, log *wizard.Log) error {
	for end := c.Now().Add(settle); c.Now().Before(end); {
		now, err := c.Observer.Ingress(ctx)
		if err != nil {
			return err
		}
		if now == nil || now.ID != old.ID {
			break
		}
		if err := c.Sleep(ctx, poll); err != nil {
			return err
		}
	}
	return c.create(ctx, old.again(), log)
}

// create makes an ingress network, unless there is one like it already.
func (c *Swarm) create(ctx context.Context, spec NetworkSpec, log *wizard.Log) error {
	now, err := c.Observer.Ingress(ctx)
	if err != nil {
		return err
	}
	if now == nil {
		log.Progress(spec.Name, "creating")
		return classify(c.Changer.CreateNetwork(ctx, spec))
	}
	if !now.like(&spec) {
		return &wizard.FinalError{Err: fmt.Errorf("there is an ingress network %s already, made by somebody else", describe(&now.Spec))}
	}
	return nil
}

// like says whether n may have been made from spec: what spec leaves to the
// engine may be anything.
func (n *Network) like(spec *NetworkSpec) bool {
	if n.Spec.Name != spec.Name || n.Spec.EnableIPv6 != spec.EnableIPv6 {
		return false
	}
	for key, value := range spec.Options {
		if n.Spec.Options[key] != value {
			return false
		}
	}
	for i, p := range spec.IPAM.Config {
		if i >= len(n.Spec.IPAM.Config) || n.Spec.IPAM.Config[i].Subnet != p.Subnet {
			return false
		}
	}
	return true
}

func (c *Swarm) remove(ctx context.Context, n *Network) error {
	err := c.Changer.RemoveNetwork(ctx, n.ID)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return classify(err)
}

// classify marks what will be refused again however often it is tried.
func classify(err error) error {
	if err == nil || !errdefs.IsInvalidArgument(err) && !errdefs.IsPermissionDenied(err) && !errdefs.IsNotImplemented(err) && !errdefs.IsUnauthorized(err) {
		return err
	}
	final := (*wizard.FinalError)(nil)
	if errors.As(err, &final) {
		return err
	}
	return &wizard.FinalError{Err: err}
}
