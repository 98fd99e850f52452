package weftapi_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"weft/engine/weftapi"
)

func TestUnknownEndpoint(t *testing.T) {
	api := weftapi.New(weftapi.Config{Log: slog.New(slog.DiscardHandler)})
	for _, path := range []string{"/weft/v1/", "/weft/v1/nothing"} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		if got := w.Body.String(); w.Code != http.StatusNotFound || got != "{\"message\":\"page not found\"}\n" {
			t.Errorf("%s: %d %q", path, w.Code, got)
		}
	}
}
