package wizard

import (
	"context"
	"encoding/json"
	"fmt"
)

// Flow is a kind of workflow, bound to the cluster it changes.
type Flow interface {
	// Plan observes the cluster and plans for the answers given, changing
	// nothing. Bad answers are an error; what speaks against going on are
	// findings of the plan.
	Plan(ctx context.Context, answers json.RawMessage) (Draft, error)
	// Steps gives the steps of a plan, in order. It reads nothing but its
	// arguments, so that another process gets the same steps.
	Steps(plan Plan, saved json.RawMessage) ([]Step, error)
}

// Step is one change of the cluster, or the wait for one to arrive. Do and
// Undo are idempotent: both may find their work done in part or in whole. Both
// return an error of ctx when it ends.
type Step struct {
	Planned

	Do func(context.Context, *Log) error
	// Undo takes Do back, whether or not it had an effect. Nil: nothing to
	// take back.
	Undo func(context.Context, *Log) error
	// Check says whether Do has had its effect. Nil: only doing it tells.
	Check func(context.Context) (State, error)
	// Keep leaves the run open when the step fails: taking everything back
	// may be worse than what failed.
	Keep bool
}

// State is what a Check has found.
type State int

// The states.
const (
	NotDone State = iota // as before the step
	Done                 // as after it
	Foreign              // neither: somebody else was here
)

// Lock is held in the cluster by one run at a time.
type Lock interface {
	// Acquire takes the lock for a run, or finds that it has it already. Who
	// else has it is a *HeldError.
	Acquire(ctx context.Context, h Holder) error
	// Release gives up the lock if the run has it.
	Release(ctx context.Context, run string) error
}

// Holder is who has the lock of a cluster.
type Holder struct {
	Run   string `json:"run"`
	Flow  string `json:"flow"`
	Host  string `json:"host"` // the machine whose state directory has the journal
	User  string `json:"user"`
	Since string `json:"since"` // RFC 3339
}

// HeldError says that another run has the cluster.
type HeldError struct{ By Holder }

func (e *HeldError) Error() string {
	return fmt.Sprintf("the cluster is locked by run %[1]s (%s), started by %s on %s at %s; if that run has died for good, take its lock with --take-over %[1]s",
		e.By.Run, e.By.Flow, e.By.User, e.By.Host, e.By.Since)
}
