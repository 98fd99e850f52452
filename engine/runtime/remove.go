package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/containerd"
	"weft/engine/fault"
	"weft/engine/kernel"
)

// quitTimeout is how long a shim may take to kill its process and leave before
// it is killed itself.
const quitTimeout = 5 * time.Second

// Remove kills what runs in a container and removes all there is of it, its
// log included. Whoever is attached or waits is let go.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	defer r.lock(id)()
	if err := r.exists(id); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.dropPending(id)
	if err := r.endShim(ctx, id); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	// A crash on the way must leave a whole container or none.
	grave := filepath.Join(r.cfg.Dir, tmpPrefix+id)
	if err := os.Rename(r.bundleDir(id), grave); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	if err := os.RemoveAll(grave); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	return nil
}

// endShim ends the shim of a container, if there is one, with the process, and
// removes the run directory.
func (r *Runtime) endShim(ctx context.Context, id string) error {
	run := r.runDir(id)
	var procs procsRecord
	if err := readRecord(filepath.Join(run, fileProcs), &procs); err != nil {
		return err
	}
	if procs.Shim.Pid != 0 {
		// Asked, it brings the log and the exit status to an end.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTimeout)
		_, err := r.call(ctx, id, request{Op: opQuit}) // no reply but the end
		cancel()
		if err != nil && !errors.Is(err, errNoShim) {
			r.cfg.Log.WarnContext(ctx, "shim does not quit, killing it", "container_id", id, "err", err)
		}
	}
	for _, p := range []kernel.Process{procs.Shim, procs.Init} {
		if p.Pid == 0 {
			continue
		}
		if err := p.End(); err != nil {
			return fmt.Errorf("end process %d: %w", p.Pid, err)
		}
	}
	if adoptable(run) {
		if err := r.purgeRun(ctx, id); err != nil {
			return err
		}
	}
	if err := loadCgroup(r.cgroupOf(id)).remove(); err != nil {
		return err
	}
	return os.RemoveAll(run)
}

// cgroupOf gives the path of a container's cgroup.
func (r *Runtime) cgroupOf(id string) string { return path.Join(r.cfg.CgroupParent, id) }

// purgeRun removes what containerd has of a run whose shim did not get to it.
func (r *Runtime) purgeRun(ctx context.Context, id string) (err error) {
	var ref containerd.Ref
	if err := readRecord(filepath.Join(r.runDir(id), fileTask), &ref); err != nil {
		return err
	}
	client, err := containerd.Open(ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	if _, err := client.Answers(ctx); err != nil {
		return err
	}
	return purgeTask(ctx, client, r.cgroupOf(id), r.runDir(id))
}

// List gives the IDs of all containers, sorted.
func (r *Runtime) List(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return containers(entries), nil
}

func containers(entries []fs.DirEntry) []string {
	var ids []string
	for _, e := range entries {
		if e.IsDir() && idForm.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids
}

// Sweep removes every container that keep does not name, and what a crash left
// half made. It must not run beside Create.
func (r *Runtime) Sweep(ctx context.Context, keep map[string]bool) error {
	bundles, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		return fmt.Errorf("sweep containers: %w", err)
	}
	runs, err := os.ReadDir(r.cfg.RunDir)
	if err != nil {
		return fmt.Errorf("sweep containers: %w", err)
	}
	var errs []error
	have := containers(bundles)
	for _, id := range have {
		if keep[id] {
			continue
		}
		r.cfg.Log.InfoContext(ctx, "removing orphaned container", "container_id", id)
		if err := r.laterUnlessFatal(ctx, r.Remove(ctx, id)); err != nil && !errors.Is(err, ctx.Err()) {
			errs = append(errs, err)
		}
	}
	for _, id := range containers(runs) {
		if !slices.Contains(have, id) {
			errs = append(errs, r.laterUnlessFatal(ctx, r.endShim(ctx, id)))
		}
	}
	errs = append(errs, r.laterUnlessFatal(ctx, r.sweepTasks(ctx)))
	for _, e := range bundles {
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(r.cfg.Dir, e.Name())))
		}
	}
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return fault.Internal("sweep containers: %w", err)
	}
	return nil
}

// laterUnlessFatal drops the error of a containerd that does not answer: the
// next sweep may find it.
func (r *Runtime) laterUnlessFatal(ctx context.Context, err error) error {
	if errdefs.IsUnavailable(err) {
		r.cfg.Log.WarnContext(ctx, "left for another time", "err", err)
		return nil
	}
	return err
}

// sweepTasks removes what containerd has of containers that do not run: after
// a reboot it remembers those that did.
func (r *Runtime) sweepTasks(ctx context.Context) (err error) {
	if r.cfg.Containerd == nil {
		return nil
	}
	client, err := containerd.Open(*r.cfg.Containerd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := client.Answers(ctx); err != nil {
		return err
	}
	ids, err := client.List(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if st, err := r.State(ctx, id); err == nil && st.Running {
			continue
		}
		r.cfg.Log.InfoContext(ctx, "removing what containerd has of a container that does not run", "container_id", id)
		if err := client.Purge(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
