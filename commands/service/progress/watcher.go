package progress

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// API is what is asked of the daemon.
type API interface {
	ServiceInspectWithRaw(ctx context.Context, id string, options swarm.ServiceInspectOptions) (swarm.Service, []byte, error)
	TaskList(ctx context.Context, options swarm.TaskListOptions) ([]swarm.Task, error)
	NodeList(ctx context.Context, options swarm.NodeListOptions) ([]swarm.Node, error)
}

const (
	pollInterval = 200 * time.Millisecond

	// defaultMonitor is how long tasks must run before the service counts as
	// converged, where its update configuration does not say.
	defaultMonitor = 5 * time.Second
)

// Watcher follows one service.
type Watcher struct {
	API   API
	Board *Board
	Now   func() time.Time

	// Program is the name of the command the advice after an interruption
	// names.
	Program string

	// Pause waits for d or until ctx ends; nil is a timer.
	Pause func(ctx context.Context, d time.Duration)

	view        view
	converged   bool
	convergedAt time.Time
	rollback    bool
	parting     string // said of a completed rollback once the service has converged
}

// view shows the tasks of one service mode.
type view interface {
	// show reports whether the tasks are what the service asks for.
	show(s snapshot) (bool, error)
}

// snapshot is what was read in one round.
type snapshot struct {
	service  swarm.Service
	tasks    []swarm.Task
	active   map[string]bool // nodes that are not down
	rollback bool
}

// Wait returns when the service has converged, or its update has stopped for
// good (an error that says why). The end of ctx is not an error: the cluster
// goes on, and the board says so.
func (w *Watcher) Wait(ctx context.Context, serviceID string) error {
	for {
		done, err := w.round(ctx, serviceID)
		switch {
		case ctx.Err() != nil:
			w.interrupted(serviceID)
			return w.Board.Err()
		case err != nil:
			return err
		case done:
			return w.Board.Err()
		}
		w.pause(ctx)
	}
}

func (w *Watcher) pause(ctx context.Context) {
	if w.Pause != nil {
		w.Pause(ctx, pollInterval)
		return
	}
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (w *Watcher) interrupted(serviceID string) {
	if !w.converged {
		w.Board.Message("Operation continuing in background.")
		w.Board.Message(fmt.Sprintf("Use `%s service ps %s` to check progress.", w.Program, serviceID))
	}
}

func (w *Watcher) round(ctx context.Context, serviceID string) (done bool, err error) {
	service, _, err := w.API.ServiceInspectWithRaw(ctx, serviceID, swarm.ServiceInspectOptions{})
	if err != nil {
		return false, err
	}
	if w.view == nil {
		if w.view, err = newView(service, w.Board); err != nil {
			return false, err
		}
	}
	if done, err = w.readUpdateStatus(service.UpdateStatus); done || err != nil {
		return done, err
	}
	monitor := monitorPeriod(service)
	if w.converged && w.Now().Sub(w.convergedAt) >= monitor {
		w.Board.Set("verify", fmt.Sprintf("Service %s converged", serviceID))
		if w.parting != "" {
			w.Board.Set("rollback", w.parting)
		}
		return true, nil
	}
	snap, err := w.read(ctx, service)
	if err != nil {
		return false, err
	}
	if w.converged, err = w.view.show(snap); err != nil {
		return false, err
	}
	return w.judge(service, monitor), nil
}

func monitorPeriod(s swarm.Service) time.Duration {
	if s.Spec.UpdateConfig != nil && s.Spec.UpdateConfig.Monitor != 0 {
		return s.Spec.UpdateConfig.Monitor
	}
	return defaultMonitor
}

func (w *Watcher) read(ctx context.Context, service swarm.Service) (snapshot, error) {
	// _up-to-date leaves out the tasks of former specifications.
	tasks, err := w.API.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(
		filters.Arg("service", service.ID), filters.Arg("_up-to-date", "true"),
	)})
	if err != nil {
		return snapshot{}, err
	}
	nodes, err := w.API.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return snapshot{}, err
	}
	active := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		active[n.ID] = n.Status.State != swarm.NodeStateDown
	}
	return snapshot{service: service, tasks: tasks, active: active, rollback: w.rollback}, nil
}

// readUpdateStatus reports that an update is over, or that it stopped.
func (w *Watcher) readUpdateStatus(status *swarm.UpdateStatus) (done bool, err error) {
	if status == nil {
		return false, nil
	}
	switch status.State {
	case swarm.UpdateStateUpdating:
		w.rollback = false
	case swarm.UpdateStateCompleted:
		return !w.converged, nil
	case swarm.UpdateStatePaused:
		return false, errors.New("service update paused: " + status.Message)
	case swarm.UpdateStateRollbackPaused:
		return false, errors.New("service rollback paused: " + status.Message)
	case swarm.UpdateStateRollbackStarted:
		if !w.rollback && status.Message != "" {
			w.Board.Set("rollback", status.Message)
		}
		w.rollback = true
	case swarm.UpdateStateRollbackCompleted:
		if !w.converged {
			w.parting = status.Message
		}
		w.rollback = true
	}
	return false, nil
}

// judge says what a round's outcome means. A job is over when it has
// converged; any other service has to stay converged for the period.
func (w *Watcher) judge(service swarm.Service, monitor time.Duration) (done bool) {
	switch {
	case w.converged && service.JobStatus != nil:
		w.Board.Message("job complete")
		return true
	case w.converged:
		if w.convergedAt.IsZero() {
			w.convergedAt = w.Now()
		}
		if left := monitor - w.Now().Sub(w.convergedAt); left >= 0 {
			seconds := max(1, (left+time.Second-1)/time.Second)
			w.Board.Set("verify", fmt.Sprintf("Waiting %d seconds to verify that tasks are stable...", seconds))
		}
	case !w.convergedAt.IsZero():
		w.Board.Set("verify", "Detected task failure")
		w.convergedAt = time.Time{}
	}
	return false
}
