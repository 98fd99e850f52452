package ingress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"weft/wizard"
)

// poll is how often the swarm is looked at while waiting, and blips how often
// in a row it may fail to answer.
const (
	poll  = 500 * time.Millisecond
	blips = 20
)

// settle is how long nodes get to let go of a network where they can't be
// seen: two heartbeats, by which a node and its manager know that they hear
// each other (SwarmKit's dispatcher, 5 s).
const settle = 10 * time.Second

// touchEvery is how long a node that was touched gets to join a network.
const touchEvery = 10 * time.Second

// lack is something that is waited for.
type lack struct {
	subject string // a node, a service, a port
	text    string // what it still does, or does not
}

func sentence(list []lack) string {
	var words []string
	for _, l := range list {
		words = append(words, l.subject+" "+l.text)
	}
	return strings.Join(words, ", ")
}

// until waits for done, which gives what is still missing.
func (c *Swarm) until(ctx context.Context, what string, done func(context.Context) ([]lack, error), log *wizard.Log) error {
	end := c.Now().Add(c.Patience)
	told, failures := map[string]string{}, 0
	for {
		missing, err := done(ctx)
		final := (*wizard.FinalError)(nil)
		switch {
		case err == nil:
			failures = 0
			tell(log, told, missing)
			if len(missing) == 0 {
				return nil
			}
		case errors.As(err, &final) || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		default:
			if failures++; failures > blips {
				return err
			}
		}
		if !c.Now().Before(end) {
			return &wizard.FinalError{Err: fmt.Errorf("waited %v %s: %s", c.Patience, what, sentence(missing))}
		}
		if err := c.Sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// tell tells what has changed since it was told last.
func tell(log *wizard.Log, told map[string]string, missing []lack) {
	now := map[string]string{}
	for _, l := range missing {
		if now[l.subject] = l.text; told[l.subject] != l.text {
			log.Progress(l.subject, l.text)
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(told)) {
		if _, is := now[subject]; !is {
			log.Progress(subject, "done")
			delete(told, subject)
		}
	}
	maps.Copy(told, now)
}

// drained waits until no task holds an endpoint of the present ingress network,
// and no node is down: it would keep its tasks, and with them a ruin of the
// network, whatever happens here.
func (c *Swarm) drained(ctx context.Context, s *saved, log *wizard.Log) error {
	return c.until(ctx, "for tasks to give up their endpoints", func(ctx context.Context) ([]lack, error) {
		w, missing, err := c.holding(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, n := range w.Nodes {
			if !n.Ready() {
				missing = append(missing, lack{n.Hostname, "is " + n.State})
			}
		}
		return missing, nil
	}, log)
}

// drainedBack does the same on the way back, where it must not hang on a node
// that is down.
func (c *Swarm) drainedBack(ctx context.Context, s *saved, log *wizard.Log) error {
	var w World
	err := c.until(ctx, "for tasks to give up their endpoints", func(ctx context.Context) (missing []lack, err error) {
		w, missing, err = c.holding(ctx, s)
		return missing, err
	}, log)
	if err == nil {
		absent(&w, log)
	}
	return err
}

// holding looks for tasks on nodes that are up.
func (c *Swarm) holding(ctx context.Context, s *saved) (World, []lack, error) {
	w, err := c.Observer.Observe(ctx)
	if err != nil || w.Ingress == nil {
		return w, nil, err
	}
	return w, holders(&w, w.Ingress.ID), intruder(&w, s)
}

// absent tells of nodes that were not waited for.
func absent(w *World, log *wizard.Log) {
	for _, n := range w.Nodes {
		if !n.Ready() {
			log.Note(n.Hostname, "was "+n.State+" and was not waited for: if published ports do not answer on it when it is back, restart its daemon")
		}
	}
}

// intruder looks for a service that publishes ports through the network: with it
// the network can't be removed. The run's own have been taken off it.
func intruder(w *World, s *saved) error {
	for _, svc := range w.Services {
		published, err := Published(svc.Spec)
		if err != nil || len(published) == 0 {
			continue
		}
		what := "was created meanwhile and publishes ports"
		if slices.ContainsFunc(s.Services, func(k kept) bool { return k.ID == svc.ID }) {
			what = "publishes ports again: somebody has put them back"
		}
		return &wizard.FinalError{Err: fmt.Errorf("service %s %s; nobody may do so while the ingress network is replaced", svc.Name, what)}
	}
	return nil
}

// holders names the services that have a task with an endpoint of a network,
// and the nodes these are on.
func holders(w *World, network string) []lack {
	var list []lack
	for _, t := range w.Tasks {
		i := slices.IndexFunc(w.Nodes, func(n Node) bool { return n.ID == t.Node })
		if !t.Holds(network) || i >= 0 && !w.Nodes[i].Ready() {
			continue
		}
		name, node := t.Service, "no node yet"
		if j := slices.IndexFunc(w.Services, func(s Service) bool { return s.ID == t.Service }); j >= 0 {
			name = w.Services[j].Name
		}
		if i >= 0 {
			node = w.Nodes[i].Hostname
		}
		list = append(list, lack{name + " on " + node, "has a task that is " + t.State})
	}
	slices.SortFunc(list, func(a, b lack) int { return cmp.Or(cmp.Compare(a.subject, b.subject), cmp.Compare(a.text, b.text)) })
	return slices.CompactFunc(list, func(a, b lack) bool { return a.subject == b.subject })
}

// letGo waits until no node that is up has one of these networks any more: as
// the nodes say, and for those that can't be asked the time that one needs.
func (c *Swarm) letGo(ctx context.Context, log *wizard.Log, networks ...string) error {
	var w World
	blind := true
	err := c.until(ctx, "for nodes to let go of "+networks[0], func(ctx context.Context) (missing []lack, err error) {
		if w, err = c.Observer.Observe(ctx); err != nil {
			return nil, err
		}
		missing, blind, err = c.keeping(ctx, &w, networks)
		return missing, err
	}, log)
	if err != nil {
		return err
	}
	absent(&w, log)
	if !blind {
		return nil
	}
	log.Progress("", fmt.Sprintf("not every node can be asked: waiting %v", settle))
	return c.Sleep(ctx, settle)
}

// keeping names the nodes that still have one of these networks. blind: one of
// them can't be asked.
func (c *Swarm) keeping(ctx context.Context, w *World, networks []string) (list []lack, blind bool, err error) {
	if w.Ingress != nil && slices.Contains(networks, w.Ingress.Spec.Name) {
		list = append(list, lack{"the manager", "still shows " + w.Ingress.Spec.Name})
	}
	for _, n := range w.Nodes {
		if !n.Ready() {
			continue
		}
		for _, name := range networks {
			has, seen, err := c.Nodes.Has(ctx, n, name)
			if err != nil {
				return nil, blind, fmt.Errorf("node %s: %w", n.Hostname, err)
			}
			blind = blind || !seen
			if has {
				list = append(list, lack{n.Hostname, "still has " + name})
			}
		}
	}
	return list, blind, nil
}

// joined waits until every node that is up has joined the ingress network. A
// node gets its place in a new one with the next event of its own or of one of
// its tasks (SwarmKit's allocator), for which an idle node may wait for ever: so
// each is touched.
//
// A daemon may fail to join, because it looks for its address in the network
// before it has noted it (moby, executor.Configure), and tries again only when
// its node has really changed: so one that takes long gets a mark, and loses it.
func (c *Swarm) joined(ctx context.Context, spec NetworkSpec, log *wizard.Log) error {
	touched := map[string]time.Time{}
	err := c.until(ctx, "for nodes to join "+spec.Name, func(ctx context.Context) ([]lack, error) {
		now, err := c.Observer.Ingress(ctx)
		if err != nil {
			return nil, err
		}
		if now == nil {
			return nil, &wizard.FinalError{Err: fmt.Errorf("network %s is gone: somebody else has removed it", spec.Name)}
		}
		w, err := c.Observer.Observe(ctx)
		if err != nil {
			return nil, err
		}
		var missing []lack
		for _, n := range w.Nodes {
			in := now.Joined(n)
			switch {
			case !n.Ready() || in && !n.Marked:
				continue
			case in:
				missing = append(missing, lack{n.Hostname, "has still a mark of ours"})
			default:
				missing = append(missing, lack{n.Hostname, "is not in it yet"})
			}
			if err := c.touch(ctx, n, in, touched); err != nil {
				return nil, fmt.Errorf("touch node %s: %w", n.Hostname, err)
			}
		}
		return missing, nil
	}, log)
	if final := (*wizard.FinalError)(nil); errors.As(err, &final) && ctx.Err() == nil {
		return &wizard.FinalError{Err: fmt.Errorf("%w; a node that does not join may hold a ruin of an older ingress network: restart its daemon", err)}
	}
	return err
}

// touch reminds a node of its place, if it was not done just now.
func (c *Swarm) touch(ctx context.Context, n Node, in bool, touched map[string]time.Time) error {
	last, again := touched[n.ID]
	if !in && again && c.Now().Sub(last) < touchEvery {
		return nil
	}
	touched[n.ID] = c.Now()
	return c.Changer.TouchNode(ctx, n.ID, again && !in && !n.Marked)
}

// Joined looks for a node among the peers, which are known by the node's
// address and by its hostname with a suffix (libnetwork's agent).
func (n *Network) Joined(node Node) bool {
	return slices.ContainsFunc(n.Peers, func(p Peer) bool {
		return p.Addr != "" && p.Addr == node.Addr || p.Name == node.Hostname || strings.HasPrefix(p.Name, node.Hostname+"-")
	})
}

func (c *Swarm) convergeStep(s *saved) wizard.Step {
	return wizard.Step{
		Planned: wizard.Planned{ID: "converge", Title: "Wait until the services run"},
		Do:      func(ctx context.Context, log *wizard.Log) error { return c.converged(ctx, s, log) },
	}
}

// converged waits until each service has as many tasks running as it had, and
// no update under way.
func (c *Swarm) converged(ctx context.Context, s *saved, log *wizard.Log) error {
	settled := map[string]bool{}
	return c.until(ctx, "for services", func(ctx context.Context) ([]lack, error) {
		w, err := c.Observer.Observe(ctx)
		if err != nil {
			return nil, err
		}
		var missing []lack
		for i := range s.Services {
			k := &s.Services[i]
			if settled[k.ID] {
				continue
			}
			text, err := c.lacks(ctx, k, w.Tasks, w.up())
			if err != nil {
				return nil, err
			}
			if text != "" {
				missing = append(missing, lack{k.Name, text})
				continue
			}
			settled[k.ID] = true
			if since := log.Began("detach:" + k.ID); !since.IsZero() {
				log.Note(k.Name, fmt.Sprintf("was interrupted for at most %v", c.Now().Sub(since).Round(100*time.Millisecond)))
			}
		}
		return missing, nil
	}, log)
}

// lacks says what a service has not got back yet, with so many nodes up.
func (c *Swarm) lacks(ctx context.Context, k *kept, tasks []Task, up int) (string, error) {
	svc, err := c.Observer.Service(ctx, k.ID)
	if errdefs.IsNotFound(err) {
		return "", nil // putBack has told
	}
	if err != nil {
		return "", err
	}
	switch svc.Update {
	case "paused", "rollback_paused", "rollback_started", "rollback_completed":
		return "", &wizard.FinalError{Err: fmt.Errorf("the update of service %s is %s: %s", k.Name, svc.Update, svc.Message)}
	case "updating":
		return "is being updated", nil
	}
	want := k.Running
	if replicas(k.Spec, -1) < 0 { // of a mode that has one task per node
		want = min(want, up)
	}
	if n := running(tasks, k.ID); n < want {
		return fmt.Sprintf("has %d of %d tasks running", n, want), nil
	}
	return "", nil
}
