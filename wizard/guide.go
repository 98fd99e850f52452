package wizard

import (
	"context"
	"encoding/json"
)

// Guide is a Flow that helps a person to find the answers.
type Guide interface {
	Flow
	// Look observes the cluster once, changing nothing.
	Look(ctx context.Context) (View, error)
}

// View is a cluster at one moment, as far as answers depend on it. It asks
// nobody, so it can be consulted at every key that is typed.
type View interface {
	// Present says what an answer that is left out amounts to, by its name.
	Present() map[string]string
	// Review gives the findings about single answers that planning would give.
	Review(answers json.RawMessage) []Finding
}

// AnswerError says which answer is wrong.
type AnswerError struct {
	Answer string // its name; that of the flag which gives it
	Err    error
}

func (e *AnswerError) Error() string { return e.Err.Error() }
func (e *AnswerError) Unwrap() error { return e.Err }
