package weftapi_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"weft/engine/model"
	"weft/engine/weftapi"
)

// fakeMesh notes what is asked.
type fakeMesh struct{ asked model.MeshQuery }

func (*fakeMesh) Mesh(context.Context) (model.MeshStatus, error) {
	return model.MeshStatus{Network: "ingress", Node: netip.MustParseAddr("192.0.2.1")}, nil
}

func (f *fakeMesh) MeshTrace(_ context.Context, q model.MeshQuery) (model.MeshTrace, error) {
	f.asked = q
	return model.MeshTrace{Port: "8080/udp"}, nil
}

func TestMesh(t *testing.T) {
	mesh := &fakeMesh{}
	api := weftapi.New(weftapi.Config{Mesh: mesh, Log: slog.New(slog.DiscardHandler)})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		return w.Code, w.Body.String()
	}
	if code, body := get("/weft/v1/mesh"); code != http.StatusOK || !strings.HasPrefix(body, `{"NetworkID":"","Network":"ingress","Node":"192.0.2.1"`) {
		t.Errorf("%d %s", code, body)
	}
	code, body := get("/weft/v1/mesh/udp/8080/trace?from=::ffff:198.51.100.9&to=192.0.2.1")
	want := model.MeshQuery{Proto: "udp", Port: 8080, From: netip.MustParseAddr("198.51.100.9"), To: netip.MustParseAddr("192.0.2.1")}
	if code != http.StatusOK || mesh.asked != want {
		t.Errorf("%d %s, asked %+v", code, body, mesh.asked)
	}
	for path, why := range map[string]string{
		"/weft/v1/mesh/udp/0/trace":                           "use a number from 1 to 65535",
		"/weft/v1/mesh/udp/65536/trace":                       "use a number from 1 to 65535",
		"/weft/v1/mesh/icmp/8/trace":                          "use tcp, udp or sctp",
		"/weft/v1/mesh/tcp/80/trace?from=host":                "use an IP address",
		"/weft/v1/mesh/tcp/80/trace?from=::1&to=127.0.0.1":    "use addresses of one family",
		"/weft/v1/mesh/tcp/80/trace?to=192.0.2.1%2F24&from=1": "use an IP address",
	} {
		if code, body := get(path); code != http.StatusBadRequest || !strings.Contains(body, why) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}
