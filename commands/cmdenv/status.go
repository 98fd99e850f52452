package cmdenv

// Exit codes that mean something beyond done (0) and error (1).
const (
	CodeUsage    = 125 // wrong flags, or a container that could not be made
	CodeTemplate = 64  // a --format template that does not parse, as Docker's inspect
)

// StatusError is an error that chooses the exit code. With neither text nor
// cause nothing is printed, which is how `run` passes on a container's code.
type StatusError struct {
	Code   int    // not zero
	Status string // text to print; empty is Cause's
	Cause  error
}

// Error gives the text to print, which may be empty.
func (e StatusError) Error() string {
	if e.Status == "" && e.Cause != nil {
		return e.Cause.Error()
	}
	return e.Status
}

// Unwrap gives the cause, nil if there is none.
func (e StatusError) Unwrap() error { return e.Cause }

type cancelled struct{ text string }

func (e cancelled) Error() string { return e.text }
func (cancelled) Cancelled()      {}

// Cancelled is an error that ends a command silently with exit code 0: the
// user was asked and said no. It is of errdefs' class Canceled.
func Cancelled(text string) error { return cancelled{text} }
