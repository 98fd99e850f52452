package progress

import (
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/swarm"
)

func newView(s swarm.Service, b *Board) (view, error) {
	mode := s.Spec.Mode
	switch {
	case mode.Replicated != nil && mode.Replicated.Replicas != nil:
		return &replicated{board: b, line: map[int]int{}}, nil
	case mode.Global != nil:
		return &global{board: b}, nil
	case mode.ReplicatedJob != nil && s.JobStatus != nil:
		return &replicatedJob{board: b}, nil
	case mode.GlobalJob != nil && s.JobStatus != nil:
		return &globalJob{board: b}, nil
	}
	return nil, errors.New("unrecognized service mode")
}

// replicated shows a line per slot.
type replicated struct {
	board   *Board
	line    map[int]int // slot -> line, so that lines come without gaps
	started bool
	settled bool // all were running; task lines stay as they are until one is not
}

func (v *replicated) show(s snapshot) (bool, error) {
	mode := s.service.Spec.Mode.Replicated
	if mode == nil || mode.Replicas == nil {
		return false, errors.New("no replica count")
	}
	want := int(*mode.Replicas) //nolint:gosec // G115: a swarm has fewer tasks than an int can count
	if !v.started {
		v.start(s, want)
	}
	tasks := pick(keep(s.tasks, func(t swarm.Task) bool {
		return isKnown(t) && (t.NodeID == "" || s.active[t.NodeID])
	}), slotOf, precedes)
	v.settled = v.settled && allRunning(tasks)
	running := 0
	for _, slot := range sortedKeys(tasks) {
		if isRunning(tasks[slot]) {
			running++
		}
		if line := v.lineOf(slot); !v.settled && want <= maxBars && line <= want {
			showTask(v.board, fmt.Sprintf("%d/%d", line, want), tasks[slot])
		}
	}
	if !v.settled {
		showOverall(v.board, s, running, want)
	}
	v.settled = v.settled || running == want
	return running == want, nil
}

func (v *replicated) start(s snapshot, want int) {
	v.started = true
	showOverall(v.board, s, 0, want)
	if want > maxBars {
		return
	}
	for i := 1; i <= want; i++ {
		v.board.Set(fmt.Sprintf("%d/%d", i, want), " ")
	}
}

func (v *replicated) lineOf(slot int) int {
	if v.line[slot] == 0 {
		v.line[slot] = len(v.line) + 1
	}
	return v.line[slot]
}

func allRunning[K comparable](tasks map[K]swarm.Task) bool {
	for _, t := range tasks {
		if t.Status.State != swarm.TaskStateRunning {
			return false
		}
	}
	return true
}

// global shows a line per node. How many nodes there will be is known from the
// tasks only, which are all made at once.
type global struct {
	board   *Board
	started bool
	settled bool
}

func (v *global) show(s snapshot) (bool, error) {
	tasks := pick(keep(s.tasks, isKnown), nodeOf, precedes)
	if !v.started && len(tasks) == 0 {
		v.board.Set("overall progress", "waiting for new tasks")
		return false, nil
	}
	if !v.started {
		showOverall(v.board, s, 0, len(tasks))
		v.started = true
	}
	v.settled = v.settled && allRunning(tasks)
	running := 0
	for _, node := range sortedKeys(tasks) {
		if !s.active[node] {
			continue
		}
		if isRunning(tasks[node]) {
			running++
		}
		if !v.settled && len(tasks) <= maxBars {
			showTask(v.board, shortID(node), tasks[node])
		}
	}
	if !v.settled {
		showOverall(v.board, s, running, len(tasks))
	}
	v.settled = v.settled || running == len(tasks)
	return running == len(tasks), nil
}

func shortID(id string) string { return id[:min(len(id), 12)] }
