package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
)

func TestClasses(t *testing.T) {
	cases := []struct {
		name string
		make func(string, ...any) error
		is   func(error) bool
	}{
		{"Invalid", fault.Invalid, errdefs.IsInvalidArgument},
		{"NotFound", fault.NotFound, errdefs.IsNotFound},
		{"Conflict", fault.Conflict, errdefs.IsConflict},
		{"Forbidden", fault.Forbidden, errdefs.IsPermissionDenied},
		{"Unsupported", fault.Unsupported, errdefs.IsNotImplemented},
		{"Unavailable", fault.Unavailable, errdefs.IsUnavailable},
		{"Internal", fault.Internal, errdefs.IsInternal},
	}
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			err := fmt.Errorf("around: %w", tc.make("set %s: %w", "it", io.EOF))
			if err.Error() != "around: set it: EOF" || !errors.Is(err, io.EOF) {
				t.Errorf("text or cause lost: %v", err)
			}
			for j, other := range cases {
				if got := other.is(err); got != (i == j) {
					t.Errorf("is %s: %v", other.name, got)
				}
			}
		})
	}
	if err := fault.NotFound("no cause"); errors.Unwrap(err) != nil {
		t.Errorf("cause of %v = %v", err, errors.Unwrap(err))
	}
}
