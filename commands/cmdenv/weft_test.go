package cmdenv_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestWeftAPI(t *testing.T) {
	w := newWorld(t, "weft")
	w.servers["weft"].Answer("GET /weft/v1/things", http.StatusOK, `{"a":1}`)
	api, err := w.Env.Weft(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	got, err := api.Do(t.Context(), http.MethodGet, "/things", url.Values{"q": {"1"}}, nil)
	if err != nil || string(got) != `{"a":1}` {
		t.Errorf("%s, %v", got, err)
	}
	if asked := w.servers["weft"].Requests(); asked != "GET /weft/v1/things?q=1\n" {
		t.Errorf("asked %q", asked)
	}
}

func TestWeftAPIOverTLS(t *testing.T) {
	host, ca := tlsEngine(t)
	w := newWorld(t)
	w.parse(t, "-H", host, "--tlsverify", "--tlscacert", ca)
	api, err := w.Env.Weft(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Do(t.Context(), http.MethodGet, "/things", nil, nil); err != nil {
		t.Error(err)
	}
}

func TestWeftAPIOfDockerd(t *testing.T) {
	w := newWorld(t, "docker")
	_, err := w.Env.Weft(t.Context(), "things")
	want := "things are weft's own engine's, and unix://" + w.servers["docker"].Socket +
		" (default docker socket) is dockerd: name weft's engine with --host or --engine builtin"
	if err == nil || err.Error() != want || w.servers["docker"].Requests() != "" {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := newWorld(t).Env.Weft(t.Context(), "things"); err == nil || !strings.Contains(err.Error(), "no engine answers") {
		t.Errorf("without an engine: %v", err)
	}
}
