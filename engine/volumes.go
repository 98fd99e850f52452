package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weft/engine/fault"
	"weft/engine/fsview"
	"weft/engine/model"
	"weft/engine/volume"
)

// volumes answers workload.Volumes and dockerapi.Volumes.
type volumes struct {
	*volume.Store
	e *Engine
}

// Plan completes the mounts of a container to be made: those it names come
// before those of other containers, these before the volumes of paths alone
// (daemon/volumes.go, registerMountPoints).
func (v volumes) Plan(ctx context.Context, spec *model.ContainerSpec, img model.Image) error {
	mounts := slices.Clone(spec.Process.Mounts)
	for i := range mounts {
		if err := v.planMount(&mounts[i]); err != nil {
			return err
		}
	}
	var lent []model.Mount
	for _, from := range spec.VolumesFrom {
		more, err := v.lend(ctx, from)
		if err != nil {
			return err
		}
		lent = append(lent, more...)
	}
	slices.Reverse(lent) // of several at one place the last one counts
	for _, m := range lent {
		mounts = addMount(mounts, m)
	}
	spec.Volumes = append(spec.Volumes, imageVolumes(img)...)
	slices.Sort(spec.Volumes)
	spec.Volumes = slices.Compact(spec.Volumes)
	for _, target := range spec.Volumes {
		m := model.Mount{Kind: model.MountVolume, Target: filepath.Clean(target)}
		if !hasMount(mounts, m.Target) {
			if err := v.planMount(&m); err != nil {
				return err
			}
			mounts = append(mounts, m)
		}
	}
	spec.Process.Mounts = mounts
	return nil
}

func imageVolumes(img model.Image) []string {
	var out []string
	for target := range img.Config.Volumes {
		out = append(out, target)
	}
	return out
}

// planMount names a volume and says where it is, and looks whether a directory
// of the host is there.
func (v volumes) planMount(m *model.Mount) error {
	switch m.Kind {
	case model.MountVolume:
		if m.Name == "" {
			m.Name, m.Anonymous = model.NewID(), true
		}
		if err := volume.CheckName(m.Name); err != nil {
			return err
		}
		m.Source = v.Path(m.Name)
	case model.MountBind:
		if m.MakeSource {
			return nil
		}
		if _, err := os.Stat(m.Source); errors.Is(err, os.ErrNotExist) {
			return fault.Invalid("invalid mount config for type %q: bind source path does not exist: %s", m.Kind, m.Source)
		} else if err != nil {
			return fault.Invalid("invalid mount config for type %q: %w", m.Kind, err)
		}
	case model.MountTmpfs:
	}
	return nil
}

// lend gives the mounts another container lends: NAME, NAME:ro or NAME:rw.
func (v volumes) lend(ctx context.Context, from string) ([]model.Mount, error) {
	name, mode, _ := strings.Cut(from, ":")
	other, err := v.e.workload.Container(ctx, name)
	if err != nil {
		return nil, fault.Invalid("%w", err)
	}
	var out []model.Mount
	for _, m := range other.Spec.Process.Mounts {
		if m.Form == model.MountAsTmpfs {
			continue
		}
		m.Form, m.NoCopy, m.Mode = model.MountFrom, true, ""
		m.ReadOnly = m.ReadOnly || slices.Contains(strings.Split(mode, ","), "ro")
		out = append(out, m)
	}
	return out, nil
}

func hasMount(mounts []model.Mount, target string) bool {
	return slices.ContainsFunc(mounts, func(m model.Mount) bool { return filepath.Clean(m.Target) == filepath.Clean(target) })
}

func addMount(mounts []model.Mount, m model.Mount) []model.Mount {
	if hasMount(mounts, m.Target) {
		return mounts
	}
	return append(mounts, m)
}

// Fill copies what the container's root has in the place of its volumes.
func (v volumes) Fill(ctx context.Context, id string, mounts []model.Mount) error {
	var wanting []model.Mount
	for _, m := range mounts {
		if m.Kind == model.MountVolume && !m.NoCopy {
			wanting = append(wanting, m)
		}
	}
	if len(wanting) == 0 {
		return nil
	}
	view, err := v.e.rootView(ctx, id)
	if err != nil || len(view.Root) == 0 {
		return err
	}
	for _, m := range wanting {
		if err := v.fill(ctx, id, m, view); err != nil {
			return err
		}
	}
	return nil
}

func (v volumes) fill(ctx context.Context, id string, m model.Mount, view fsview.View) error {
	dir, err := view.Open(m.Target)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to populate volume: %w", err)
	}
	defer func() { _ = dir.Close() }()
	return v.Store.Fill(ctx, id, m, "/proc/self/fd/"+strconv.FormatUint(uint64(dir.Fd()), 10)+"/.")
}

// Mount makes ready what a container mounts: its volumes, and directories of
// the host that are to be made.
func (v volumes) Mount(ctx context.Context, id string, mounts []model.Mount) error {
	for _, m := range mounts {
		if m.Kind != model.MountBind || !m.MakeSource {
			continue
		}
		if _, err := os.Stat(m.Source); err == nil {
			continue
		}
		if err := os.MkdirAll(m.Source, 0o755); err != nil { //nolint:gosec // as Docker makes it
			return fault.Internal("error while creating mount source path '%s': %w", m.Source, err)
		}
	}
	return v.Store.Mount(ctx, id, mounts)
}
