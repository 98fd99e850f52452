package wizard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft/wizard/journal"
)

// attempts is how often a step is tried before it has failed, and pause what
// is waited after the first time; each pause is twice the one before. Together
// they outlast the restart of a daemon.
const (
	attempts = 6
	pause    = 500 * time.Millisecond
)

// undoing is how often undoing a step is tried: there is nothing left to fall
// back on.
const undoing = 9

// Runner executes the plans of one flow. Its fields are all needed.
type Runner struct {
	Flow   Flow
	Lock   Lock
	Store  *Store
	Host   string // for the Holder: this machine, and who is at it
	User   string
	Report func(Event)
	// Sleep waits, or gives ctx's error when it ends.
	Sleep func(ctx context.Context, d time.Duration) error
	// Stay leaves a run open when a step fails, instead of rolling back.
	Stay bool
}

// execution is one run while it is being worked on.
type execution struct {
	*Runner
	Run
	journal *journal.Journal
	steps   []Step
}

// FinalError is an error of a step that trying again won't mend.
type FinalError struct{ Err error }

func (e *FinalError) Error() string { return e.Err.Error() }
func (e *FinalError) Unwrap() error { return e.Err }

// journalError is a failure to write down what is going on. The run can't go on
// in either direction.
type journalError struct{ error }

func (e journalError) Unwrap() error { return e.error }

// Start carries out a draft that has been agreed to. Under the lock it plans
// once more: if the cluster is not what it was, nothing is changed and the
// outcome is refused. When ctx ends the run is left open.
func (r *Runner) Start(ctx context.Context, d Draft) (Outcome, error) {
	e, err := r.record(d)
	if err != nil {
		return Outcome{}, err
	}
	return e.begin(ctx)
}

// record writes a draft down as a new run.
func (r *Runner) record(d Draft) (*execution, error) {
	steps, err := r.Flow.Steps(d.Plan, d.Saved)
	if err != nil {
		return nil, err
	}
	plan, err := json.Marshal(d.Plan)
	if err != nil {
		return nil, fmt.Errorf("write plan: %w", err)
	}
	id, j, err := r.Store.create()
	if err != nil {
		return nil, err
	}
	if err := j.Append(journal.Record{Kind: journal.Start, Data: plan, Secret: d.Saved}); err != nil {
		return nil, errors.Join(err, r.Store.discard(id, j))
	}
	run, err := replay(id, j.Records())
	if err != nil {
		return nil, errors.Join(err, r.Store.discard(id, j))
	}
	return &execution{r, run, j, steps}, nil
}

// begin works on a run that was just written down. It takes no Draft: where a
// function with a deferred call has a big argument, the collector of Go 1.26
// follows what is left of that while a panic goes through, and crashes.
func (e *execution) begin(ctx context.Context) (Outcome, error) {
	defer e.journal.Close() //nolint:errcheck // every record is on disk, and it may be closed already
	if err := e.enter(ctx); err != nil {
		return e.decline(ctx, err)
	}
	return e.goOn(ctx, e.forward)
}

// enter takes the lock and looks whether the plan still holds.
func (e *execution) enter(ctx context.Context) error {
	if err := e.acquire(ctx); err != nil {
		return err
	}
	now, err := e.Flow.Plan(ctx, e.Plan.Answers)
	switch {
	case err != nil:
	case len(now.Plan.Blockers()) > 0:
		err = fmt.Errorf("%s", now.Plan.Blockers()[0].Text)
	case now.Plan.Digest() != e.Plan.Digest():
		err = errors.New("the cluster has changed since the plan was made: plan again")
	}
	return err
}

// decline forgets a run that was not entered. If the lock can't be given back
// the run stays open: somebody has to.
func (e *execution) decline(ctx context.Context, reason error) (Outcome, error) {
	if err := e.release(ctx); err != nil {
		err = fmt.Errorf("%w; then release the cluster's lock: %w", reason, err)
		return Outcome{Run: e.ID, Result: ResultOpen, Err: err}, nil
	}
	return Outcome{Result: ResultRefused, Err: reason}, e.Store.discard(e.ID, e.journal)
}

func (e *execution) acquire(ctx context.Context) error {
	h := Holder{Run: e.ID, Flow: e.Plan.Flow, Host: e.Host, User: e.User, Since: e.Started.UTC().Format(time.RFC3339)}
	return e.persist(ctx, attempts, func() error { return e.Lock.Acquire(ctx, h) }, nil)
}

// release gives the lock up, also when ctx has ended.
func (e *execution) release(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	return e.persist(ctx, attempts, func() error { return e.Lock.Release(ctx, e.ID) }, nil)
}

// Resume goes on with an open run, in the direction it was going.
func (r *Runner) Resume(ctx context.Context, id string) (Outcome, error) {
	return r.reopen(ctx, id, func(e *execution) func(context.Context) (Outcome, error) {
		if e.Back {
			return e.backward
		}
		return e.forward
	})
}

// Rollback takes an open run back. One that is over is an *OverError.
func (r *Runner) Rollback(ctx context.Context, id string) (Outcome, error) {
	return r.change(ctx, id, func(e *execution) func(context.Context) (Outcome, error) {
		return func(ctx context.Context) (Outcome, error) { return e.turnBack(ctx, "asked to") }
	})
}

// Abort ends an open run and leaves everything as it is. One that is over is an
// *OverError.
func (r *Runner) Abort(ctx context.Context, id string) (Outcome, error) {
	return r.change(ctx, id, func(e *execution) func(context.Context) (Outcome, error) {
		return func(ctx context.Context) (Outcome, error) { return e.finish(ctx, ResultAborted, "asked to") }
	})
}

// change takes up a run to end it otherwise than it would end by itself.
func (r *Runner) change(ctx context.Context, id string, way func(*execution) func(context.Context) (Outcome, error)) (Outcome, error) {
	run, err := r.Store.Load(id)
	if err != nil {
		return Outcome{}, err
	}
	out, err := r.reopen(ctx, id, way)
	if !run.Open() {
		err = errors.Join(&OverError{id, run.Result}, err)
	}
	return out, err
}

func (r *Runner) reopen(ctx context.Context, id string, way func(*execution) func(context.Context) (Outcome, error)) (Outcome, error) {
	run, j, err := r.Store.open(id)
	if err != nil {
		return Outcome{}, err
	}
	defer j.Close() //nolint:errcheck // as in begin
	e := &execution{Runner: r, Run: run, journal: j}
	if !run.Open() { // it was killed when all was done but the cleaning up
		return e.goOn(ctx, e.cleanUp)
	}
	if e.steps, err = r.Flow.Steps(run.Plan, run.Saved); err != nil {
		return Outcome{}, err
	}
	if err := e.acquire(ctx); err != nil {
		return Outcome{}, err
	}
	return e.goOn(ctx, way(e))
}

// goOn works on the run in one direction, and tells what came of it.
func (e *execution) goOn(ctx context.Context, way func(context.Context) (Outcome, error)) (Outcome, error) {
	out, err := way(ctx)
	out.Run, out.Notes = e.ID, e.Notes
	text := ""
	if out.Err != nil {
		text = out.Err.Error()
	}
	e.Report(Event{Time: e.Store.Now(), Run: e.ID, Type: Ends, Step: out.Step, Text: text, Outcome: out.Result})
	return out, err
}

// stopped is the outcome of a run that can't go on at a step, if it is at one.
func stopped(at Step, err error) (Outcome, error) {
	return Outcome{Result: ResultOpen, Err: err, Step: at.ID}, nil
}

func (e *execution) forward(ctx context.Context) (Outcome, error) {
	for _, step := range e.steps {
		if e.Phases[step.ID] == Ended {
			continue
		}
		err := e.do(ctx, step)
		if err == nil {
			continue
		}
		if unwritten := (journalError{}); ctx.Err() != nil || errors.As(err, &unwritten) {
			return stopped(step, err)
		}
		if unwritten := e.append(journal.Fail, step.ID, err.Error()); unwritten != nil {
			return stopped(step, errors.Join(err, unwritten))
		}
		e.emit(step.ID, StepFails, "", err.Error())
		if step.Keep || e.Stay {
			return stopped(step, err)
		}
		return e.turnBack(ctx, fmt.Sprintf("%s: %v", step.Title, err))
	}
	return e.finish(ctx, ResultDone, "")
}

func (e *execution) do(ctx context.Context, step Step) error {
	unknown := e.Phases[step.ID] == Begun
	if !unknown {
		if err := e.append(journal.Begin, step.ID, nil); err != nil {
			return err
		}
	}
	e.emit(step.ID, StepBegins, "", step.Title)
	log := e.log(step.ID)
	err := e.persist(ctx, attempts, func() error {
		if unknown && step.Check != nil {
			done, err := step.settled(ctx)
			if err != nil || done {
				return err
			}
		}
		unknown = true
		return step.Do(ctx, log)
	}, func(err error) { e.emit(step.ID, StepRetry, "", err.Error()) })
	if err != nil {
		return err
	}
	if err := e.append(journal.End, step.ID, log.record()); err != nil {
		return err
	}
	e.emit(step.ID, StepEnds, "", step.Title)
	return nil
}

// settled asks the step's Check whether there is nothing left to do.
func (s *Step) settled(ctx context.Context) (bool, error) {
	state, err := s.Check(ctx)
	if err == nil && state == Foreign {
		err = &FinalError{fmt.Errorf("%s: somebody else has changed this meanwhile", s.Title)}
	}
	return state == Done, err
}

// turnBack takes the run back from here on.
func (e *execution) turnBack(ctx context.Context, reason string) (Outcome, error) {
	if !e.Back {
		if err := e.append(journal.Back, "", reason); err != nil {
			return stopped(Step{}, err)
		}
	}
	e.emit("", GoesBack, "", e.Reason)
	return e.backward(ctx)
}

func (e *execution) backward(ctx context.Context) (Outcome, error) {
	for _, step := range slices.Backward(e.steps) {
		if phase := e.Phases[step.ID]; phase == Untouched || phase == Undone {
			continue
		}
		err := e.undo(ctx, step)
		if err == nil {
			continue
		}
		e.emit(step.ID, UndoFails, "", err.Error())
		return stopped(step, fmt.Errorf("undo %s: %w", step.Title, err))
	}
	return e.finish(ctx, ResultRolledBack, e.Reason)
}

func (e *execution) undo(ctx context.Context, step Step) error {
	if step.Undo == nil {
		return e.append(journal.UndoEnd, step.ID, nil)
	}
	if err := e.append(journal.UndoBegin, step.ID, nil); err != nil {
		return err
	}
	e.emit(step.ID, UndoBegins, "", step.Title)
	log := e.log(step.ID)
	err := e.persist(ctx, undoing, func() error { return step.Undo(ctx, log) },
		func(err error) { e.emit(step.ID, StepRetry, "", err.Error()) })
	if err != nil {
		return err
	}
	if err := e.append(journal.UndoEnd, step.ID, log.record()); err != nil {
		return err
	}
	e.emit(step.ID, UndoEnds, "", step.Title)
	return nil
}

// persist tries fn until it succeeds, fails for good, or has failed too often.
func (e *execution) persist(ctx context.Context, times int, fn func() error, retry func(error)) error {
	wait := pause
	for n := 1; ; n++ {
		err := fn()
		final := (*FinalError)(nil)
		held := (*HeldError)(nil)
		if err == nil || n == times || ctx.Err() != nil || errors.As(err, &final) || errors.As(err, &held) {
			return err
		}
		if retry != nil {
			retry(err)
		}
		if err := e.Sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}

// finish ends the run: first for good on disk, then for the cluster, then the
// secrets go.
func (e *execution) finish(ctx context.Context, result Result, reason string) (Outcome, error) {
	if err := e.append(journal.Finish, "", ending{result, reason}); err != nil {
		return stopped(Step{}, err)
	}
	return e.cleanUp(ctx)
}

func (e *execution) cleanUp(ctx context.Context) (Outcome, error) {
	out := Outcome{Result: e.Result}
	if e.Reason != "" && e.Result != ResultDone {
		out.Err = errors.New(e.Reason)
	}
	if err := e.release(ctx); err != nil {
		return out, fmt.Errorf("release the cluster's lock: %w", err)
	}
	return out, e.journal.Seal()
}

// append writes a record and takes it over into the run.
func (e *execution) append(kind journal.Kind, step string, data any) error {
	rec := journal.Record{Kind: kind, Step: step}
	switch data := data.(type) {
	case nil:
	case json.RawMessage:
		rec.Data = data
	default:
		text, err := json.Marshal(data)
		if err != nil {
			return journalError{err}
		}
		rec.Data = text
	}
	if err := e.journal.Append(rec); err != nil {
		return journalError{err}
	}
	records := e.journal.Records()
	return e.apply(records[len(records)-1])
}

func (e *execution) emit(step string, t EventType, subject, text string) {
	e.Report(Event{Time: e.Store.Now(), Run: e.ID, Type: t, Step: step, Subject: subject, Text: text})
}

func (e *execution) log(step string) *Log {
	return &Log{began: e.Begun, emit: func(t EventType, subject, text string) { e.emit(step, t, subject, text) }}
}
