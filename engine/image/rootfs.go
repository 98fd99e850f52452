package image

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"

	"weft/engine/fault"
	"weft/engine/model"
)

// Containers' snapshots have names of their own, and no lease: a label keeps
// them.
const (
	rootPrefix = "ctr-"
	labelRoot  = "containerd.io/gc.root"
)

// Prepare makes the root file system of a container from an image and gives
// the image. The built-in image needs none.
func (s *Store) Prepare(ctx context.Context, containerID, ref string) (model.Image, error) {
	ctx = s.in(ctx)
	s.names.RLock()
	defer s.names.RUnlock()
	img, err := s.Get(ctx, ref)
	if err != nil || img.Builtin {
		return img, err
	}
	e, err := s.find(ctx, ref)
	if err != nil {
		return img, err
	}
	// Unpacked when it came; again, if a crash came between.
	if err := s.unpack(ctx, e.target()); err != nil {
		return img, err
	}
	config, err := s.config(ctx, e.target())
	if err != nil {
		return img, err
	}
	parent := identity.ChainID(config.RootFS.DiffIDs).String()
	_, err = s.client.SnapshotService(s.snapshotter).Prepare(ctx, rootPrefix+containerID, parent,
		snapshots.WithLabels(map[string]string{labelRoot: "container"}))
	if err != nil {
		return img, fmt.Errorf("make the root file system of container %s: %w", containerID, err)
	}
	return img, nil
}

// Mounts gives how the root file system of a container is mounted.
func (s *Store) Mounts(ctx context.Context, containerID string) ([]mount.Mount, error) {
	mounts, err := s.client.SnapshotService(s.snapshotter).Mounts(s.in(ctx), rootPrefix+containerID)
	if err != nil {
		return nil, fmt.Errorf("find the root file system of container %s: %w", containerID, err)
	}
	return mounts, nil
}

// Usage gives how many bytes a container has written into its root.
func (s *Store) Usage(ctx context.Context, containerID string) (int64, error) {
	usage, err := s.client.SnapshotService(s.snapshotter).Usage(s.in(ctx), rootPrefix+containerID)
	if err != nil {
		return 0, fmt.Errorf("measure the root file system of container %s: %w", containerID, err)
	}
	return usage.Size, nil
}

// Discard removes the root file system of a container. One that is not there
// is no error.
func (s *Store) Discard(ctx context.Context, containerID string) error {
	ctx = s.in(ctx)
	err := s.client.SnapshotService(s.snapshotter).Remove(ctx, rootPrefix+containerID)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("remove the root file system of container %s: %w", containerID, err)
	}
	s.clean(ctx)
	return nil
}

// Sweep removes the root file systems of containers that keep does not name.
func (s *Store) Sweep(ctx context.Context, keep map[string]bool) error {
	ctx = s.in(ctx)
	svc := s.client.SnapshotService(s.snapshotter)
	var orphans []string
	err := svc.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if id, ok := strings.CutPrefix(info.Name, rootPrefix); ok && !keep[id] {
			orphans = append(orphans, info.Name)
		}
		return nil
	})
	if err != nil {
		return fault.Internal("sweep root file systems: %w", err)
	}
	var errs []error
	for _, name := range orphans {
		s.log.InfoContext(ctx, "root file system of no container removed", "snapshot", name)
		errs = append(errs, svc.Remove(ctx, name))
	}
	s.clean(ctx)
	return errors.Join(errs...)
}
