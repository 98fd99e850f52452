package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/engine/fault"
	"weft/engine/model"
)

// hostsDir is where Docker and containerd look for registries' certificates
// and mirrors.
const hostsDir = "/etc/docker/certs.d"

// progressInterval is how often the state of downloads is told.
const progressInterval = 200 * time.Millisecond

// Pull brings an image from its registry. With a digest in the reference, the
// image is that manifest and no other. Registries on this machine's loopback
// addresses are spoken to without TLS too.
func (s *Store) Pull(ctx context.Context, ref string, o model.PullOptions) (err error) {
	ctx = s.in(ctx)
	named, err := ParseName(ref)
	if err != nil {
		return err
	}
	if isBuiltin(named.String()) {
		o.Report(model.Progress{Status: "Status: " + BuiltinName + " is built into the engine"})
		return nil
	}
	if err := checkPlatform(o.Platform); err != nil {
		return err
	}
	ctx, done, err := s.client.WithLease(ctx)
	if err != nil {
		return fault.Internal("pull image: %w", err)
	}
	defer s.clean(ctx)
	defer func() { _ = done(context.WithoutCancel(ctx)) }()
	tell := &teller{report: o.Report, store: s}
	tell.status(tagOf(named) + ": Pulling from " + reference.Path(named))
	s.names.Lock()
	before, err := s.stored(ctx)
	s.names.Unlock()
	if err != nil {
		return err
	}
	img, err := s.fetch(ctx, named, o.Credentials, tell)
	if err != nil {
		return pullError(named, err)
	}
	if err := s.adopt(ctx, named, img, before, tell); err != nil {
		return errors.Join(err, s.restore(ctx, []images.Image{img}, before))
	}
	return nil
}

// Ask gives what a registry has under a name, without bringing it.
func (s *Store) Ask(ctx context.Context, ref string, cred model.Credentials) (ocispec.Descriptor, error) {
	named, err := ParseName(ref)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if isBuiltin(named.String()) {
		return ocispec.Descriptor{}, nil
	}
	_, desc, err := resolver(ctx, cred).Resolve(ctx, named.String())
	if err != nil {
		return ocispec.Descriptor{}, pullError(named, err)
	}
	return desc, nil
}

// fetch brings the content.
func (s *Store) fetch(ctx context.Context, named reference.Named, cred model.Credentials, tell *teller) (images.Image, error) {
	watchCtx, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { tell.watch(watchCtx) })
	defer watcher.Wait()
	defer stop()
	return s.client.Fetch(ctx, named.String(),
		containerd.WithResolver(resolver(ctx, cred)),
		containerd.WithPlatformMatcher(s.platform()),
		containerd.WithImageHandler(images.HandlerFunc(tell.found)))
}

// adopt unpacks what was fetched, and has its name by now, and keeps what had
// it before.
func (s *Store) adopt(ctx context.Context, named reference.Named, img images.Image, before map[string]images.Image, tell *teller) error {
	config, err := s.config(ctx, img)
	if err == nil {
		err = checkRunnable(config, named.String())
	}
	if err == nil {
		err = s.unpack(ctx, img)
	}
	if err != nil {
		return err
	}
	tell.complete()
	s.names.Lock()
	defer s.names.Unlock()
	old, had := before[img.Name]
	fresh := !had || old.Target.Digest != img.Target.Digest
	if had && fresh {
		if err := s.keep(ctx, old); err != nil {
			return err
		}
	}
	img.Labels = map[string]string{labelPulled: "true"}
	if err := s.put(ctx, img); err != nil {
		return err
	}
	tell.status("Digest: " + img.Target.Digest.String())
	short := reference.FamiliarString(named)
	if fresh {
		tell.status("Status: Downloaded newer image for " + short)
	} else {
		tell.status("Status: Image is up to date for " + short)
	}
	return nil
}

func tagOf(named reference.Named) string {
	switch named := named.(type) {
	case reference.Digested:
		return named.Digest().String()
	case reference.Tagged:
		return named.Tag()
	}
	return "latest"
}

// resolver speaks to registries as one user.
func resolver(ctx context.Context, cred model.Credentials) remotes.Resolver {
	return docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, config.HostOptions{
		HostDir: config.HostDirFromRoot(hostsDir),
		Credentials: func(string) (string, string, error) {
			if cred.IdentityToken != "" {
				return "", cred.IdentityToken, nil
			}
			return cred.Username, cred.Password, nil
		},
	})})
}

// pullError gives Docker's words for what goes wrong most often.
func pullError(named reference.Named, err error) error {
	short, repo := reference.FamiliarString(named), reference.FamiliarName(named)
	var status remoteerrors.ErrUnexpectedStatus
	denied := errors.Is(err, docker.ErrInvalidAuthorization) ||
		(errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden))
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("pull %s: %w", short, err)
	case denied || strings.Contains(err.Error(), "insufficient_scope"):
		return fault.NotFound("pull access denied for %s, repository does not exist or may require 'docker login': denied", repo)
	case errdefs.IsNotFound(err):
		return fault.NotFound("manifest for %s not found: manifest unknown: %w", short, err)
	}
	return fault.Unavailable("pull %s: %w", short, err)
}

// teller turns what happens to layers into Docker's progress messages.
type teller struct {
	report func(model.Progress)
	store  *Store

	mu     sync.Mutex // guards the following, and calls of report
	layers []digest.Digest
}

func (t *teller) status(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report(model.Progress{Status: text})
}

// found notes the layers of a manifest. It is an images.Handler that adds no
// children.
func (t *teller) found(_ context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if !images.IsLayerType(desc.MediaType) {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.layers = append(t.layers, desc.Digest)
	t.report(model.Progress{ID: shortID(desc.Digest.String()), Status: "Pulling fs layer"})
	return nil, nil
}

// watch tells how far the downloads are until ctx ends.
func (t *teller) watch(ctx context.Context) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		under, err := t.store.client.ContentStore().ListStatuses(ctx)
		if err != nil {
			continue // the next one may say
		}
		t.mu.Lock()
		for _, st := range under {
			if st.Total > 0 && strings.HasPrefix(st.Ref, "layer-") {
				t.report(model.Progress{ID: shortID(strings.TrimPrefix(st.Ref, "layer-")), Status: "Downloading", Current: st.Offset, Total: st.Total})
			}
		}
		t.mu.Unlock()
	}
}

// complete says that all layers are here and unpacked.
func (t *teller) complete() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.layers {
		t.report(model.Progress{ID: shortID(l.String()), Status: "Pull complete"})
	}
}
