package cmdenv

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/client"
)

// pingTimeout is how long an engine may take to say that it is there, as with
// Docker's client.
const pingTimeout = 10 * time.Second

// connection is the outcome of choosing an engine, kept for the invocation.
type connection struct {
	client *client.Client
	target *target
	err    error
	engine *Engine
}

// Client gives the API client of the engine that this invocation talks to,
// which is chosen and reached at the first call. Every later call gives the
// same client or the same error. The client belongs to the Env.
func (e *Env) Client(ctx context.Context) (*client.Client, error) {
	c := e.connect(ctx)
	return c.client, c.err
}

func (e *Env) connect(ctx context.Context) *connection {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil {
		e.conn = &connection{}
		e.conn.client, e.conn.target, e.conn.err = e.choose(ctx)
	}
	return e.conn
}

func (e *Env) choose(ctx context.Context) (*client.Client, *target, error) {
	named, err := e.namedTarget(e.configLocked())
	if err != nil {
		return nil, nil, err
	}
	if named == nil {
		return e.firstAnswering(ctx)
	}
	c, err := e.open(named)
	if err != nil {
		return nil, nil, err
	}
	if err := ping(ctx, c); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	if want := Kind(e.opts.engine); want != "" {
		if err := checkKind(ctx, c, named, want); err != nil {
			return nil, nil, errors.Join(err, c.Close())
		}
	}
	return c, named, nil
}

// ping lets the client agree on the API's version. Only an engine that cannot
// be reached is an error: what else it may answer, the command's own request
// reports better.
func ping(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	answer, err := c.Ping(ctx)
	if err != nil && (client.IsErrConnectionFailed(err) || ctx.Err() != nil) {
		return err
	}
	if err == nil || answer.APIVersion != "" {
		c.NegotiateAPIVersionPing(answer)
	}
	return nil
}

// firstAnswering tries the default sockets in turn.
func (e *Env) firstAnswering(ctx context.Context) (*client.Client, *target, error) {
	var tried []string
	for _, t := range e.candidates() {
		path, _ := unixPath(t.endpoint.Host)
		err := knock(ctx, path)
		if err == nil {
			c, err := e.open(t)
			if err != nil {
				return nil, nil, err
			}
			if err = ping(ctx, c); err == nil {
				return c, t, nil
			}
			tried = append(tried, fmt.Sprintf("%s (%v)", t.endpoint.Host, errors.Join(err, c.Close())))
			continue
		}
		tried = append(tried, fmt.Sprintf("%s (%s)", t.endpoint.Host, reason(err)))
	}
	return nil, nil, fmt.Errorf("no engine answers at %s; start weft's own with `weft engine start`, or name one with --host",
		strings.Join(tried, " or "))
}

func (e *Env) candidates() []*target {
	var list []*target
	if Kind(e.opts.engine) != KindBuiltin {
		list = append(list, socketTarget(e.Sockets.Docker, "default docker socket"))
	}
	if Kind(e.opts.engine) != KindDocker {
		for _, path := range e.Sockets.Weft {
			list = append(list, socketTarget(path, "default weft socket"))
		}
	}
	return list
}

// knock reports whether anything listens on a socket, without speaking to it.
func knock(ctx context.Context, path string) error {
	conn, err := (&net.Dialer{Timeout: pingTimeout}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// reason gives the operating system's words for a failed dial.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func (e *Env) open(t *target) (*client.Client, error) {
	options, err := t.endpoint.ClientOpts()
	if err != nil {
		return nil, unresolved(err)
	}
	headers, err := e.headers()
	if err != nil {
		return nil, err
	}
	if len(headers) > 0 {
		options = append(options, client.WithHTTPHeaders(headers))
	}
	options = append(options, client.WithUserAgent("Weft-Client/"+Version+" ("+runtime.GOOS+")"))
	c, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.endpoint.Host, err)
	}
	return c, nil
}

// headersEnv holds headers to send as comma-separated key=value pairs; it
// takes the place of the configuration file's.
const headersEnv = "DOCKER_CUSTOM_HEADERS"

func (e *Env) headers() (map[string]string, error) {
	value := e.Getenv(headersEnv)
	if value == "" {
		return e.configLocked().HTTPHeaders, nil
	}
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return nil, fmt.Errorf("failed to parse custom headers from %s environment variable: value must be formatted as comma-separated key=value pairs", headersEnv)
	}
	headers := make(map[string]string, len(fields))
	for _, field := range fields {
		key, val, ok := strings.Cut(field, "=")
		key = strings.TrimSpace(key)
		if key == "" {
			return nil, fmt.Errorf("failed to set custom headers from %s environment variable: value contains a key=value pair with an empty key: '%s'", headersEnv, field)
		}
		if !ok {
			return nil, fmt.Errorf("failed to set custom headers from %s environment variable: missing \"=\" in key=value pair: '%s'", headersEnv, field)
		}
		headers[http.CanonicalHeaderKey(key)] = val
	}
	return headers, nil
}
