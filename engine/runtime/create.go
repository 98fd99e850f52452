package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weft/engine/fault"
)

// Create makes a container that runs nothing yet. It fails as Conflict for an
// ID that is taken, and as InvalidArgument for what can't be run.
func (r *Runtime) Create(ctx context.Context, spec Spec) error {
	if err := spec.check(); err != nil {
		return err
	}
	dir := r.bundleDir(spec.ID)
	b, err := spec.bundle(dir, r.cfg.CgroupParent)
	if err != nil {
		return err
	}
	defer r.lock(spec.ID)()
	if err := ctx.Err(); err != nil {
		return err
	}
	// The directory appears with the bundle in it, or not at all.
	tmp, err := os.MkdirTemp(r.cfg.Dir, tmpPrefix)
	if err != nil {
		return fmt.Errorf("make bundle of container %s: %w", spec.ID, err)
	}
	err = writeEtc(tmp, b.Spec.Hostname, spec.Hosts, spec.Resolve)
	if err == nil {
		err = writeRecord(filepath.Join(tmp, fileBundle), b)
	}
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err == nil {
		return nil
	}
	_ = os.RemoveAll(tmp)
	if errors.Is(err, os.ErrExist) {
		return fault.Conflict("container %s exists already", spec.ID)
	}
	return fmt.Errorf("make bundle of container %s: %w", spec.ID, err)
}

// probePath is where the built-in image has this program.
const probePath = "/probe"

// tmpPrefix begins the names of bundles in the making; no ID begins so.
const tmpPrefix = ".tmp-"

func (r *Runtime) bundleDir(id string) string { return filepath.Join(r.cfg.Dir, id) }

func (r *Runtime) runDir(id string) string { return filepath.Join(r.cfg.RunDir, id) }

// exists fails as NotFound when there is no container id.
func (r *Runtime) exists(id string) error {
	if !idForm.MatchString(id) {
		return fault.NotFound("No such container: %s", id)
	}
	_, err := os.Stat(filepath.Join(r.bundleDir(id), fileBundle))
	if errors.Is(err, os.ErrNotExist) {
		return fault.NotFound("No such container: %s", id)
	}
	return err
}
