package swarmtest

import (
	"cmp"
	"slices"
)

// Trouble is what new tasks of a service suffer from.
type Trouble int

// The troubles. They end for tasks made after a rollback has begun.
const (
	NoTrouble Trouble = iota
	Hang              // they are prepared for ever
	FailStart         // they end as soon as they start
)

// SetTrouble gives a service's new tasks trouble, or takes it away.
func (s *Swarm) SetTrouble(name string, t Trouble) {
	s.changeService(name, func(v *service) { v.trouble = t })
}

// SetUpdateStatus sets a service's update status, as "paused" or "updating",
// with the message; an empty state removes it.
func (s *Swarm) SetUpdateStatus(name, state, message string) {
	s.changeService(name, func(v *service) {
		v.update = nil
		if state != "" {
			v.update = &updateStatus{state: state, message: message, started: stamp(s.now())}
		}
		s.touch(&v.meta)
	})
}

func (s *Swarm) changeService(name string, change func(*service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.service(name)
	if err != nil {
		s.tb.Error(err)
		return
	}
	change(v)
}

// troubleOf gives what a task suffers from.
func (s *Swarm) troubleOf(t *task) Trouble {
	v := t.service
	if t.key != v.key || v.update != nil && (v.update.state == rollbackStarted || v.update.state == rollbackCompleted) {
		return NoTrouble
	}
	return v.trouble
}

const (
	updating          = "updating"
	rollbackStarted   = "rollback_started"
	rollbackCompleted = "rollback_completed"
)

func (v *service) inUpdate() bool {
	return v.update != nil && (v.update.state == updating || v.update.state == rollbackStarted)
}

func (v *service) paused() bool {
	return v.update != nil && (v.update.state == "paused" || v.update.state == "rollback_paused")
}

// slot is the tasks that are to run in one place of a service: the one there
// was before an update, the one it makes.
type slot struct {
	number   int
	node     *node
	old, now *task
}

// orchestrate makes a service's tasks what its spec says.
func (s *Swarm) orchestrate(v *service) {
	s.dropLost(v)
	slots := s.slots(v)
	if n, replicated := replicas(v.spec); replicated {
		slots = s.scale(v, slots, n)
	} else {
		slots = s.cover(v, slots)
	}
	for _, t := range s.tasks {
		if t.service == v && t.desired == ready && (t.after == nil || t.after.ended() || !t.after.node.up()) {
			s.want(t, running)
		}
	}
	if !v.paused() {
		s.roll(v, slots)
	}
}

// dropLost gives up tasks that have failed or whose node may not have them any
// more. A failure during an update is answered as the spec says.
func (s *Swarm) dropLost(v *service) {
	for _, t := range s.tasks {
		if t.service != v || t.desired > running {
			continue
		}
		switch {
		case t.ended():
			s.want(t, shutdown)
			if t.key == v.key && v.inUpdate() {
				s.updateFailed(v, t)
			}
		case t.node != nil && !t.node.runs():
			s.want(t, shutdown)
		}
	}
}

func (s *Swarm) updateFailed(v *service, t *task) {
	config := v.updateConfig()
	action := str(config, "FailureAction")
	back := v.update.state == rollbackStarted
	switch {
	case action == "continue":
		return
	case action == "rollback" && !back && v.previous != nil:
		v.update.state = rollbackStarted
		v.update.message = "update rolled back due to failure or early termination of task " + t.id
		v.setSpec(v.previous)
		v.previous, v.monitor = nil, 0
	case back:
		v.update.state = "rollback_paused"
		v.update.message = "rollback paused due to failure or early termination of task " + t.id
	default:
		v.update.state = "paused"
		v.update.message = "update paused due to failure or early termination of task " + t.id
	}
	s.touch(&v.meta)
}

func (v *service) updateConfig() object {
	if v.update != nil && v.update.state == rollbackStarted {
		return child(v.spec, "RollbackConfig")
	}
	return child(v.spec, "UpdateConfig")
}

// slots gives a service's places that have a task, in order.
func (s *Swarm) slots(v *service) []*slot {
	var list []*slot
	for _, t := range s.tasks {
		if t.service != v || t.desired > running {
			continue
		}
		i := slices.IndexFunc(list, func(p *slot) bool { return p.number == t.slot && (t.slot != 0 || p.node == t.node) })
		if i < 0 {
			i = len(list)
			list = append(list, &slot{number: t.slot, node: t.node})
		}
		if t.key == v.key {
			list[i].now = t
		} else {
			list[i].old = t
		}
	}
	slices.SortStableFunc(list, func(a, b *slot) int { return cmp.Compare(a.number, b.number) })
	return list
}

func (p *slot) tasks() []*task {
	return slices.DeleteFunc([]*task{p.old, p.now}, func(t *task) bool { return t == nil })
}

// scale brings a replicated service to its number of tasks.
func (s *Swarm) scale(v *service, slots []*slot, n int) []*slot {
	for len(slots) > n {
		for _, t := range slots[len(slots)-1].tasks() {
			s.want(t, remove)
		}
		slots = slots[:len(slots)-1]
	}
	for number := 1; len(slots) < n; number++ {
		if !slices.ContainsFunc(slots, func(p *slot) bool { return p.number == number }) {
			slots = append(slots, &slot{number: number, now: s.newTask(v, number, nil)})
		}
	}
	return slots
}

// cover puts a task of a global service on each node.
func (s *Swarm) cover(v *service, slots []*slot) []*slot {
	for _, n := range s.nodes {
		if n.takes() && !slices.ContainsFunc(slots, func(p *slot) bool { return p.node == n }) {
			slots = append(slots, &slot{node: n, now: s.newTask(v, 0, n)})
		}
	}
	return slots
}

// roll replaces tasks of an older spec, as many at a time as the spec allows.
func (s *Swarm) roll(v *service, slots []*slot) {
	var dirty []*slot
	busy := 0
	for _, p := range slots {
		switch {
		case p.old != nil && p.now == nil:
			dirty = append(dirty, p)
		case p.old != nil && p.now.state == running:
			s.want(p.old, shutdown)
			p.now.updating = false
			busy++
		case p.old != nil || p.now.updating && p.now.state < running:
			busy++
		default:
			p.now.updating = false
		}
	}
	if busy+len(dirty) == 0 {
		s.finish(v)
		return
	}
	v.monitor = 0
	if v.update == nil {
		v.update = &updateStatus{state: updating, message: "update in progress", started: stamp(s.now())}
		s.touch(&v.meta)
	}
	most := 1
	if config := v.updateConfig(); config != nil {
		most = number(config, "Parallelism")
	}
	for _, p := range dirty {
		if most == 0 || busy < most {
			s.replace(v, p)
			busy++
		}
	}
}

func (s *Swarm) replace(v *service, p *slot) {
	t := s.newTask(v, p.number, p.node)
	t.updating = true
	if str(v.updateConfig(), "Order") == "start-first" {
		return
	}
	t.desired, t.after = ready, p.old
	if p.old.node == nil {
		t.after = nil
	}
	s.want(p.old, shutdown)
}

// finish completes an update whose tasks have run for a while.
func (s *Swarm) finish(v *service) {
	if !v.inUpdate() {
		return
	}
	if v.monitor++; v.monitor <= s.cfg.pace.Monitor {
		return
	}
	if v.update.state == rollbackStarted {
		v.update.state, v.update.message = rollbackCompleted, "rollback completed"
	} else {
		v.update.state, v.update.message = "completed", "update completed"
	}
	v.update.completed = stamp(s.now())
	s.touch(&v.meta)
}
