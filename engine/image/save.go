package image

import (
	"context"
	"io"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/distribution/reference"

	"weft/engine/fault"
)

// Save writes images as an archive that docker, podman and Load can read. A
// reference that is a name is the image's only name in it; by ID it has none,
// and a repository without a tag stands for all its tags.
func (s *Store) Save(ctx context.Context, w io.Writer, refs []string) error {
	ctx = s.in(ctx)
	opts := []archive.ExportOpt{archive.WithPlatform(s.platform()), archive.WithSkipMissing(s.client.ContentStore())}
	for _, ref := range refs {
		chosen, err := s.chosen(ctx, ref)
		if err != nil {
			return err
		}
		opts = append(opts, archive.WithImages(chosen))
	}
	// What is being written must not be removed meanwhile.
	ctx, done, err := s.client.WithLease(ctx)
	if err != nil {
		return fault.Internal("save images: %w", err)
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }()
	if err := archive.Export(ctx, s.client.ContentStore(), w, opts...); err != nil {
		return fault.Internal("save images: %w", err)
	}
	return nil
}

// chosen gives what a reference adds to an archive.
func (s *Store) chosen(ctx context.Context, ref string) ([]images.Image, error) {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil && reference.IsNameOnly(named) && !isHex(ref) {
		if tags, err := s.tags(ctx, named); err != nil || len(tags) > 0 {
			return tags, err
		}
	}
	e, err := s.find(ctx, ref)
	if err != nil {
		if isBuiltin(ref) {
			return nil, fault.Invalid("image %s is built into the engine: there is nothing to save", BuiltinName)
		}
		return nil, err
	}
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		want := reference.TagNameOnly(named).String()
		for _, i := range e.stored {
			if i.Name == want {
				return []images.Image{i}, nil
			}
		}
	}
	nameless := e.target()
	nameless.Name = ""
	return []images.Image{nameless}, nil
}

// tags gives all images of a repository.
func (s *Store) tags(ctx context.Context, repo reference.Named) ([]images.Image, error) {
	all, err := s.stored(ctx)
	if err != nil {
		return nil, err
	}
	var out []images.Image
	for name, img := range all {
		own, err := reference.ParseNormalizedNamed(name)
		if err != nil || own.Name() != repo.Name() {
			continue
		}
		if _, tagged := own.(reference.Tagged); tagged {
			out = append(out, img)
		}
	}
	return out, nil
}
