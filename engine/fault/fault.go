// Package fault holds the error kinds the engine's packages return and the
// class each belongs to.
//
// A class is one of containerd/errdefs' (InvalidArgument, NotFound, Conflict,
// PermissionDenied, NotImplemented, Unavailable, Internal): it decides the
// HTTP status and is tested with errdefs.IsX. The text is for people: where
// Docker has a wording for the same refusal, it is Docker's. A kind of its own
// exists only where a caller needs the detail.
package fault

import (
	"errors"
	"fmt"
)

type classed struct {
	msg   string
	cause error
}

func (e *classed) Error() string { return e.msg }
func (e *classed) Unwrap() error { return e.cause }

type (
	invalid     struct{ classed }
	notFound    struct{ classed }
	conflict    struct{ classed }
	forbidden   struct{ classed }
	unsupported struct{ classed }
	unavailable struct{ classed }
	internal    struct{ classed }
)

func (*invalid) InvalidParameter()   {}
func (*notFound) NotFound()          {}
func (*conflict) Conflict()          {}
func (*forbidden) Forbidden()        {}
func (*unsupported) NotImplemented() {}
func (*unavailable) Unavailable()    {}
func (*internal) System()            {}

func classify(format string, args []any) classed {
	err := fmt.Errorf(format, args...) //nolint:err113 // the class, not the text, is what callers branch on
	return classed{msg: err.Error(), cause: errors.Unwrap(err)}
}

// Invalid is a request that can never succeed as it stands (HTTP 400).
func Invalid(format string, args ...any) error { return &invalid{classify(format, args)} }

// NotFound is a reference to something that does not exist (HTTP 404).
func NotFound(format string, args ...any) error { return &notFound{classify(format, args)} }

// Conflict is a request that clashes with what exists (HTTP 409).
func Conflict(format string, args ...any) error { return &conflict{classify(format, args)} }

// Forbidden is a request the state of things does not permit (HTTP 403).
func Forbidden(format string, args ...any) error { return &forbidden{classify(format, args)} }

// Unsupported is something this engine or this kernel cannot do (HTTP 501).
func Unsupported(format string, args ...any) error { return &unsupported{classify(format, args)} }

// Unavailable is something that cannot be done now (HTTP 503).
func Unavailable(format string, args ...any) error { return &unavailable{classify(format, args)} }

// Internal is a valid request that failed on our side (HTTP 500).
func Internal(format string, args ...any) error { return &internal{classify(format, args)} }
