package progress_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"weft/commands/service/progress"
)

// world answers with one round after the other; the last one stays.
type world struct {
	rounds []round
	at     int
	nodes  []swarm.Node
	now    time.Time
}

// round is what the cluster looks like for a while.
type round struct {
	status *swarm.UpdateStatus
	mode   swarm.ServiceMode
	job    bool
	tasks  []swarm.Task
	err    error
	span   time.Duration // how long it stays so; 0 is one pause
}

func (w *world) ServiceInspectWithRaw(context.Context, string, swarm.ServiceInspectOptions) (swarm.Service, []byte, error) {
	r := w.rounds[w.at]
	s := swarm.Service{ID: "sid", UpdateStatus: r.status, Spec: swarm.ServiceSpec{Mode: r.mode}}
	if r.job {
		s.JobStatus = &swarm.JobStatus{JobIteration: swarm.Version{Index: 2}}
	}
	return s, nil, r.err
}

func (w *world) TaskList(_ context.Context, o swarm.TaskListOptions) ([]swarm.Task, error) {
	if !o.Filters.ExactMatch("service", "sid") || !o.Filters.ExactMatch("_up-to-date", "true") {
		return nil, errors.New("wrong filters")
	}
	return w.rounds[w.at].tasks, nil
}

func (w *world) NodeList(context.Context, swarm.NodeListOptions) ([]swarm.Node, error) {
	return w.nodes, nil
}

// pause lets the clock go on, and the world after it.
func (w *world) pause(_ context.Context, d time.Duration) {
	w.now = w.now.Add(d)
	if w.rounds[w.at].span > d {
		w.rounds[w.at].span -= d
		return
	}
	w.at = min(w.at+1, len(w.rounds)-1)
}

func nodes(up, down string) []swarm.Node {
	return []swarm.Node{
		{ID: up, Status: swarm.NodeStatus{State: swarm.NodeStateReady}},
		{ID: down, Status: swarm.NodeStatus{State: swarm.NodeStateDown}},
	}
}

// wait follows the rounds and gives what is shown.
func wait(ctx context.Context, w *world, columns int) (string, error) {
	var out bytes.Buffer
	w.now = time.Unix(1000, 0)
	watcher := progress.Watcher{
		API: w, Board: progress.NewBoard(&out, columns), Program: "weft",
		Now: func() time.Time { return w.now }, Pause: w.pause,
	}
	err := watcher.Wait(ctx, "svc")
	return out.String(), err
}

func replicated(n uint64) swarm.ServiceMode {
	return swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &n}}
}

func task(slot int, node string, state swarm.TaskState) swarm.Task {
	desired := swarm.TaskStateRunning
	return swarm.Task{Slot: slot, NodeID: node, DesiredState: desired, Status: swarm.TaskStatus{State: state}}
}

func failed(slot int, reason string) swarm.Task {
	t := task(slot, "up", swarm.TaskStateStarting)
	t.Status.Err = reason
	return t
}

func jobTask(slot int, node string, iteration uint64, state swarm.TaskState) swarm.Task {
	t := task(slot, node, state)
	t.DesiredState = swarm.TaskStateComplete
	t.JobIteration = &swarm.Version{Index: iteration}
	return t
}

const verified = `verify: Waiting 5 seconds to verify that tasks are stable...
verify: Waiting 4 seconds to verify that tasks are stable...
verify: Waiting 3 seconds to verify that tasks are stable...
verify: Waiting 2 seconds to verify that tasks are stable...
verify: Waiting 1 seconds to verify that tasks are stable...
verify: Service svc converged
`

func TestPlain(t *testing.T) {
	two := []swarm.Task{task(1, "up", swarm.TaskStateRunning), task(2, "up", swarm.TaskStateRunning)}
	shut := task(1, "up", swarm.TaskStateRunning)
	shut.DesiredState = swarm.TaskStateShutdown
	count := uint64(2)
	job := swarm.ServiceMode{ReplicatedJob: &swarm.ReplicatedJob{MaxConcurrent: &count, TotalCompletions: &count}}
	for name, tt := range map[string]struct {
		rounds    []round
		want, err string
	}{
		"converges": {
			rounds: []round{
				{mode: replicated(2)},
				{mode: replicated(2), tasks: []swarm.Task{task(1, "up", swarm.TaskStateRunning), task(2, "", swarm.TaskStatePending)}, span: time.Second},
				{mode: replicated(2), tasks: two},
			},
			want: "overall progress: 0 out of 2 tasks\n1/2:  \n2/2:  \noverall progress: 1 out of 2 tasks\noverall progress: 2 out of 2 tasks\n" + verified,
		},
		"nothing to run": {rounds: []round{{mode: replicated(0)}}, want: "overall progress: 0 out of 0 tasks\n" + verified},
		"many tasks are not shown one by one": {
			rounds: []round{{mode: replicated(21)}, {mode: replicated(21), err: errors.New("gone")}},
			want:   "overall progress: 0 out of 21 tasks\n", err: "gone",
		},
		"fails after it had converged": {
			rounds: []round{
				{mode: replicated(1), tasks: two[:1], span: time.Second},
				{mode: replicated(1), tasks: []swarm.Task{failed(1, "task: non-zero exit (1)\nand "+strings.Repeat("x", 80))}},
				{mode: replicated(1), err: errors.New("enough")},
			},
			want: "overall progress: 0 out of 1 tasks\n1/1:  \noverall progress: 1 out of 1 tasks\n" +
				"verify: Waiting 5 seconds to verify that tasks are stable...\n" +
				"1/1: task: non-zero exit (1) and " + strings.Repeat("x", 46) + "…\noverall progress: 0 out of 1 tasks\nverify: Detected task failure\n",
			err: "enough",
		},
		"a task on a node that is down does not run": {
			rounds: []round{{mode: replicated(1), tasks: []swarm.Task{task(1, "down", swarm.TaskStateRunning)}}, {err: errors.New("stop")}},
			want:   "overall progress: 0 out of 1 tasks\n1/1:  \n", err: "stop",
		},
		"the task that is to stay counts": {
			rounds: []round{{mode: replicated(1), tasks: []swarm.Task{shut, task(1, "up", swarm.TaskStateStarting)}}, {err: errors.New("stop")}},
			want:   "overall progress: 0 out of 1 tasks\n1/1:  \n", err: "stop",
		},
		"paused": {
			rounds: []round{{mode: replicated(1), status: &swarm.UpdateStatus{State: swarm.UpdateStatePaused, Message: "why"}}},
			err:    "service update paused: why",
		},
		"rollback paused": {
			rounds: []round{{mode: replicated(1), status: &swarm.UpdateStatus{State: swarm.UpdateStateRollbackPaused, Message: "why"}}},
			err:    "service rollback paused: why",
		},
		"completed without a change": {rounds: []round{{mode: replicated(1), status: &swarm.UpdateStatus{State: swarm.UpdateStateCompleted}}}},
		"rolled back": {
			rounds: []round{
				{mode: replicated(1), status: &swarm.UpdateStatus{State: swarm.UpdateStateUpdating}},
				{mode: replicated(1), status: &swarm.UpdateStatus{State: swarm.UpdateStateRollbackStarted, Message: "update failed"}},
				{mode: replicated(1), status: &swarm.UpdateStatus{State: swarm.UpdateStateRollbackCompleted, Message: "rolled back"}, tasks: two[:1]},
			},
			want: "overall progress: 0 out of 1 tasks\n1/1:  \nrollback: update failed\noverall progress: rolling back update: 0 out of 1 tasks\n" +
				"overall progress: rolling back update: 1 out of 1 tasks\n" + verified + "rollback: rolled back\n",
		},
		"global": {
			rounds: []round{
				{mode: swarm.ServiceMode{Global: &swarm.GlobalService{}}},
				{mode: swarm.ServiceMode{Global: &swarm.GlobalService{}}, tasks: []swarm.Task{task(0, "up", swarm.TaskStateStarting)}},
				{mode: swarm.ServiceMode{Global: &swarm.GlobalService{}}, tasks: []swarm.Task{task(0, "up", swarm.TaskStateRunning)}},
			},
			want: "overall progress: waiting for new tasks\noverall progress: 0 out of 1 tasks\noverall progress: 1 out of 1 tasks\n" + verified,
		},
		"job": {
			rounds: []round{
				{mode: job, job: true, tasks: []swarm.Task{jobTask(0, "up", 1, swarm.TaskStateComplete)}},
				{mode: job, job: true, tasks: []swarm.Task{jobTask(0, "up", 2, swarm.TaskStateComplete), jobTask(1, "up", 2, swarm.TaskStateRunning)}},
				{mode: job, job: true, tasks: []swarm.Task{jobTask(0, "up", 2, swarm.TaskStateComplete), jobTask(1, "up", 2, swarm.TaskStateComplete)}},
			},
			want: "job progress: 0 out of 2 complete\nactive tasks: 0 out of 2 tasks\n1/2:  \n2/2:  \n" +
				"job progress: 1 out of 2 complete\nactive tasks: 1 out of 1 tasks\njob progress: 2 out of 2 complete\nactive tasks: 0 out of 0 tasks\njob complete\n",
		},
		"global job": {
			rounds: []round{
				{mode: swarm.ServiceMode{GlobalJob: &swarm.GlobalJob{}}, job: true},
				{mode: swarm.ServiceMode{GlobalJob: &swarm.GlobalJob{}}, job: true, tasks: []swarm.Task{jobTask(0, "up", 2, swarm.TaskStateRunning)}},
				{mode: swarm.ServiceMode{GlobalJob: &swarm.GlobalJob{}}, job: true, tasks: []swarm.Task{jobTask(0, "up", 2, swarm.TaskStateComplete), jobTask(0, "late", 2, swarm.TaskStateRunning)}},
			},
			want: "job progress: waiting for tasks\njob progress: 0 out of 1 complete\njob progress: 1 out of 1 complete\njob complete\n",
		},
		"unknown mode": {rounds: []round{{}}, err: "unrecognized service mode"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := wait(t.Context(), &world{rounds: tt.rounds, nodes: nodes("up", "down")}, 0)
			if message(err) != tt.err {
				t.Errorf("error %q, want %q", message(err), tt.err)
			}
			if got != tt.want {
				t.Errorf("shown:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := wait(ctx, &world{rounds: []round{{mode: replicated(1)}}, nodes: nodes("up", "down")}, 0)
	want := "overall progress: 0 out of 1 tasks\n1/1:  \nOperation continuing in background.\nUse `weft service ps svc` to check progress.\n"
	if err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	running := round{mode: replicated(1), tasks: []swarm.Task{task(1, "up", swarm.TaskStateRunning)}}
	got, err = wait(ctx, &world{rounds: []round{running}, nodes: nodes("up", "down")}, 0)
	if err != nil || strings.Contains(got, "background") {
		t.Errorf("interrupted while it is verified: %q, %v", got, err)
	}
}

// On a terminal lines are redrawn in their place; what is seen in the end is
// checked by drawing it.
func TestTerminal(t *testing.T) {
	w := &world{nodes: nodes("up", "down"), rounds: []round{
		{mode: replicated(2), tasks: []swarm.Task{task(1, "up", swarm.TaskStateRunning), task(2, "up", swarm.TaskStatePreparing)}},
		{mode: replicated(2), err: errors.New("stop")},
	}}
	for columns, want := range map[int]string{
		120: "\noverall progress: 1 out of 2 tasks\n" +
			"1/2: running   [==================================================>] \n" +
			"2/2: preparing [=================================>                 ] \n",
		80: "\noverall progress: 1 out of 2 tasks\n1/2: running   \n2/2: preparing \n",
	} {
		w.at = 0
		got, _ := wait(t.Context(), w, columns)
		if seen := screen(t, got); seen != strings.TrimPrefix(want, "\n") {
			t.Errorf("%d columns:\n%s\nwant:\n%s", columns, seen, want)
		}
	}
}

// screen draws what a terminal shows, knowing the few sequences the board uses.
func screen(t *testing.T, text string) string {
	t.Helper()
	lines, row, col := []string{""}, 0, 0
	for len(text) > 0 {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text, "ABK")
			if end < 0 {
				t.Fatalf("unknown sequence in %q", text)
			}
			n := 0
			for _, digit := range text[2:end] {
				n = n*10 + int(digit-'0')
			}
			switch text[end] {
			case 'A':
				row -= n
			case 'B':
				row += n
			case 'K':
				lines[row] = ""
			}
			text = text[end+1:]
		case text[0] == '\r':
			col, text = 0, text[1:]
		case text[0] == '\n':
			row, col, text = row+1, 0, text[1:]
			for row >= len(lines) {
				lines = append(lines, "")
			}
		default:
			lines[row] = lines[row][:col] + text[:1]
			col, text = col+1, text[1:]
		}
	}
	return strings.Join(lines, "\n")
}
