package guided

import (
	"context"

	"weft/wizard"
)

// Driver does what the pages ask for, by the very calls the commands make. Only
// Try, Command and Carry are quick: they are called while drawing, at the same
// time as others.
type Driver interface {
	// Open gives the runs that this machine has left open.
	Open(ctx context.Context) ([]wizard.Run, error)
	// Look gets ready for Try, and says what answers that are left out amount
	// to.
	Look(ctx context.Context) (Values, error)
	// Try judges answers.
	Try(answers Values) Trial
	Plan(ctx context.Context, answers Values) (wizard.Draft, error)
	Start(ctx context.Context, d wizard.Draft, report Report) (wizard.Outcome, error)
	Resume(ctx context.Context, run string, report Report) (wizard.Outcome, error)
	Rollback(ctx context.Context, run string, report Report) (wizard.Outcome, error)
	// Command gives the command line with which weft, asked with these words,
	// speaks to the same engine. Carry does so for words that change something.
	Command(words string) string
	Carry(words string) string
}

// Report takes the events of a run.
type Report func(wizard.Event)

// Values are answers, or what they amount to, by name.
type Values map[string]string

// Trial is what can be said of answers at once.
type Trial struct {
	Words   string            // after weft's name, that give the same answers
	Remarks map[string]Remark // by the answer's name; that of "" is about all
}

// Remark is what is to be said of one answer.
type Remark struct {
	Severity  wizard.Severity
	Text, Fix string
}

// Field is a line of the form.
type Field struct {
	Name    string // of the answer
	Label   string
	Help    string
	Choices []string // nil: anything may be typed; the first one is taken when nothing is chosen
}

// Task is what a person is led through.
type Task struct {
	Title  string
	Fields []Field // none: there is nothing to be answered
	Driver Driver
}

// Ending is how a person has left.
type Ending struct {
	Outcome wizard.Outcome // of the last run; zero: none was started
	Err     error          // what kept it from having an outcome, or the wizard from working
	Refused bool           // the plan could not be carried out
	Seen    bool           // the outcome was shown
}
