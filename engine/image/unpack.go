package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/moby/sys/userns"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// unpacker answers containerd's diff service: it writes layers into snapshots,
// but none that is meant to do harm.
type unpacker struct {
	diff.Comparer
	store content.Provider
	dir   string // on the file system the snapshots are on
}

func newUnpacker(store content.Store, dir string) unpacker {
	return unpacker{Comparer: walking.NewWalkingDiff(store), store: store, dir: dir}
}

// Apply writes the layer desc into the snapshot behind mounts and describes it
// as it is uncompressed.
func (u unpacker) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, _ ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	layer, err := u.apply(ctx, desc, mounts)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("unpack layer %s: %w", desc.Digest, err)
	}
	return layer, nil
}

func (u unpacker) apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount) (_ ocispec.Descriptor, err error) {
	blob, err := u.store.ReaderAt(ctx, desc)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer func() { _ = blob.Close() }()
	plain, err := compression.DecompressStream(content.NewReader(blob))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	limit, err := newLimit(u.dir, desc.Size)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	digester := digest.Canonical.Digester()
	in := limit.reader(io.TeeReader(plain, digester.Hash()))
	if err := extract(ctx, mounts, in, archive.WithFilter(limit.filter)); err != nil {
		return ocispec.Descriptor{}, err
	}
	// The digest is of all bytes, also of those after the archive's end.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: limit.read, Digest: digester.Digest()}, nil
}

// extract writes an archive into a snapshot. Into one of an overlay it writes
// the upper directory itself, with the overlay's own marks for what is deleted;
// inside a user namespace these can't be made, and the overlay is mounted. The
// lowest layer deletes nothing.
func extract(ctx context.Context, mounts []mount.Mount, in io.Reader, opts ...archive.ApplyOpt) error {
	if !ownersMapped() {
		opts = append(opts, archive.WithNoSameOwner())
	}
	if upper, lower, ok := overlayDirs(mounts); ok && !userns.RunningInUserNS() {
		opts = append(opts, archive.WithConvertWhiteout(archive.OverlayConvertWhiteout))
		if len(lower) > 0 {
			opts = append(opts, archive.WithParents(lower))
		}
		_, err := archive.Apply(ctx, upper, in, opts...)
		return err
	}
	if len(mounts) == 1 && mounts[0].Type == "bind" {
		_, err := archive.Apply(ctx, mounts[0].Source, in, opts...)
		return err
	}
	return mount.WithTempMount(ctx, mounts, func(root string) error {
		_, err := archive.Apply(ctx, root, in, opts...)
		return err
	})
}

// overlayDirs gives the directories of a mount that is an overlay with one
// that can be written.
func overlayDirs(mounts []mount.Mount) (upper string, lower []string, ok bool) {
	if len(mounts) != 1 || mounts[0].Type != "overlay" {
		return "", nil, false
	}
	for _, o := range mounts[0].Options {
		if dir, found := strings.CutPrefix(o, "upperdir="); found {
			upper = dir
		}
		if dirs, found := strings.CutPrefix(o, "lowerdir="); found {
			lower = strings.Split(dirs, ":")
		}
	}
	return upper, lower, upper != ""
}
