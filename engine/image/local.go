package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"go.etcd.io/bbolt"

	"weft/engine/fault"
)

// The snapshotters, by containerd's names.
const (
	snapshotterOverlay = "overlayfs"
	snapshotterNative  = "native" // copies whole layers; where there is no overlay file system
)

// openTimeout is how long the lock of the metadata is waited for: an engine
// that ends gives it up at once.
const openTimeout = 5 * time.Second

// Open makes a store over a directory, which it creates. One Store at a time
// may own a directory.
func Open(ctx context.Context, dir string, log *slog.Logger) (_ *Store, err error) {
	s := &Store{dir: dir, log: log, namespace: "weft"}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open image store: %w", err), s.Close())
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	content, err := local.NewStore(filepath.Join(dir, "content"))
	if err != nil {
		return nil, err
	}
	snapshotter, err := s.openSnapshotter()
	if err != nil {
		return nil, err
	}
	s.onClose(snapshotter.Close)
	bolt, err := bbolt.Open(filepath.Join(dir, "meta.db"), 0o600, &bbolt.Options{Timeout: openTimeout})
	if err != nil {
		return nil, err
	}
	s.onClose(bolt.Close)
	db := metadata.NewDB(bolt, content, map[string]snapshots.Snapshotter{s.snapshotter: snapshotter})
	if err := db.Init(ctx); err != nil {
		return nil, err
	}
	s.client, err = containerd.New("", containerd.WithServices(
		containerd.WithContentStore(db.ContentStore()),
		containerd.WithImageStore(metadata.NewImageStore(db)),
		containerd.WithLeasesService(metadata.NewLeaseManager(db)),
		containerd.WithSnapshotters(db.Snapshotters()),
		containerd.WithDiffService(newUnpacker(db.ContentStore(), dir)),
	))
	if err != nil {
		return nil, err
	}
	s.onClose(s.client.Close)
	s.collect = func(ctx context.Context) error {
		_, err := db.GarbageCollect(ctx)
		return err
	}
	return s, s.releaseAll(ctx)
}

// openSnapshotter takes the overlay file system where this kernel has it for
// the store's directory, and copies otherwise.
func (s *Store) openSnapshotter() (snapshots.Snapshotter, error) {
	root := filepath.Join(s.dir, snapshotterOverlay)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	unable := overlayutils.Supported(root)
	if unable == nil {
		s.snapshotter = snapshotterOverlay
		options := []string{"index=off"} // the upper directory of a container that crashed may still be in use
		if userxattr, err := overlayutils.NeedsUserXAttr(root); err == nil && userxattr {
			options = append(options, "userxattr")
		}
		return overlay.NewSnapshotter(root, overlay.WithMountOptions(options))
	}
	s.log.Warn("no overlay file system here: images are copied for every container", "dir", s.dir, "err", unable)
	s.snapshotter = snapshotterNative
	return native.NewSnapshotter(filepath.Join(s.dir, snapshotterNative))
}

// releaseAll gives back what an engine that crashed held for what it was doing.
func (s *Store) releaseAll(ctx context.Context) error {
	ctx = s.in(ctx)
	manager := s.client.LeasesService()
	held, err := manager.List(ctx)
	if err != nil {
		return fault.Internal("list leases of the image store: %w", err)
	}
	for _, l := range held {
		if err := manager.Delete(ctx, l); err != nil {
			return fault.Internal("release lease %s of the image store: %w", l.ID, err)
		}
	}
	s.abortLoads(ctx)
	return nil
}
