package dockerapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"weft/engine/dockerapi"
	"weft/engine/dockerapi/apitest"
)

func TestPing(t *testing.T) {
	b := newBed(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		status, h, body := b.do(method, "/_ping", "")
		want := map[string]string{
			"Api-Version": "1.51", "Docker-Experimental": "false", "Ostype": "linux", "Builder-Version": "1", "Swarm": "inactive",
			"Weft-Api-Version": "1", "Server": "Docker/" + apitest.Version + " (linux)", "Content-Type": "text/plain; charset=utf-8",
			"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache",
		}
		for k, v := range want {
			if h.Get(k) != v {
				t.Errorf("%s: %s is %q, want %q", method, k, h.Get(k), v)
			}
		}
		if status != http.StatusOK || body != strings.TrimPrefix("OK", strings.Repeat("OK", len(method)-3)) {
			t.Errorf("%s: %d %q", method, status, body)
		}
	}
}

func TestPingTellsTheSwarm(t *testing.T) {
	b := newBed(t)
	c := b.docker("")
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { _, err := c.SwarmInit(t.Context(), swarm.InitRequest{}); return err }, "active/manager"},
		{func() error { return c.SwarmLeave(t.Context(), true) }, "inactive"},
		{func() error { return c.SwarmJoin(t.Context(), swarm.JoinRequest{JoinToken: apitest.WorkerToken}) }, "active/worker"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if _, h, _ := b.do("GET", "/_ping", ""); h.Get("Swarm") != step.want {
			t.Errorf("Swarm is %q, want %q", h.Get("Swarm"), step.want)
		}
	}
}

func TestVersions(t *testing.T) {
	b := newBed(t)
	c := b.docker("")
	if _, err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.ClientVersion() != dockerapi.MaxVersion {
		t.Errorf("negotiated %s", c.ClientVersion())
	}
	for _, v := range apiVersions {
		got, err := b.docker(v).ServerVersion(t.Context())
		if err != nil || got.APIVersion != "1.51" || got.MinAPIVersion != "1.24" {
			t.Errorf("%s: %+v, %v", v, got, err)
		}
	}
	b.refused("GET", "/v1.99/info", "", 400, "client version 1.99 is too new. Maximum supported API version is 1.51")
	b.refused("GET", "/v1.52/volumes", "", 400, "client version 1.52 is too new. Maximum supported API version is 1.51")
	for _, v := range []string{"1.23", "1", "0", "..."} {
		status, h, body := b.do("GET", "/v"+v+"/info", "")
		if want := "client version " + v + " is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"; status != 400 || body != want || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %q (%s)", v, status, body, h.Get("Content-Type"))
		}
	}
}

func TestUnknownRoutes(t *testing.T) {
	b := newBed(t)
	for _, r := range []string{
		"GET /", "GET /nosuch", "GET /v1.41/nosuch", "GET /v1.99/nosuch", "GET /containers", "GET /containers/json/json/x",
		"POST /info", "DELETE /swarm", "PUT /networks/x", "HEAD /info", "PATCH /_ping", "GET /vx/info", "GET /v/info",
		"GET /weft/v1/drift", "DELETE /networks/", "GET /containers//json/x",
	} {
		method, path, _ := strings.Cut(r, " ")
		if method == "HEAD" {
			if status, _, _ := b.do(method, path, ""); status != 404 {
				t.Errorf("%s: %d", r, status)
			}
			continue
		}
		b.refused(method, path, "", 404, "page not found")
	}
	if status, _, body := b.do("OPTIONS", "/anything", ""); status != 200 || body != "" {
		t.Errorf("OPTIONS: %d %q", status, body)
	}
}

func TestUnsupportedRoutesSayWhatIsMissing(t *testing.T) {
	b := newBed(t)
	for _, r := range []string{
		"PUT /volumes/x", "POST /build", "POST /session", "POST /grpc", "GET /plugins", "GET /secrets", "POST /secrets/create",
		"POST /containers/x/pause", "GET /containers/x/top", "GET /containers/x/attach/ws", "POST /commit",
		"GET /images/search", "POST /auth", "GET /system/df", "GET /services/x/logs", "POST /images/a/b/push",
		"GET /containers/x/changes",
	} {
		method, path, _ := strings.Cut(r, " ")
		status, _, body := b.do(method, "/v1.41"+path, "")
		if status != 501 || !strings.HasPrefix(body, `{"message":"this engine `) {
			t.Errorf("%s: %d %s", r, status, body)
		}
	}
	if log := b.log.String(); log != "" {
		t.Errorf("what a client may not ask for is no error of the engine's:\n%s", log)
	}
}

func TestBodies(t *testing.T) {
	b := newBed(t)
	b.docker("") // so that the negotiation is not what fails
	const path = "/v1.41/networks/create"
	b.refused("POST", path, `{`, 400, "invalid JSON: unexpected EOF")
	b.refused("POST", path, `{"Name":1}`, 400, "invalid JSON: json: cannot unmarshal number into Go struct field CreateRequest.Name of type string")
	b.refused("POST", path, `{invalid json`, 400, "invalid JSON: invalid character 'i' looking for beginning of object key string")
	b.refused("POST", path, ` `, 400, "invalid JSON: got EOF while reading request body")
	b.refused("POST", path, `{"Name":"a"} and more`, 400, "unexpected content after JSON")
	b.refused("POST", path, `{"Name":"`+strings.Repeat("x", 5<<20)+`"}`, 413, "request body larger than 4194304 bytes")
	b.refused("POST", "/containers/create", "", 400, "invalid JSON: got EOF while reading request body")
	b.refused("POST", "/containers/create", "{}", 400, "config cannot be empty in order to create a container")
	b.refused("GET", "/networks?filters=%zz", "", 400, `invalid URL escape "%zz"`)
	for _, c := range []struct{ contentType, want string }{
		{"text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"},
		{"foo;;;bar", "malformed Content-Type header (foo;;;bar): mime: invalid media parameter"},
		{"", "malformed Content-Type header (): mime: no media type"},
	} {
		status, _, body := b.send("POST", path, c.contentType, `{"Name":"a"}`)
		if got := parse[object](t, body)["message"]; status != 400 || got != c.want {
			t.Errorf("%q: %d %v", c.contentType, status, got)
		}
	}
}

func TestPanicCostsItsRequestOnly(t *testing.T) {
	b := newBed(t)
	b.Panic()
	b.refused("GET", "/v1.41/info", "", 500, "internal error: the engine's log has the details")
	if log := b.log.String(); !strings.Contains(log, "request panicked") || !strings.Contains(log, "apitest.systemBackend.Info") {
		t.Errorf("the log says:\n%s", log)
	}
	b.ok("GET", "/version", "")
}

func TestInfo(t *testing.T) {
	b := newBed(t)
	info := parse[object](t, b.ok("GET", "/v1.24/info", ""))
	if got := info["SecurityOptions"].([]any); len(got) != 1 || got[0] != "seccomp" {
		t.Errorf("1.24 SecurityOptions: %v", got)
	}
	for v, want := range map[string]bool{"1.41": true, "1.49": true, "1.50": false} {
		if _, has := parse[object](t, b.ok("GET", "/v"+v+"/info", ""))["BridgeNfIptables"]; has != want {
			t.Errorf("%s: BridgeNfIptables there is %v", v, has)
		}
	}
	for _, v := range apiVersions {
		got, err := b.docker(v).Info(t.Context())
		if err != nil || got.Swarm.LocalNodeState != swarm.LocalNodeStateInactive {
			t.Errorf("%s: %v, %v", v, got.Swarm, err)
		}
	}
}

func TestExtra(t *testing.T) {
	e := apitest.New(time.Now)
	t.Cleanup(e.Close)
	b := &bed{Engine: e, t: t, log: &buffer{}}
	b.socket = apitest.Serve(t, dockerapi.New(dockerapi.Config{
		Backends: e.Backends(), Version: "9", Now: time.Now, Log: nil,
		Extra: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("extra " + r.URL.Path)) }),
	}))
	if _, h, body := b.do("GET", "/weft/v1/drift", ""); body != "extra /weft/v1/drift" || h.Get("Weft-Api-Version") != "1" {
		t.Errorf("%q %v", body, h)
	}
	if !slices.Contains(strings.Fields(b.String()), "inactive") {
		t.Error(b.String())
	}
}
