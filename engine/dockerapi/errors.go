package dockerapi

import (
	"errors"
	"fmt"
	"log/slog"
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

// WriteError answers with err as Docker's API does: the status follows from its
// class, the body is a message. What is the engine's own failure is logged. An
// answer that has begun stays as it is.
func WriteError(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	status := statusOf(err)
	logFailure(r, log, status, err)
	if begun, ok := w.(*response); ok && begun.started {
		return
	}
	_ = WriteJSON(w, status, errorBody{err.Error()})
}

func logFailure(r *http.Request, log *slog.Logger, status int, err error) {
	if status >= http.StatusInternalServerError && status != http.StatusNotImplemented && r.Context().Err() == nil {
		log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "status", status, "err", err)
	}
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
