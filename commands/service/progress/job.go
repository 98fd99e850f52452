package progress

import (
	"fmt"
	"strconv"

	"github.com/docker/docker/api/types/swarm"
)

// lessFar orders two tasks of a job's slot.
func lessFar(a, b swarm.Task) bool { return stage(a.Status.State) < stage(b.Status.State) }

// ofIteration drops the tasks of a job's former runs.
func ofIteration(s snapshot) []swarm.Task {
	current := s.service.JobStatus.JobIteration.Index
	return keep(s.tasks, func(t swarm.Task) bool {
		return isKnown(t) && t.JobIteration != nil && t.JobIteration.Index == current
	})
}

func digits(n int) int { return len(strconv.Itoa(n)) }

// showJob draws the job's own line. The padding keeps the bar in its place.
func showJob(b *Board, done, total int) {
	text := fmt.Sprintf("%*d out of %d complete", digits(total), done, total)
	if done == 0 || !b.tty {
		b.Set("job progress", text)
		return
	}
	b.Bar("job progress", text, done, total)
}

// replicatedJob shows the job, how many of its tasks are at work, and a line
// per slot.
type replicatedJob struct {
	board   *Board
	started bool
}

func (v *replicatedJob) show(s snapshot) (bool, error) {
	mode := s.service.Spec.Mode.ReplicatedJob
	total, concurrent := 1, 1
	if mode.TotalCompletions != nil {
		total = int(*mode.TotalCompletions) //nolint:gosec // G115: a swarm has fewer tasks than an int can count
	}
	if mode.MaxConcurrent != nil {
		concurrent = int(*mode.MaxConcurrent) //nolint:gosec // G115: as above
	}
	if !v.started {
		v.start(total, concurrent)
	}
	tasks := pick(ofIteration(s), slotOf, lessFar)
	active, done := 0, 0
	for _, slot := range sortedKeys(tasks) {
		t := tasks[slot]
		if total <= maxBars {
			showJobTask(v.board, fmt.Sprintf("%d/%d", slot+1, total), t)
		}
		if stage(t.Status.State) < stageComplete {
			active++
		}
		if t.Status.State == swarm.TaskStateComplete {
			done++
		}
	}
	v.overall(active, done, total, concurrent)
	return done == total, nil
}

func (v *replicatedJob) start(total, concurrent int) {
	v.started = true
	v.overall(0, 0, total, concurrent)
	if total > maxBars {
		return
	}
	for i := 1; i <= total; i++ {
		v.board.Set(fmt.Sprintf("%d/%d", i, total), " ")
	}
}

func (v *replicatedJob) overall(active, done, total, concurrent int) {
	showJob(v.board, done, total)
	wide := digits(concurrent)
	v.board.Set("active tasks", fmt.Sprintf("%*d out of %*d tasks", wide, active, wide, min(total-done, concurrent)))
}

// globalJob shows the job and a line per node. Nodes that join later run the
// job too; they are not waited for.
type globalJob struct {
	board *Board
	nodes map[string]bool // nil until tasks were seen
}

func (v *globalJob) show(s snapshot) (bool, error) {
	tasks := ofIteration(s)
	if v.nodes == nil {
		if len(s.tasks) == 0 && len(s.active) != 0 {
			v.board.Set("job progress", "waiting for tasks")
			return false, nil
		}
		v.nodes = map[string]bool{}
		for _, t := range tasks {
			v.nodes[t.NodeID] = true
		}
		showJob(v.board, 0, len(v.nodes))
	}
	byNode := pick(keep(tasks, func(t swarm.Task) bool { return v.nodes[t.NodeID] }), nodeOf, lessFar)
	done := 0
	for _, node := range sortedKeys(byNode) {
		if len(v.nodes) <= maxBars {
			showJobTask(v.board, node, byNode[node])
		}
		if byNode[node].Status.State == swarm.TaskStateComplete {
			done++
		}
	}
	showJob(v.board, done, len(v.nodes))
	return done == len(v.nodes), nil
}
