package wizard

import (
	"encoding/json"
	"fmt"
	"time"

	"weft/wizard/journal"
)

// Run is what a journal says about one execution of a plan.
type Run struct {
	ID      string
	Plan    Plan
	Saved   json.RawMessage // what undoing needs; nil once the run is over
	Started time.Time
	Updated time.Time
	Phases  map[string]Phase     // by step ID
	Begun   map[string]time.Time // likewise, the first time
	Back    bool                 // it is being taken back; there is no way forward any more
	Reason  string               // the last failure, or why it is taken back
	Notes   []Note
	Result  Result // ResultOpen until it is over
}

// Phase is how far a run has come with a step.
type Phase int

// The phases, in the order in which a step goes through them.
const (
	Untouched Phase = iota
	Begun           // may have had an effect
	Ended
	UndoBegun
	Undone
)

// ending is the data of a Finish record.
type ending struct {
	Result Result `json:"result"`
	Reason string `json:"reason,omitempty"`
}

// replay gives the run that the records tell of. They are not empty.
func replay(id string, records []journal.Record) (Run, error) {
	r := Run{ID: id, Phases: map[string]Phase{}, Begun: map[string]time.Time{}, Result: ResultOpen, Started: records[0].Time}
	for _, rec := range records {
		if err := r.apply(rec); err != nil {
			return Run{}, fmt.Errorf("run %s, record %d: %w", id, rec.Seq, err)
		}
	}
	return r, nil
}

func (r *Run) apply(rec journal.Record) error {
	r.Updated = rec.Time
	switch rec.Kind {
	case journal.Start:
		r.Saved = rec.Secret
		var err error
		r.Plan, err = ParsePlan(rec.Data)
		return err
	case journal.Begin:
		r.Phases[rec.Step] = Begun
		r.Begun[rec.Step] = rec.Time
	case journal.End:
		r.Phases[rec.Step] = Ended
		return r.note(rec.Data)
	case journal.Fail:
		return json.Unmarshal(rec.Data, &r.Reason)
	case journal.Back:
		r.Back = true
		return json.Unmarshal(rec.Data, &r.Reason)
	case journal.UndoBegin:
		r.Phases[rec.Step] = UndoBegun
	case journal.UndoEnd:
		r.Phases[rec.Step] = Undone
		return r.note(rec.Data)
	case journal.Finish:
		var e ending
		if err := json.Unmarshal(rec.Data, &e); err != nil {
			return err
		}
		r.Result, r.Reason = e.Result, e.Reason
	default:
		return fmt.Errorf("kind %q is not known to this weft", rec.Kind)
	}
	return nil
}

func (r *Run) note(data json.RawMessage) error {
	if len(data) == 0 {
		return nil
	}
	var notes []Note
	if err := json.Unmarshal(data, &notes); err != nil {
		return err
	}
	r.Notes = append(r.Notes, notes...)
	return nil
}

// Open says whether there is something to resume, roll back or abort.
func (r *Run) Open() bool { return r.Result == ResultOpen }

// InForce counts the steps that are done and not undone.
func (r *Run) InForce() int {
	n := 0
	for _, step := range r.Plan.Steps {
		if r.Phases[step.ID] == Ended {
			n++
		}
	}
	return n
}
