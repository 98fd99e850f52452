package progress

import (
	"fmt"
	"sort"
	"strings"

	"github.com/docker/docker/api/types/swarm"
)

// stage gives the order in which a task passes its states. A state that is
// not here (orphaned, remove) is not shown.
func stage(s swarm.TaskState) int {
	switch s {
	case swarm.TaskStateNew:
		return 1
	case swarm.TaskStateAllocated:
		return 2
	case swarm.TaskStatePending:
		return 3
	case swarm.TaskStateAssigned:
		return 4
	case swarm.TaskStateAccepted:
		return 5
	case swarm.TaskStatePreparing:
		return 6
	case swarm.TaskStateReady:
		return 7
	case swarm.TaskStateStarting:
		return 8
	case swarm.TaskStateRunning:
		return stageRunning
	case swarm.TaskStateComplete:
		return stageComplete
	case swarm.TaskStateShutdown:
		return 11
	case swarm.TaskStateFailed:
		return 12
	case swarm.TaskStateRejected:
		return 13
	case swarm.TaskStateRemove, swarm.TaskStateOrphaned:
		return 0
	default:
		return 0
	}
}

const (
	stageRunning  = 9
	stageComplete = 10

	// maxBars is the largest number of tasks that are shown one by one.
	maxBars = 20

	// stateColumns is the length of the longest state's name, preparing.
	stateColumns = 9
)

func isOver(s swarm.TaskState) bool { return stage(s) > stageRunning }

func isKnown(t swarm.Task) bool { return stage(t.DesiredState) > 0 && stage(t.Status.State) > 0 }

// precedes orders two tasks of one slot: the one that is wanted less far comes
// first (a restart leaves tasks behind), then the one that has come less far
// (an update that starts first has two).
func precedes(a, b swarm.Task) bool {
	if stage(a.DesiredState) != stage(b.DesiredState) {
		return stage(a.DesiredState) < stage(b.DesiredState)
	}
	return stage(a.Status.State) < stage(b.Status.State)
}

// pick keeps one task for each key: the first by the order given.
func pick[K comparable](tasks []swarm.Task, key func(swarm.Task) K, before func(a, b swarm.Task) bool) map[K]swarm.Task {
	out := map[K]swarm.Task{}
	for _, t := range tasks {
		if old, ok := out[key(t)]; !ok || before(t, old) {
			out[key(t)] = t
		}
	}
	return out
}

func slotOf(t swarm.Task) int    { return t.Slot }
func nodeOf(t swarm.Task) string { return t.NodeID }

func keep(tasks []swarm.Task, wanted func(swarm.Task) bool) []swarm.Task {
	var out []swarm.Task
	for _, t := range tasks {
		if wanted(t) {
			out = append(out, t)
		}
	}
	return out
}

func sortedKeys[K int | string](m map[K]swarm.Task) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i] < keys[j] })
	return keys
}

func isRunning(t swarm.Task) bool {
	return !isOver(t.DesiredState) && t.Status.State == swarm.TaskStateRunning
}

// showTask draws one task's line: its error if it has one, else its state
// unless it is over.
func showTask(b *Board, id string, t swarm.Task) {
	switch {
	case t.Status.Err != "":
		b.Set(id, oneLine(t.Status.Err))
	case !isOver(t.DesiredState) && !isOver(t.Status.State):
		b.Bar(id, fmt.Sprintf("%-*s", stateColumns, t.Status.State), stage(t.Status.State), stageRunning)
	}
}

// showJobTask draws one task's line of a job, where complete is the goal.
func showJobTask(b *Board, id string, t swarm.Task) {
	if t.Status.Err != "" {
		b.Set(id, oneLine(t.Status.Err))
		return
	}
	b.Bar(id, fmt.Sprintf("%-*s", stateColumns, t.Status.State), stage(t.Status.State), stageComplete)
}

// oneLine shortens an error so that it fits a line of a narrow terminal.
func oneLine(s string) string {
	const limit = 75
	s = strings.ReplaceAll(s, "\n", " ")
	if runes := []rune(s); len(runes) > limit {
		s = string(runes[:limit-1]) + "…"
	}
	return s
}

func showOverall(b *Board, s snapshot, running, total int) {
	text := fmt.Sprintf("%d out of %d tasks", running, total)
	if s.rollback {
		text = "rolling back update: " + text
	}
	b.Set("overall progress", text)
}
