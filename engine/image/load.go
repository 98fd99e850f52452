package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/model"
)

// Load takes the images of an archive as `docker save` or a tool of the OCI's
// writes it, compressed or not. Every digest is checked and every layer
// unpacked: when it fails, nothing of the archive is here.
func (s *Store) Load(ctx context.Context, in io.Reader) (_ []model.LoadedImage, err error) {
	ctx = s.in(ctx)
	plain, err := compression.DecompressStream(in)
	if err != nil {
		return nil, fault.Invalid("read image archive: %w", err)
	}
	defer func() { _ = plain.Close() }()
	ctx, done, err := s.client.WithLease(ctx)
	if err != nil {
		return nil, fault.Internal("load images: %w", err)
	}
	defer s.clean(ctx)
	defer func() { _ = done(context.WithoutCancel(ctx)) }()
	s.loading.Lock()
	defer s.loading.Unlock()
	defer s.abortLoads(ctx)
	before, err := s.stored(ctx)
	if err != nil {
		return nil, err
	}
	found, err := s.client.Import(ctx, plain,
		containerd.WithDigestRef(danglingName),
		containerd.WithSkipDigestRef(func(name string) bool { return name != "" }),
		containerd.WithImportPlatform(s.platform()))
	if err != nil {
		return nil, badArchive(err)
	}
	var out []model.LoadedImage
	for _, img := range found {
		loaded, err := s.admit(ctx, img)
		if err != nil {
			return nil, errors.Join(err, s.restore(ctx, found, before))
		}
		out = append(out, loaded)
	}
	if len(out) == 0 {
		return nil, fault.Invalid("the archive has no image for this machine")
	}
	return out, nil
}

// abortLoads drops what an archive that ended too early left half written: the
// next one with a file of that name would be taken for its continuation.
func (s *Store) abortLoads(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	half, err := s.client.ContentStore().ListStatuses(ctx)
	for _, st := range half {
		if err == nil && strings.HasPrefix(st.Ref, "tar-") {
			err = s.client.ContentStore().Abort(ctx, st.Ref)
		}
	}
	if err != nil {
		s.log.WarnContext(ctx, "half loaded images not removed", "err", err)
	}
}

// admit unpacks an image that has arrived.
func (s *Store) admit(ctx context.Context, img images.Image) (model.LoadedImage, error) {
	name, _ := familiar(img.Name)
	config, err := s.config(ctx, img)
	if err != nil {
		return model.LoadedImage{}, err
	}
	if err := checkRunnable(config, img.Name); err != nil {
		return model.LoadedImage{}, err
	}
	if err := s.unpack(ctx, img); err != nil {
		return model.LoadedImage{}, err
	}
	id, err := s.idOf(ctx, img)
	return model.LoadedImage{Name: name, ID: id}, err
}

// unpack writes an image's layers into snapshots; those that are there stay.
func (s *Store) unpack(ctx context.Context, img images.Image) error {
	err := containerd.NewImageWithPlatform(s.client, img, s.platform()).Unpack(ctx, s.snapshotter)
	if err == nil {
		return nil
	}
	name := img.Name
	if short, ok := familiar(img.Name); ok {
		name = short
	}
	switch {
	case errdefs.IsNotFound(err), strings.Contains(err.Error(), "wrong diff id"):
		return fault.Invalid("image %s: a layer is missing or was changed: %w", name, err)
	case errdefs.IsInvalidArgument(err):
		return fault.Invalid("image %s: %w", name, err)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Invalid("image %s: a layer is no tar archive: %w", name, err)
	case errors.Is(err, unix.ENOSPC):
		return fault.Unavailable("image %s: no space left below %s: %w", name, s.dir, err)
	}
	return fmt.Errorf("image %s: %w", name, err)
}

// stored gives the images there are, by stored name.
func (s *Store) stored(ctx context.Context) (map[string]images.Image, error) {
	list, err := s.client.ImageService().List(ctx)
	if err != nil {
		return nil, fault.Internal("list images: %w", err)
	}
	out := make(map[string]images.Image, len(list))
	for _, i := range list {
		out[i.Name] = i
	}
	return out, nil
}

// restore gives the names of refused images back to what had them before.
func (s *Store) restore(ctx context.Context, refused []images.Image, before map[string]images.Image) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, img := range refused {
		old, had := before[img.Name]
		var err error
		if had {
			_, err = s.client.ImageService().Update(ctx, old)
		} else {
			err = s.client.ImageService().Delete(ctx, img.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// badArchive says what is wrong with an archive that could not be read.
func badArchive(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.Invalid("the image archive ends too early: it is not complete (%w)", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fault.Invalid("the image archive can't be used: %w", err)
}
