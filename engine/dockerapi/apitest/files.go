package apitest

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	ctr "github.com/docker/docker/api/types/container"

	"weft/engine/dockerapi"
	"weft/engine/fault"
)

// fileBackend answers dockerapi.Files: a container's files are names and texts,
// in directories that are there as soon as a file is below them.
type fileBackend struct{ e *Engine }

func notFound(name, container string) error {
	return fault.NotFound("Could not find the file %s in container %s", name, container)
}

// below gives the names of a container's files at or below a path.
func (b fileBackend) below(name, at string) (map[string]string, error) {
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	c, err := b.e.findLocked(name)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for file, text := range c.files {
		if file == at || strings.HasPrefix(file, strings.TrimSuffix(at, "/")+"/") {
			out[file] = text
		}
	}
	if len(out) == 0 && at != "/" {
		return nil, notFound(at, name)
	}
	return out, nil
}

func (b fileBackend) StatPath(_ context.Context, name, at string) (ctr.PathStat, error) {
	at = path.Join("/", at)
	files, err := b.below(name, at)
	st := ctr.PathStat{Name: path.Base(at), Mode: fs.ModeDir | 0o755}
	if text, ok := files[at]; ok {
		st.Mode, st.Size = 0o644, int64(len(text))
	}
	return st, err
}

func (b fileBackend) ReadPath(ctx context.Context, name, at string, begin func(ctr.PathStat) io.Writer) error {
	st, err := b.StatPath(ctx, name, at)
	if err != nil {
		return err
	}
	files, err := b.below(name, path.Join("/", at))
	if err != nil {
		return err
	}
	return writeTar(begin(st), files, path.Dir(path.Join("/", at)))
}

func (b fileBackend) Export(_ context.Context, name string, begin func() io.Writer) error {
	files, err := b.below(name, "/")
	if err != nil {
		return err
	}
	return writeTar(begin(), files, "/")
}

func writeTar(to io.Writer, files map[string]string, dir string) error {
	w := tar.NewWriter(to)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		head := tar.Header{Name: strings.TrimPrefix(strings.TrimPrefix(name, dir), "/"), Mode: 0o644, Size: int64(len(files[name]))}
		if err := w.WriteHeader(&head); err != nil {
			return err
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			return err
		}
	}
	return w.Close()
}

func (b fileBackend) WritePath(ctx context.Context, name, at string, in io.Reader, opts dockerapi.WriteOptions) error {
	at = path.Join("/", at)
	st, err := b.StatPath(ctx, name, at)
	switch {
	case err != nil:
		return err
	case !st.Mode.IsDir():
		return fault.Invalid("extraction point is not a directory")
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	c, err := b.e.findLocked(name)
	if err != nil {
		return err
	}
	c.written = opts
	for r := tar.NewReader(in); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if head.Typeflag == tar.TypeReg {
			c.files[path.Join(at, head.Name)] = string(text)
		}
	}
}

// Written gives how an archive was last to be unpacked in a container.
func (e *Engine) Written(name string) (dockerapi.WriteOptions, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findLocked(name)
	if err != nil {
		return dockerapi.WriteOptions{}, err
	}
	return c.written, nil
}
