package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"weft/engine/dockerapi"
	"weft/engine/fault"
	"weft/engine/fsview"
	"weft/engine/model"
)

// fileBackend answers dockerapi.Files.
type fileBackend struct{ e *Engine }

func (b fileBackend) StatPath(ctx context.Context, name, path string) (container.PathStat, error) {
	var st container.PathStat
	err := b.e.workload.Look(ctx, name, "", func(c model.Container) error {
		view, err := b.e.view(ctx, c)
		if err != nil {
			return err
		}
		info, target, err := view.Stat(path)
		if err == nil {
			st = pathStat(info, target)
		}
		return err
	})
	return st, fileError(err, name, path)
}

func (b fileBackend) ReadPath(ctx context.Context, name, path string, begin func(container.PathStat) io.Writer) error {
	err := b.e.workload.Look(ctx, name, "archive-path", func(c model.Container) error {
		view, err := b.e.view(ctx, c)
		if err != nil {
			return err
		}
		return view.Pack(path, func(info fs.FileInfo, target string) io.Writer { return begin(pathStat(info, target)) })
	})
	return fileError(err, name, path)
}

func (b fileBackend) WritePath(ctx context.Context, name, path string, in io.Reader, o dockerapi.WriteOptions) error {
	err := b.e.workload.Look(ctx, name, "extract-to-dir", func(c model.Container) error {
		view, err := b.e.view(ctx, c)
		if err != nil {
			return err
		}
		opts := fsview.UnpackOptions{KeepKind: o.KeepKind, Writable: func(dir string) error { return writable(c.Spec.Process, dir) }}
		if o.OwnedByUser {
			opts.Owner = c.Spec.Process.User
		}
		return view.Unpack(path, in, opts)
	})
	return fileError(err, name, path)
}

func (b fileBackend) Export(ctx context.Context, name string, begin func() io.Writer) error {
	return b.e.workload.Look(ctx, name, "export", func(c model.Container) error {
		view, err := b.e.view(ctx, c)
		if err != nil {
			return err
		}
		view.Bare = true
		return view.PackAll(begin)
	})
}

func pathStat(info fs.FileInfo, target string) container.PathStat {
	return container.PathStat{Name: info.Name(), Size: info.Size(), Mode: info.Mode(), Mtime: info.ModTime(), LinkTarget: target}
}

// fileError gives an error its class and Docker's words.
func fileError(err error, name, path string) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fsview.NotFound(path, name)
	case err == nil, errdefs.IsNotFound(err), errdefs.IsInvalidArgument(err), errdefs.IsConflict(err), errdefs.IsNotImplemented(err):
		return err
	}
	return fault.Internal("%w", err)
}

// writable refuses what a container may not write to either.
func writable(p model.ProcessSpec, dir string) error {
	var over model.Mount // the innermost mount there
	for _, m := range p.Mounts {
		at := filepath.Clean(m.Target)
		if (dir == at || strings.HasPrefix(dir, at+"/")) && len(at) >= len(over.Target) {
			over = m
			over.Target = at
		}
	}
	switch {
	case over.Target != "" && over.ReadOnly:
		return fault.Invalid("mounted volume is marked read-only")
	case over.Target == "" && p.ReadOnlyRoot:
		return fault.Invalid("container rootfs is marked read-only")
	}
	return nil
}

// view gives the file system of a container as it is: the one it is in, or the
// one it would be.
func (e *Engine) view(ctx context.Context, c model.Container) (fsview.View, error) {
	if c.State == model.StateRunning {
		return fsview.View{Pid: c.Pid, Still: func() bool {
			st, err := e.runtime.State(ctx, c.ID)
			return err == nil && st.Running && st.Pid == c.Pid
		}}, nil
	}
	view, err := e.rootView(ctx, c.ID)
	view.Bare, view.Mounts = false, c.Spec.Process.Mounts
	return view, err
}

// rootView gives the root of a container that does not run; an image without
// files has no layers.
func (e *Engine) rootView(ctx context.Context, id string) (fsview.View, error) {
	view := fsview.View{Bare: true, Dir: e.viewDir()}
	c, err := e.workload.Container(ctx, id)
	if err != nil {
		return view, err
	}
	img, err := e.images.Get(ctx, c.ImageID)
	if err == nil && img.Builtin {
		return view, nil
	}
	mounts, err := e.images.Mounts(ctx, c.ID)
	if err != nil {
		return view, err
	}
	for _, m := range mounts {
		view.Root = append(view.Root, fsview.Layer{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	return view, os.MkdirAll(view.Dir, 0o700)
}

// viewDir is where threads mount roots in namespaces of their own.
func (e *Engine) viewDir() string { return filepath.Join(e.cfg.RunDir, "view") }
