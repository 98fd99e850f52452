package image

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"weft/engine/fault"
)

// Store is the images of one engine. It is safe for concurrent use.
type Store struct {
	dir         string
	log         *slog.Logger
	client      *containerd.Client
	namespace   string // of containerd, not of the kernel
	snapshotter string
	collect     func(context.Context) error // removes what nothing refers to; nil: somebody else does
	closers     []func() error

	// names is held for reading while a container is made of an image and for
	// writing while an image is removed: neither sees the other half done.
	names sync.RWMutex
	// loading is held by Load: archives name their files alike.
	loading sync.Mutex
}

// Close lets the store's directory go.
func (s *Store) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *Store) onClose(f func() error) { s.closers = append(s.closers, f) }

// Driver names the way root file systems are made, as `docker info` has it.
func (s *Store) Driver() string { return s.snapshotter }

// in gives the context containerd's services want.
func (s *Store) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, s.namespace)
}

// clean removes what nothing refers to any more. Its failure loses nothing but
// room: the next one tries again.
func (s *Store) clean(ctx context.Context) {
	if s.collect == nil {
		return
	}
	if err := s.collect(context.WithoutCancel(ctx)); err != nil {
		s.log.WarnContext(ctx, "image store not cleaned", "err", fault.Internal("%w", err))
	}
}
