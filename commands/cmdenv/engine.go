package cmdenv

import (
	"context"
	"fmt"
	"net/http"

	"github.com/docker/docker/client"
)

// APIHeader is the response header of `/_ping` by which the built-in engine
// announces the version of its own API under /weft/.
const APIHeader = "Weft-Api-Version"

// Engine says which engine answered and how it was found.
type Engine struct {
	Kind    Kind
	Host    string // address, as unix:///run/weft/engine.sock
	Found   string // "--host", `context "x" (DOCKER_CONTEXT)`, "default docker socket", ...
	WeftAPI string // version of the API under /weft/, empty with dockerd
}

// Engine gives the engine that Client talks to, reaching it if need be.
func (e *Env) Engine(ctx context.Context) (Engine, error) {
	c := e.connect(ctx)
	if c.err != nil {
		return Engine{}, c.err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.engine == nil {
		engine, err := identify(ctx, c.client, c.target)
		if err != nil {
			return Engine{}, err
		}
		c.engine = &engine
	}
	return *c.engine, nil
}

// identify asks an engine for the header that sets the built-in one apart.
func identify(ctx context.Context, c *client.Client, t *target) (Engine, error) {
	engine := Engine{Kind: KindDocker, Host: t.endpoint.Host, Found: t.found}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL(c, t)+"/_ping", http.NoBody)
	if err != nil {
		return Engine{}, fmt.Errorf("ask %s what it is: %w", t.endpoint.Host, err)
	}
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		return Engine{}, fmt.Errorf("ask %s what it is: %w", t.endpoint.Host, err)
	}
	if err := resp.Body.Close(); err != nil {
		return Engine{}, fmt.Errorf("ask %s what it is: %w", t.endpoint.Host, err)
	}
	if engine.WeftAPI = resp.Header.Get(APIHeader); engine.WeftAPI != "" {
		engine.Kind = KindBuiltin
	}
	return engine, nil
}

// baseURL is where the client's HTTP client finds the engine. Over a socket or
// a helper's pipe the name is not looked up.
func baseURL(c *client.Client, t *target) string {
	u, err := client.ParseHostURL(c.DaemonHost())
	if err != nil || u.Scheme != "tcp" {
		return "http://" + client.DummyHost
	}
	if t.endpoint.TLSData != nil || t.endpoint.SkipTLSVerify {
		return "https://" + u.Host + u.Path
	}
	return "http://" + u.Host + u.Path
}

func checkKind(ctx context.Context, c *client.Client, t *target, want Kind) error {
	got, err := identify(ctx, c, t)
	if err != nil {
		return err
	}
	if got.Kind != want {
		return fmt.Errorf("the engine at %s (%s) is %s, not %s: drop --engine (WEFT_ENGINE) or name another one with --host",
			got.Host, got.Found, got.Kind, want)
	}
	return nil
}
