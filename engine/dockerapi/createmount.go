package dockerapi

import (
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"weft/engine/fault"
	"weft/engine/model"
)

// mountRequests gives the file systems a container asks for, from the three
// ways Docker has of asking.
func mountRequests(h *container.HostConfig) ([]model.Mount, error) {
	var out []model.Mount
	for _, spec := range h.Binds {
		m, err := parseBind(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	for _, target := range slices.Sorted(maps.Keys(h.Tmpfs)) {
		m := model.Mount{Kind: model.MountTmpfs, Form: model.MountAsTmpfs, Target: target}
		if options := h.Tmpfs[target]; options != "" {
			m.Options = strings.Split(options, ",")
		}
		out = append(out, m)
	}
	for _, m := range h.Mounts {
		parsed, err := parseMount(m)
		if err != nil {
			return nil, err
		}
		out = append(out, parsed)
	}
	seen := map[string]bool{}
	for _, m := range out {
		if seen[path.Clean(m.Target)] {
			return nil, fault.Invalid("Duplicate mount point: %s", m.Target)
		}
		seen[path.Clean(m.Target)] = true
	}
	return out, nil
}

// parseBind reads SOURCE:TARGET[:OPTIONS], as -v has it on Linux. A source that
// is no absolute path names a volume; a target alone has one of its own.
func parseBind(spec string) (model.Mount, error) {
	parts := strings.Split(spec, ":")
	m := model.Mount{Kind: model.MountVolume, Form: model.MountAsBind}
	switch len(parts) {
	case 1:
		m.Target = parts[0]
	case 2, 3:
		m.Name, m.Target = parts[0], parts[1]
	}
	if m.Target == "" || len(parts) > 1 && m.Name == "" || len(parts) == 2 && bindMode(&model.Mount{}, m.Target) == nil {
		return m, fault.Invalid("invalid volume specification: '%s'", spec)
	}
	if path.IsAbs(m.Name) {
		m.Kind, m.Source, m.Name, m.MakeSource = model.MountBind, path.Clean(m.Name), "", true
	}
	if len(parts) == 3 {
		if err := bindMode(&m, parts[2]); err != nil {
			return m, err
		}
	}
	if err := checkTarget(m.Target); err != nil {
		return m, fault.Invalid("invalid volume specification: '%s': invalid mount config for type %q: %w", spec, m.Kind, err)
	}
	return m, nil
}

func checkTarget(target string) error {
	switch {
	case path.Clean(target) == "/":
		return fault.Invalid("invalid specification: destination can't be '/'")
	case !path.IsAbs(target):
		return fault.Invalid("invalid mount path: '%s' mount path must be absolute", target)
	}
	return nil
}

// bindMode reads the options of -v. Of each kind there may be one. Labels and
// caches, which this engine has not, are let pass.
func bindMode(m *model.Mount, mode string) error {
	m.Mode = mode
	kinds := map[string]int{}
	for option := range strings.SplitSeq(mode, ",") {
		kind := ""
		switch option {
		case "ro", "rw":
			kind, m.ReadOnly = "rw", option == "ro"
		case "z", "Z":
			kind = "label"
		case "nocopy":
			kind, m.NoCopy = "copy", true
		case "consistent", "cached", "delegated":
			kind = "consistency"
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			kind, m.Propagation = "propagation", option
		}
		if kinds[kind]++; kind == "" || kinds[kind] > 1 {
			return fault.Invalid("invalid mode: %s", mode)
		}
	}
	return nil
}

// parseMount reads what --mount gives.
func parseMount(m mount.Mount) (model.Mount, error) {
	out := model.Mount{Kind: model.MountKind(m.Type), Form: model.MountAsMount, Target: m.Target, ReadOnly: m.ReadOnly}
	wrong := func(format string, args ...any) (model.Mount, error) {
		return out, fault.Invalid("invalid mount config for type %q: %w", m.Type, fault.Invalid(format, args...))
	}
	if m.Target == "" {
		return wrong("field Target must not be empty")
	}
	if err := checkTarget(m.Target); err != nil {
		return wrong("%w", err)
	}
	switch m.Type {
	case mount.TypeTmpfs:
		if m.Source != "" {
			return wrong("field Source must not be specified")
		}
		return out, tmpfsOptions(&out, m)
	case mount.TypeVolume:
		return volumeMount(out, m)
	case mount.TypeBind:
		switch {
		case m.Source == "":
			return wrong("field Source must not be empty")
		case m.VolumeOptions != nil:
			return wrong("field VolumeOptions must not be specified")
		case !path.IsAbs(m.Source):
			return wrong("invalid mount path: '%s' mount path must be absolute", m.Source)
		}
		out.Source = path.Clean(m.Source)
		if o := m.BindOptions; o != nil {
			out.Propagation, out.NonRecursive, out.MakeSource = string(o.Propagation), o.NonRecursive, o.CreateMountpoint
		}
		return out, nil
	case mount.TypeImage, mount.TypeNamedPipe, mount.TypeCluster:
		return out, fault.Unsupported("this engine has no mounts of type %q: use bind, volume or tmpfs", m.Type)
	}
	return wrong("mount type unknown")
}

// volumeMount reads what --mount type=volume gives.
func volumeMount(out model.Mount, m mount.Mount) (model.Mount, error) {
	out.Name = m.Source
	switch o := m.VolumeOptions; {
	case m.BindOptions != nil:
		return out, fault.Invalid("invalid mount config for type %q: field BindOptions must not be specified", m.Type)
	case m.ReadOnly && m.Source == "":
		return out, fault.Invalid("invalid mount config for type %q: must not set ReadOnly mode when using anonymous volumes", m.Type)
	case o == nil:
		return out, nil
	case o.Subpath != "" && !filepath.IsLocal(o.Subpath):
		return out, fault.Invalid("invalid mount config for type %q: subpath must be a relative path within the volume", m.Type)
	case o.Subpath != "":
		return out, fault.Unsupported("this engine mounts whole volumes: leave out volume-subpath")
	default:
		out.NoCopy, out.VolumeLabels = o.NoCopy, o.Labels
		if o.DriverConfig == nil {
			return out, nil
		}
		out.VolumeOptions = o.DriverConfig.Options
		return out, checkVolumeDriver(m.Source, o.DriverConfig.Name)
	}
}

// checkVolumeDriver refuses all drivers but the one there is.
func checkVolumeDriver(volume, driver string) error {
	if driver == "" || driver == model.VolumeDriver {
		return nil
	}
	return fault.NotFound("create %s: error looking up volume plugin %s: plugin %q not found", volume, driver, driver)
}

// volumesFrom checks the containers that are to lend their volumes.
func volumesFrom(h *container.HostConfig) ([]string, error) {
	for _, from := range h.VolumesFrom {
		name, mode, _ := strings.Cut(from, ":")
		if name == "" {
			return nil, fault.Invalid("volumes-from specification cannot be an empty string")
		}
		if mode == "" {
			continue
		}
		var m model.Mount
		if err := bindMode(&m, mode); err != nil {
			return nil, err
		}
		if m.Propagation != "" || m.NoCopy {
			return nil, fault.Invalid("invalid mode: %s", mode)
		}
	}
	return h.VolumesFrom, nil
}

// volumeTargets gives the paths that are to have a volume of their own.
func volumeTargets(c *container.Config) ([]string, error) {
	targets := slices.Sorted(maps.Keys(c.Volumes))
	for _, t := range targets {
		if err := checkTarget(t); err != nil {
			return nil, fault.Invalid("invalid mount config for type \"volume\": %w", err)
		}
	}
	return targets, nil
}

func tmpfsOptions(out *model.Mount, m mount.Mount) error {
	if m.Source != "" {
		return fault.Invalid("invalid mount config for type \"tmpfs\": field Source must not be specified")
	}
	o := m.TmpfsOptions
	if o == nil {
		return nil
	}
	if o.SizeBytes > 0 {
		out.Options = append(out.Options, "size="+strconv.FormatInt(o.SizeBytes, 10))
	}
	if o.Mode != 0 {
		out.Options = append(out.Options, "mode="+strconv.FormatUint(uint64(o.Mode), 8))
	}
	for _, option := range o.Options {
		out.Options = append(out.Options, strings.Join(option, "="))
	}
	return nil
}
