package wizard

import (
	"encoding/json"
	"time"
)

// Event is one thing a run has to tell, in the order in which things happen.
// As JSON it is one line of the output of --json.
type Event struct {
	Time    time.Time `json:"time"`
	Run     string    `json:"run"`
	Type    EventType `json:"type"`
	Step    string    `json:"step,omitempty"`
	Subject string    `json:"subject,omitempty"` // a node, a service, a port
	Text    string    `json:"text,omitempty"`
	Outcome Result    `json:"outcome,omitempty"`
}

// EventType says what an event is about.
type EventType string

// The types of events.
const (
	StepBegins EventType = "step-begin"
	StepEnds   EventType = "step-end"
	StepFails  EventType = "step-fail"
	StepRetry  EventType = "step-retry"
	UndoBegins EventType = "undo-begin"
	UndoEnds   EventType = "undo-end"
	UndoFails  EventType = "undo-fail"
	GoesBack   EventType = "rollback" // the run is taken back from here on
	Progresses EventType = "progress"
	Notes      EventType = "note" // something the report at the end repeats
	Ends       EventType = "outcome"
)

// Note is something a step has found out that belongs into the report.
type Note struct {
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text"`
}

// Log is how a step tells what goes on. It belongs to one call of the step.
type Log struct {
	emit  func(EventType, string, string)
	began map[string]time.Time
	notes []Note
}

// Began says when a step of the run was begun first, or gives the zero time.
func (l *Log) Began(step string) time.Time { return l.began[step] }

// Progress tells how far a node, a service or a port has come.
func (l *Log) Progress(subject, text string) { l.emit(Progresses, subject, text) }

// Note tells something that is kept with the run, and repeated in its report.
func (l *Log) Note(subject, text string) {
	l.notes = append(l.notes, Note{subject, text})
	l.emit(Notes, subject, text)
}

func (l *Log) record() json.RawMessage {
	if len(l.notes) == 0 {
		return nil
	}
	text, err := json.Marshal(l.notes)
	if err != nil { // two strings always have a JSON form
		return nil
	}
	return text
}

// Result is how a run stands.
type Result string

// The results.
const (
	ResultDone       Result = "done"
	ResultRefused    Result = "refused"     // nothing was changed
	ResultRolledBack Result = "rolled-back" // it failed, or was taken back, and all is as before
	ResultAborted    Result = "aborted"     // left as it is, on purpose
	ResultOpen       Result = "open"        // to be resumed or rolled back
)

// Outcome is what a run came to.
type Outcome struct {
	Run    string
	Result Result
	Err    error  // why it is not done
	Step   string // ID of the step at which it stopped
	Notes  []Note
}
