package dockerapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"weft/engine/dockerapi/apitest"
)

// answer serves one request of an engine that is a swarm's manager and has the
// container c, and checks what every answer must be.
func answer(t *testing.T, method, path, body string) {
	e := apitest.New(time.Now)
	defer e.Close()
	h := e.Handler(io.Discard)
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), method, "http://docker/", strings.NewReader(body))
		req.URL.Path, req.URL.RawQuery, _ = strings.Cut(path, "?")
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w
	}
	ask("POST", "/swarm/init", "{}")
	ask("POST", "/containers/create?name=c", `{"Image":"weft/probe"}`)
	w := ask(method, path, body)
	// The one 500 that dockerd answers too: the swarm's store has no code for it.
	if w.Code == http.StatusInternalServerError && !strings.Contains(w.Body.String(), "update out of sequence") {
		t.Errorf("%s %s %q: %d %s", method, path, body, w.Code, w.Body)
	}
	if text := w.Body.Bytes(); w.Code >= 400 && !json.Valid(text) {
		t.Errorf("%s %s %q: %d %q", method, path, body, w.Code, text)
	}
}

func FuzzBody(f *testing.F) {
	paths := []string{
		"/containers/create", "/v1.24/containers/create", "/networks/create", "/networks/ingress/connect", "/networks/ingress/disconnect", "/swarm/join",
		"/swarm/update?version=1", "/swarm/unlock", "/services/create", "/v1.39/services/create", "/services/x/update?version=1", "/nodes/self/update?version=1",
	}
	for i := range paths {
		for _, body := range []string{
			`{}`, `null`, `[]`, `"x"`, `{"Image":"a","HostConfig":{"Ulimits":[null]}}`, `{"Image":"weft/probe","HostConfig":{"NetworkMode":"x","Ulimits":[null],"Mounts":[{}],"Devices":null}}`,
			`{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"x":null,"y":{"IPAMConfig":null}}}}`, `{"Name":"n","Driver":"overlay","IPAM":{"Config":[{}]}}`,
			`{"Container":"c","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.0.0.9"}}}`,
			`{"TaskTemplate":{"ContainerSpec":{"Configs":[null],"Mounts":[{"TmpfsOptions":null}],"Privileges":{}}},"Mode":{"Replicated":{}}}`,
		} {
			f.Add(i, body)
		}
	}
	f.Fuzz(func(t *testing.T, i int, body string) {
		if i < 0 || i >= len(paths) || strings.Contains(body, "eplicas") { // which the fake makes tasks of
			return
		}
		answer(t, "POST", paths[i], body)
	})
}

func FuzzFilters(f *testing.F) {
	paths := []string{"GET /containers/json", "GET /networks", "POST /networks/prune", "POST /containers/prune", "GET /services", "GET /tasks", "GET /nodes", "GET /images/json", "GET /v1.24/networks"}
	for i := range paths {
		for _, filters := range []string{
			``, `{}`, `null`, `{"name":["["]}`, `{"name":{"x":true}}`, `{"label":["a=b"]}`, `{"dangling":["1"]}`, `{"until":["1h"]}`, `{"exited":["-1"]}`, `{"publish":["1-2/tcp"]}`,
			`{"before":["c"]}`, `{"network":[""]}`, `{"reference":["["]}`, `{"is-task":["x"]}`, `{"ancestor":["","sha256:"]}`,
		} {
			f.Add(i, filters)
		}
	}
	f.Fuzz(func(t *testing.T, i int, filters string) {
		if i < 0 || i >= len(paths) {
			return
		}
		method, path, _ := strings.Cut(paths[i], " ")
		answer(t, method, path+"?all=1&filters="+url.QueryEscape(filters), "")
	})
}

func FuzzPath(f *testing.F) {
	for _, p := range []string{"/", "//", "/v1.41/info", "/v9999999999999999999.1/info", "/v1..2/_ping", "/containers/c/logs?stdout=1&tail=x&since=1.5", "/networks/%2F", "/images/a/b/json", "/images//json", "/distribution/x/json"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "events") { // whose streams do not end
			return
		}
		e := apitest.New(time.Now)
		defer e.Close()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://docker/", nil)
		req.URL.Path, req.URL.RawQuery, _ = strings.Cut(path, "?")
		w := httptest.NewRecorder()
		e.Handler(io.Discard).ServeHTTP(w, req)
		// The one 500 that dockerd answers too: the swarm's store has no code for it.
		if w.Code == http.StatusInternalServerError && !strings.Contains(w.Body.String(), "update out of sequence") {
			t.Errorf("%q: %s", path, w.Body)
		}
	})
}

func BenchmarkContainerList(b *testing.B) {
	e := apitest.New(time.Now)
	defer e.Close()
	h := e.Handler(io.Discard)
	ask := func(method, path, body string, into any) {
		req := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if into != nil {
			if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
				b.Fatal(err)
			}
		}
	}
	const containers = 1000
	for i := range containers {
		ask("POST", fmt.Sprintf("/containers/create?name=c%d", i), `{"Image":"weft/probe","HostConfig":{"NetworkMode":"none"}}`, nil)
	}
	var list []container.Summary
	ask("GET", "/containers/json?all=1", "", &list)
	if len(list) != containers {
		b.Fatal(len(list))
	}
	for b.Loop() {
		ask("GET", "/containers/json?all=1", "", nil)
	}
}
