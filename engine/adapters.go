package engine

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"

	"github.com/containerd/errdefs"

	"weft/engine/image"
	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/runtime"
	"weft/engine/store"
)

// rows gives a store's table the shape the parts declare.
type rows[T any] struct{ t *store.Table[T] }

func (r rows[T]) Put(id string, v T) error { return r.t.Put(id, v) }

func (r rows[T]) Delete(id string) error { return r.t.Delete(id) }

func (r rows[T]) List() (map[string]T, error) {
	list, err := r.t.List()
	if err != nil {
		return nil, err
	}
	out := make(map[string]T, len(list))
	for _, row := range list {
		out[row.Key] = row.Value
	}
	return out, nil
}

// sandboxPrefix begins the names of containers' namespaces.
const sandboxPrefix = "ctr-"

// sandboxes answers workload.Sandboxes with namespaces bound in a directory.
type sandboxes struct{ dir string }

func (s sandboxes) Path(containerID string) string {
	return filepath.Join(s.dir, sandboxPrefix+containerID[:12])
}

func (s sandboxes) Create(_ context.Context, containerID, shared string) error {
	if shared == "" {
		return ensureNamespace(s.Path(containerID))
	}
	open := func() (*kernel.Namespace, error) { return kernel.Open(shared) }
	if shared == model.ModeHost {
		open = kernel.Current
	}
	ns, err := open()
	if err != nil {
		return err
	}
	// What an earlier start left may be another namespace.
	return errors.Join(kernel.Remove(s.Path(containerID)), ns.Bind(s.Path(containerID)), ns.Close())
}

func (s sandboxes) Remove(_ context.Context, containerID string) error {
	return kernel.Remove(s.Path(containerID))
}

// processes answers workload.Runtime: root file systems from the image store,
// processes from the runtime.
type processes struct {
	rt       *runtime.Runtime
	images   *image.Store
	runtimes runtimes
}

func (p processes) Resolve(ctx context.Context, name string) (model.Image, error) {
	return p.images.Get(ctx, name)
}

func (p processes) Create(ctx context.Context, id, sandbox string, proc model.ProcessSpec) (err error) {
	ref, err := p.runtimes.of(proc.Runtime)
	if err != nil {
		return err
	}
	img, err := p.images.Prepare(ctx, id, proc.Image)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.images.Discard(context.WithoutCancel(ctx), id))
		}
	}()
	spec := runtime.Spec{ID: id, Process: proc, NetNS: sandbox, Builtin: img.Builtin, Containerd: ref}
	if !img.Builtin {
		if spec.Root, err = p.images.Mounts(ctx, id); err != nil {
			return err
		}
	}
	return p.rt.Create(ctx, spec)
}

func (p processes) Start(ctx context.Context, id string) (int, error) {
	return p.rt.Start(ctx, id)
}

func (p processes) Wait(ctx context.Context, id string) (model.ExitStatus, error) {
	return p.rt.Wait(ctx, id)
}

func (p processes) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	return p.rt.Signal(ctx, id, sig)
}

func (p processes) Running(ctx context.Context, id string) (int, bool, error) {
	st, err := p.rt.State(ctx, id)
	return st.Pid, st.Running, err
}

// checkOutput is how much of what a health check prints is kept, in bytes
// (daemon/health.go).
const checkOutput = 4096

// Check answers workload.Runtime with a further process, which ends with ctx.
func (p processes) Check(ctx context.Context, id string, spec model.ExecSpec) (int, string, error) {
	execID := model.NewID()
	var out beginning
	err := p.rt.Exec(ctx, id, execID, spec, runtime.AttachOptions{Stdout: &out, Stderr: &out})
	background := context.WithoutCancel(ctx)
	if ctx.Err() != nil {
		err := p.rt.SignalExec(background, id, execID, syscall.SIGKILL)
		return 0, "", errors.Join(ctx.Err(), ignoreNotFound(err))
	}
	var failed *runtime.ExecError
	if errors.As(err, &failed) {
		return failed.Code, failed.Error(), nil
	}
	if err != nil {
		return 0, "", err
	}
	st, err := p.rt.WaitExec(ctx, id, execID)
	return st.Code, string(out.bytes), err
}

// beginning keeps the first checkOutput bytes written to it.
type beginning struct{ bytes []byte }

func (b *beginning) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p[:min(len(p), checkOutput-len(b.bytes))]...)
	return len(p), nil
}

func (p processes) Remove(ctx context.Context, id string) error {
	if err := p.rt.Remove(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return p.images.Discard(ctx, id)
}
