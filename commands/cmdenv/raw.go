package cmdenv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/containerd/errdefs/pkg/errhttp"
	"github.com/docker/docker/client"
)

// Raw speaks to an engine in the API's own JSON. It is for what must arrive as
// it was given: the client's types drop what they have no field for. It is safe
// for concurrent use.
type Raw struct {
	client  *client.Client
	http    *http.Client
	base    string // path before the API's
	api     string // path of the API: its version, as v1.51, or weft/v1
	headers map[string]string
}

// Raw gives the raw form of Client, over connections of its own.
func (e *Env) Raw(ctx context.Context) (*Raw, error) {
	c, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.raw(c)
}

// weftAPI is the path of the API that only the built-in engine has.
const weftAPI = "weft/v1"

// Weft gives the API under /weft/v1/ of the engine that Client talks to. what
// names, in the plural, the things it is wanted for: a dockerd does not have
// them, which the error says.
func (e *Env) Weft(ctx context.Context, what string) (*Raw, error) {
	engine, err := e.Engine(ctx)
	if err != nil {
		return nil, err
	}
	if engine.Kind != KindBuiltin {
		return nil, fmt.Errorf("%s are weft's own engine's, and %s (%s) is dockerd: name weft's engine with --host or --engine %s",
			what, engine.Host, engine.Found, KindBuiltin)
	}
	raw, err := e.Raw(ctx)
	if err != nil {
		return nil, err
	}
	raw.api = weftAPI
	return raw, nil
}

// RawAt gives the raw form of another engine than the invocation's own: that of
// a context, or at a host (unix://, tcp://, ssh://).
func (e *Env) RawAt(ctx context.Context, where string) (*Raw, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	find := e.contextTarget
	if strings.Contains(where, "://") {
		find = e.hostTarget
	}
	t, err := find(where, "--node-context")
	if err != nil {
		return nil, err
	}
	c, err := e.open(t)
	if err != nil {
		return nil, err
	}
	if err := ping(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return e.raw(c)
}

// Local says whether the engine is on this machine.
func (r *Raw) Local() bool {
	_, local := unixPath(r.client.DaemonHost())
	return local
}

// raw needs e.mu.
func (e *Env) raw(c *client.Client) (*Raw, error) {
	headers, err := e.headers()
	if err != nil {
		return nil, err
	}
	host, err := client.ParseHostURL(c.DaemonHost())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.DaemonHost(), err)
	}
	base := host.Path
	if host.Scheme != "tcp" { // a socket's path, and no part of the URL
		base = ""
	}
	dial := c.Dialer()
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives: true, // nothing to close at the end
	}
	return &Raw{c, &http.Client{Transport: transport}, base, "v" + c.ClientVersion(), headers}, nil
}

// Do sends one request, body as JSON unless it is nil, and gives the answer's
// body. An answer that is an error is one of errdefs' classes.
func (r *Raw) Do(ctx context.Context, method, route string, query url.Values, body any) ([]byte, error) {
	req, err := r.request(ctx, method, route, query, body)
	if err != nil {
		return nil, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.client.DaemonHost(), err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read, or failed to be
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.client.DaemonHost(), err)
	}
	if resp.StatusCode < http.StatusBadRequest {
		return text, nil
	}
	var answer struct{ Message string }
	if json.Unmarshal(text, &answer) != nil || answer.Message == "" {
		answer.Message = http.StatusText(resp.StatusCode)
	}
	return nil, fmt.Errorf("Error response from daemon: %s%w", answer.Message, silent{errhttp.ToNative(resp.StatusCode)})
}

// silent keeps the class of an error out of its text.
type silent struct{ class error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.class }

func (r *Raw) request(ctx context.Context, method, route string, query url.Values, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, route, err)
		}
		content = bytes.NewReader(text)
	}
	u := url.URL{Scheme: "http", Host: client.DummyHost, Path: path.Join("/", r.base, r.api, route), RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, route, err)
	}
	for key, value := range r.headers {
		req.Header.Set(key, value)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}
