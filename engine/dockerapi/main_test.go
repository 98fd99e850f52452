package dockerapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"go.uber.org/goleak"

	"weft/engine/dockerapi/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// apiVersions are the ends of what is served, and the versions at which an
// answer changes for a client in use: docker 20.10 speaks 1.41.
var apiVersions = []string{"1.24", "1.25", "1.29", "1.41", "1.43", "1.44", "1.47", "1.51"}

// bed is an engine behind a socket.
type bed struct {
	*apitest.Engine
	t      *testing.T
	socket string
	log    *buffer
}

// buffer is a log that a test may read while the engine writes it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{Engine: apitest.New(time.Now), t: t, log: &buffer{}}
	t.Cleanup(b.Close)
	b.socket = apitest.Serve(t, b.Handler(b.log))
	return b
}

// docker is Docker's own client; an empty version negotiates.
func (b *bed) docker(version string) *client.Client {
	b.t.Helper()
	opts := []client.Opt{client.WithHost("unix://" + b.socket)}
	if version == "" {
		opts = append(opts, client.WithAPIVersionNegotiation())
	} else {
		opts = append(opts, client.WithVersion(version))
	}
	c, err := client.NewClientWithOpts(opts...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (b *bed) dial() net.Conn {
	b.t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(b.t.Context(), "unix", b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// do sends a request as it is and gives the status, the header and the body.
// A body is sent as JSON.
func (b *bed) do(method, path, body string) (int, http.Header, string) {
	b.t.Helper()
	return b.send(method, path, "application/json", body)
}

func (b *bed) send(method, path, contentType, body string) (int, http.Header, string) {
	b.t.Helper()
	var d net.Dialer
	hc := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", b.socket) },
	}}
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://docker"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" && contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := hc.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, resp.Header, strings.TrimSpace(string(out))
}

// refused asserts the status and the message of an error.
func (b *bed) refused(method, path, body string, status int, message string) {
	b.t.Helper()
	got, header, text := b.do(method, path, body)
	var e struct{ Message string }
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		b.t.Errorf("%s %s: %d %q is no JSON error", method, path, got, text)
		return
	}
	if got != status || e.Message != message {
		b.t.Errorf("%s %s: %d %q, want %d %q", method, path, got, e.Message, status, message)
	}
	if ct := header.Get("Content-Type"); ct != "application/json" {
		b.t.Errorf("%s %s: Content-Type %q", method, path, ct)
	}
}

// ok asserts success and gives the body.
func (b *bed) ok(method, path, body string) string {
	b.t.Helper()
	status, _, text := b.do(method, path, body)
	if status >= 300 {
		b.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// object is a JSON object as a client without types sees it.
type object = map[string]any

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
