package image

import (
	"context"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"

	"weft/engine/fault"
	"weft/engine/model"
)

// labelPulled marks a name that a registry answered for: its manifest's digest
// can be pulled again.
const labelPulled = "weft.image.pulled"

// Tag gives an image one more name, which another image loses if it had it.
func (s *Store) Tag(ctx context.Context, ref, name string) (id string, err error) {
	ctx = s.in(ctx)
	named, err := ParseName(name)
	if err != nil {
		return "", err
	}
	if _, pinned := named.(reference.Digested); pinned {
		return "", fault.Invalid("refusing to create a tag with a digest reference")
	}
	if isBuiltin(named.String()) {
		return "", fault.Conflict("the name %s belongs to the image built into the engine", BuiltinName)
	}
	s.names.Lock()
	defer s.names.Unlock()
	e, err := s.find(ctx, ref)
	if err != nil {
		if isBuiltin(ref) {
			return "", fault.Unsupported("image %s is built into the engine and can't have another name", BuiltinName)
		}
		return "", err
	}
	if err := s.put(ctx, images.Image{Name: named.String(), Target: e.target().Target}); err != nil {
		return "", err
	}
	return e.id, s.dropDangling(ctx, e)
}

// put stores a name. The image that loses it stays, dangling if it was the
// last one.
func (s *Store) put(ctx context.Context, img images.Image) error {
	svc := s.client.ImageService()
	old, err := svc.Get(ctx, img.Name)
	switch {
	case errdefs.IsNotFound(err):
		_, err = svc.Create(ctx, img)
	case err == nil && old.Target.Digest != img.Target.Digest:
		if err = s.keep(ctx, old); err == nil {
			_, err = svc.Update(ctx, img)
		}
	case err == nil:
		_, err = svc.Update(ctx, img)
	}
	if err != nil {
		return fault.Internal("name image %s: %w", img.Name, err)
	}
	return nil
}

// keep gives an image that is about to lose a name a dangling one, unless it
// has others.
func (s *Store) keep(ctx context.Context, img images.Image) error {
	all, err := s.stored(ctx)
	if err != nil {
		return err
	}
	for name, other := range all {
		if name != img.Name && other.Target.Digest == img.Target.Digest {
			return nil
		}
	}
	_, err = s.client.ImageService().Create(ctx, images.Image{Name: danglingName(img.Target.Digest), Target: img.Target})
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// dropDangling removes the name of an image that had none, now that it has one.
func (s *Store) dropDangling(ctx context.Context, e entry) error {
	for _, i := range e.stored {
		if _, named := familiar(i.Name); named {
			continue
		}
		if err := s.client.ImageService().Delete(ctx, i.Name); err != nil && !errdefs.IsNotFound(err) {
			return fault.Internal("name image %s: %w", shortID(e.id), err)
		}
	}
	return nil
}

// Remove takes a name from an image, and the image away when it was the last
// one or ref is an ID. users tells which containers an image has; with any the
// image stays unless force is given, and then only nameless.
func (s *Store) Remove(ctx context.Context, ref string, force bool, users func(id string) []model.ImageUser) ([]model.ImageRemoval, error) {
	ctx = s.in(ctx)
	s.names.Lock()
	defer s.names.Unlock()
	e, err := s.find(ctx, ref)
	if err != nil {
		if isBuiltin(ref) {
			return nil, fault.Conflict("image %s is built into the engine and can't be removed", BuiltinName)
		}
		return nil, err
	}
	going, byID := e.meant(ref)
	last := len(going) == len(e.stored)
	using := users(e.id)
	if err := checkRemovable(e, removing{ref: ref, byID: byID, last: last, force: force}, using); err != nil {
		return nil, err
	}
	if last && len(using) > 0 {
		if err := s.keep(ctx, e.target()); err != nil {
			return nil, fault.Internal("remove image %s: %w", ref, err)
		}
	}
	var out []model.ImageRemoval
	for _, i := range going {
		if err := s.client.ImageService().Delete(ctx, i.Name); err != nil && !errdefs.IsNotFound(err) {
			return out, fault.Internal("remove image %s: %w", ref, err)
		}
		if name, ok := familiar(i.Name); ok {
			out = append(out, model.ImageRemoval{Untagged: name})
		}
	}
	if last && len(using) == 0 {
		out = append(out, model.ImageRemoval{Deleted: e.id})
		s.clean(ctx)
	}
	return out, nil
}

// meant gives the stored names a reference means: one name, or all of an ID's.
func (e entry) meant(ref string) (going []images.Image, byID bool) {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		want := reference.TagNameOnly(named).String()
		if i := slices.IndexFunc(e.stored, func(i images.Image) bool { return i.Name == want }); i >= 0 {
			return e.stored[i : i+1], false
		}
	}
	return e.stored, true
}

// removing is what is asked of Remove.
type removing struct {
	ref               string
	byID, last, force bool
}

// checkRemovable refuses in Docker's words (daemon/images/image_delete.go).
func checkRemovable(e entry, r removing, using []model.ImageUser) error {
	if r.byID && len(e.stored) > 1 && !r.force {
		return fault.Conflict("conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", shortID(e.id))
	}
	if !r.last {
		return nil
	}
	for _, u := range using {
		switch {
		case r.byID && u.Running:
			return fault.Conflict("conflict: unable to delete %s (cannot be forced) - image is being used by running container %s", shortID(e.id), shortID(u.ID))
		case r.force:
		case r.byID:
			return fault.Conflict("conflict: unable to delete %s (must be forced) - image is being used by stopped container %s", shortID(e.id), shortID(u.ID))
		default:
			return fault.Conflict("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s",
				r.ref, shortID(u.ID), shortID(e.id))
		}
	}
	return nil
}

func isDangling(e entry) bool {
	return !slices.ContainsFunc(e.stored, func(i images.Image) bool { _, ok := familiar(i.Name); return ok })
}

// Prune removes the dangling images that wanted accepts and no container uses;
// with all, every one no container uses. It gives the bytes that became free.
func (s *Store) Prune(ctx context.Context, all bool, wanted func(id string) bool, users func(id string) []model.ImageUser) ([]model.ImageRemoval, int64, error) {
	ctx = s.in(ctx)
	s.names.Lock()
	defer s.names.Unlock()
	entries, err := s.entries(ctx)
	if err != nil {
		return nil, 0, err
	}
	var out []model.ImageRemoval
	var freed int64
	for _, e := range entries {
		if (!all && !isDangling(e)) || len(users(e.id)) > 0 || !wanted(e.id) {
			continue
		}
		if img, err := s.describe(ctx, e); err == nil {
			freed += img.Size
		}
		for _, i := range e.stored {
			if err := s.client.ImageService().Delete(ctx, i.Name); err != nil && !errdefs.IsNotFound(err) {
				return out, freed, fault.Internal("remove image %s: %w", i.Name, err)
			}
			if name, ok := familiar(i.Name); ok {
				out = append(out, model.ImageRemoval{Untagged: name})
			}
		}
		out = append(out, model.ImageRemoval{Deleted: e.id})
	}
	s.clean(ctx)
	return out, freed, nil
}
