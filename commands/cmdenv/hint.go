package cmdenv

import "errors"

type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// WithHint adds an explanation to an error, which Main prints below its text.
// The error's own text and class stay as they are.
func WithHint(err error, hint string) error { return hinted{err, hint} }

// Hint gives the explanation that comes with an error, empty if there is none.
func Hint(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}
