package cmdenv

import (
	"fmt"
	"path/filepath"
	"strings"

	dcontext "github.com/docker/cli/cli/context"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	dopts "github.com/docker/cli/opts"
)

// target is an engine's address and how it was found.
type target struct {
	endpoint docker.Endpoint
	found    string
}

// named gives the engine the user named: by --host, DOCKER_HOST, --context,
// DOCKER_CONTEXT or the current context, in that order; nil if nothing names
// one and the default sockets are to be tried. The context "default" names
// nothing, and neither do TLS flags without a host unless TLS is on: then it
// is Docker's default TLS address.
func (e *Env) namedTarget(config *Config) (*target, error) {
	switch {
	case e.opts.context != "":
		return e.contextTarget(e.opts.context, "--context")
	case e.opts.host.set && e.opts.host.value != "":
		return e.hostTarget(e.opts.host.value, "--host")
	case e.Getenv("DOCKER_HOST") != "":
		return e.hostTarget(e.Getenv("DOCKER_HOST"), "DOCKER_HOST")
	case e.Getenv("DOCKER_CONTEXT") != "":
		return e.contextTarget(e.Getenv("DOCKER_CONTEXT"), "DOCKER_CONTEXT")
	case config.CurrentContext != "":
		return e.contextTarget(config.CurrentContext, "current context")
	}
	return e.contextTarget(defaultContext, "default context")
}

const defaultContext = "default"

func (e *Env) contextTarget(name, how string) (*target, error) {
	if name == defaultContext {
		if e.opts.tlsOptions() == nil {
			return nil, nil
		}
		return e.hostTarget("", "TLS default address")
	}
	contexts := store.New(filepath.Join(e.ConfigDir(), "contexts"), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(docker.DockerEndpoint, func() any { return &docker.EndpointMeta{} }),
	))
	meta, err := contexts.GetMetadata(name)
	if err != nil {
		return nil, unresolved(err)
	}
	ep, err := docker.EndpointFromContext(meta)
	if err != nil {
		return nil, unresolved(err)
	}
	endpoint, err := docker.WithTLSData(contexts, name, ep)
	if err != nil {
		return nil, unresolved(err)
	}
	return &target{endpoint: endpoint, found: fmt.Sprintf("context %q (%s)", name, how)}, nil
}

func (e *Env) hostTarget(host, how string) (*target, error) {
	files := e.opts.tlsOptions()
	host, err := dopts.ParseHost(files != nil, host)
	if err != nil {
		return nil, unresolved(err)
	}
	t := &target{endpoint: docker.Endpoint{EndpointMeta: docker.EndpointMeta{Host: host}}, found: how}
	if files == nil {
		return t, nil
	}
	t.endpoint.SkipTLSVerify = files.InsecureSkipVerify
	t.endpoint.TLSData, err = dcontext.TLSDataFromFiles(files.CAFile, files.CertFile, files.KeyFile)
	if err != nil {
		return nil, unresolved(err)
	}
	return t, nil
}

func socketTarget(path, how string) *target {
	return &target{endpoint: docker.Endpoint{EndpointMeta: docker.EndpointMeta{Host: "unix://" + path}}, found: how}
}

// unresolved is a named engine whose address cannot be made out.
func unresolved(err error) error {
	return fmt.Errorf("Failed to initialize: unable to resolve docker endpoint: %w", err) //nolint:staticcheck // Docker's wording
}

// unixPath gives the path of a unix:// host.
func unixPath(host string) (string, bool) { return strings.CutPrefix(host, "unix://") }
