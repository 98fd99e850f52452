package image

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"

	"weft/engine/fault"
)

// Built-in image. Its ID is the SHA-256 of its name: it has no layers.
const (
	BuiltinName = "weft/probe:latest"
	BuiltinPath = "/probe"
)

// danglingPrefix begins the names of images without one; the digest of their
// manifest follows.
const danglingPrefix = "weft-dangling@"

func danglingName(target digest.Digest) string { return danglingPrefix + target.String() }

// builtinID gives the ID of the built-in image.
func builtinID() string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(BuiltinName))) }

// familiar gives the short form of a stored name; ok is false for an image
// that has none.
func familiar(stored string) (name string, ok bool) {
	if strings.HasPrefix(stored, danglingPrefix) {
		return "", false
	}
	named, err := reference.ParseNormalizedNamed(stored)
	if err != nil {
		return stored, true
	}
	return reference.FamiliarString(named), true
}

// ParseName reads the name of an image in any of Docker's forms and gives the
// form it is stored under. Without a tag it means the tag latest.
func ParseName(name string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fault.Invalid("invalid reference format: %w", err)
	}
	return reference.TagNameOnly(named), nil
}

// notFound is Docker's answer for an image that is not there.
func notFound(name string) error {
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		name = reference.FamiliarString(reference.TagNameOnly(named))
	}
	return fault.NotFound("No such image: %s", name)
}

// entry is one image by its ID with all names it has here.
type entry struct {
	id     string // of the configuration; of a damaged one, where that is not known, of the manifest
	stored []images.Image
}

// target gives the manifest behind the entry.
func (e entry) target() images.Image { return e.stored[0] }

// entries gives every stored image, grouped by ID. One whose content is damaged
// is among them: it can be removed.
func (s *Store) entries(ctx context.Context) ([]entry, error) {
	list, err := s.client.ImageService().List(ctx)
	if err != nil {
		return nil, fault.Internal("list images: %w", err)
	}
	var out []entry
	for _, img := range list {
		id, err := s.idOf(ctx, img)
		if err != nil {
			s.log.WarnContext(ctx, "image without usable content", "image", img.Name, "err", err)
			id = img.Target.Digest.String()
		}
		i := slices.IndexFunc(out, func(e entry) bool { return e.id == id })
		if i < 0 {
			out = append(out, entry{id: id})
			i = len(out) - 1
		}
		out[i].stored = append(out[i].stored, img)
	}
	return out, nil
}

// idOf gives an image's ID.
func (s *Store) idOf(ctx context.Context, img images.Image) (string, error) {
	config, err := img.Config(ctx, s.client.ContentStore(), s.platform())
	if err != nil {
		return "", err
	}
	return config.Digest.String(), nil
}

// find gives the image a reference means: a name, a name with a digest, an ID
// or the beginning of one. Names come first, as with Docker.
func (s *Store) find(ctx context.Context, ref string) (entry, error) {
	all, err := s.entries(ctx)
	if err != nil {
		return entry{}, err
	}
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		want := reference.TagNameOnly(named).String()
		for _, e := range all {
			if slices.ContainsFunc(e.stored, func(i images.Image) bool { return i.Name == want || answers(i, named) }) {
				return e, nil
			}
		}
	}
	prefix := strings.TrimPrefix(ref, "sha256:")
	if !isHex(prefix) {
		return entry{}, notFound(ref)
	}
	var found []entry
	for _, e := range all {
		if strings.HasPrefix(strings.TrimPrefix(e.id, "sha256:"), prefix) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return entry{}, notFound(ref)
	case 1:
		return found[0], nil
	}
	return entry{}, fault.NotFound("No such image: %s: several images have IDs that begin so", ref)
}

// answers reports whether a stored image is what a reference with a digest
// means: the same repository, and that manifest.
func answers(i images.Image, named reference.Named) bool {
	pinned, ok := named.(reference.Canonical)
	if !ok || i.Target.Digest != pinned.Digest() {
		return false
	}
	own, err := reference.ParseNormalizedNamed(i.Name)
	return err == nil && own.Name() == named.Name()
}

func isHex(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}
