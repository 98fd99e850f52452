package dockerapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
)

// statusOf gives the HTTP status of an error by its class, as
// api/server/httpstatus does: the outermost class decides.
func statusOf(err error) int {
	if errors.Is(err, tooLarge{}) {
		return http.StatusRequestEntityTooLarge
	}
	resolved := errdefs.Resolve(err)
	for _, c := range []struct {
		is     func(error) bool
		status int
	}{
		{errdefs.IsNotFound, http.StatusNotFound},
		{errdefs.IsInvalidArgument, http.StatusBadRequest},
		{errdefs.IsConflict, http.StatusConflict},
		{errdefs.IsUnauthorized, http.StatusUnauthorized},
		{errdefs.IsUnavailable, http.StatusServiceUnavailable},
		{errdefs.IsPermissionDenied, http.StatusForbidden},
		{errdefs.IsNotModified, http.StatusNotModified},
		{errdefs.IsNotImplemented, http.StatusNotImplemented},
	} {
		if c.is(resolved) {
			return c.status
		}
	}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			if status := statusOf(e); status != http.StatusInternalServerError {
				return status
			}
		}
	}
	return http.StatusInternalServerError
}

// notModified is the answer to a request for what is so already. It has no
// body.
type notModified struct{}

func (notModified) Error() string { return "not modified" }

// NotModified gives the class.
func (notModified) NotModified() {}

// tooLarge is the refusal of a body of more than maxBody bytes.
type tooLarge struct{}

func (tooLarge) Error() string { return fmt.Sprintf("request body larger than %d bytes", maxBody) }
