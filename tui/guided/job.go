package guided

import (
	"context"
	"errors"

	tea "github.com/charmbracelet/bubbletea"

	"weft/wizard"
)

// errInterrupted is why a run was stopped from the keyboard.
var errInterrupted = errors.New("interrupted")

// job is a run that is going on, in a goroutine that ends with it.
type job struct {
	cancel context.CancelCauseFunc
	told   chan tea.Msg  // events, then one ended
	deaf   chan struct{} // closed when nobody listens any more
	done   chan struct{} // closed when result is there
	result ended
}

// happened is an event of the job.
type happened struct{ wizard.Event }

// ended is how the job has ended.
type ended struct {
	outcome wizard.Outcome
	err     error
}

// begin starts a job, and gives the command that fetches what it tells first.
func (d *desk) begin(do func(context.Context, Report) (wizard.Outcome, error)) tea.Cmd {
	ctx, cancel := context.WithCancelCause(d.ctx)
	j := &job{cancel: cancel, told: make(chan tea.Msg), deaf: make(chan struct{}), done: make(chan struct{})}
	d.job = j
	go func() {
		defer cancel(nil)
		out, err := do(ctx, func(e wizard.Event) { j.tell(happened{e}) })
		j.result = ended{out, err}
		close(j.done)
		j.tell(j.result)
	}()
	return j.next
}

func (j *job) tell(msg tea.Msg) {
	select {
	case j.told <- msg:
	case <-j.deaf:
	}
}

// next waits for what the job tells.
func (j *job) next() tea.Msg {
	select {
	case msg := <-j.told:
		return msg
	case <-j.deaf:
		return nil
	}
}

// stop has the job come to rest, which leaves its run open.
func (j *job) stop() { j.cancel(errInterrupted) }

// finish stops the job when nobody listens any more, and waits for it.
func (j *job) finish() ended {
	close(j.deaf)
	j.stop()
	<-j.done
	return j.result
}

// end keeps how the job has ended.
func (d *desk) end(e ended) {
	d.job = nil
	d.ending = Ending{Outcome: e.outcome, Err: e.err}
}
