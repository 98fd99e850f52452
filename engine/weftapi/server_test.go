package weftapi_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/engine/fault"
	"weft/engine/model"
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

// attachments is a backend that remembers.
type attachments struct{ list []model.NetworkAttachment }

func (a *attachments) Attach(_ context.Context, req model.AttachRequest) (model.NetworkAttachment, error) {
	if req.Network == "closed" {
		return model.NetworkAttachment{}, fault.Forbidden("network closed not manually attachable")
	}
	made := model.NetworkAttachment{
		ID: "a1", Name: req.Name, Holder: req.Holder(), Network: req.Network, Address: netip.MustParsePrefix("10.20.0.7/24"),
		MAC: "02:42:0a:14:00:07", MTU: 1450, Created: time.Unix(0, 0).UTC(),
	}
	a.list = append(a.list, made)
	return made, nil
}

func (a *attachments) Attachments(context.Context) []model.NetworkAttachment { return a.list }

func (a *attachments) Detach(_ context.Context, id string) error {
	if len(a.list) == 0 || id != "a1" {
		return fault.NotFound("No such attachment: %s", id)
	}
	a.list = nil
	return nil
}

// TestAttachments goes over the endpoints as they are on the wire.
func TestAttachments(t *testing.T) {
	api := weftapi.New(weftapi.Config{Attachments: &attachments{}, Log: slog.New(slog.DiscardHandler)})
	const one = `{"ID":"a1","Name":"vm","Tap":"vm0","Network":"ov","NetworkID":"","Driver":"","Address":"10.20.0.7/24",` +
		`"MacAddress":"02:42:0a:14:00:07","MTU":1450,"Created":"1970-01-01T00:00:00Z"}`
	for _, tt := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "attachments", "", 200, "[]\n"},
		{"POST", "attachments", `{"Network":"ov","Tap":"vm0","Name":"vm","Address":"10.20.0.7"}`, 201, one + "\n"},
		{"GET", "attachments", "", 200, "[" + one + "]\n"},
		{"POST", "attachments", `{"Network":"closed","Tap":"vm0"}`, 403, `{"message":"network closed not manually attachable"}` + "\n"},
		{"POST", "attachments", `{"Address":"10"}`, 400, ""},
		{"POST", "attachments", `{`, 400, ""},
		{"PUT", "attachments", "", 404, `{"message":"page not found"}` + "\n"},
		{"DELETE", "attachments/b2", "", 404, `{"message":"No such attachment: b2"}` + "\n"},
		{"DELETE", "attachments/a1", "", 204, ""},
		{"GET", "attachments", "", 200, "[]\n"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "/weft/v1/"+tt.path, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != tt.status || (tt.answer != "" && w.Body.String() != tt.answer) {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, w.Code, w.Body)
		}
	}
}
