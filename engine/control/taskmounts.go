package control

import (
	"encoding/json"
	"path"
	"strconv"
	"strings"

	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
	"weft/engine/model"
)

// taskMounts converts the mounts of a task. As with dockerd a directory of the
// host must be there, and a volume is made on the node that needs it.
func taskMounts(list []api.Mount) ([]model.Mount, error) {
	var out []model.Mount
	seen := map[string]bool{}
	for _, m := range list {
		converted, err := taskMount(m)
		if err != nil {
			return nil, err
		}
		if target := path.Clean(m.Target); seen[target] {
			return nil, fault.Invalid("invalid mount target, duplicate target: %s", m.Target)
		} else if target == "/" || !path.IsAbs(target) {
			return nil, fault.Invalid("invalid mount target, must be an absolute path: %s", m.Target)
		}
		seen[path.Clean(m.Target)] = true
		out = append(out, converted)
	}
	return out, nil
}

func taskMount(m api.Mount) (model.Mount, error) {
	out := model.Mount{Form: model.MountAsMount, Target: m.Target, ReadOnly: m.ReadOnly}
	switch m.Type {
	case api.MountTypeBind:
		out.Kind, out.Source = model.MountBind, path.Clean(m.Source)
		if !path.IsAbs(m.Source) {
			return out, fault.Invalid("invalid bind mount source, must be an absolute path: %s", m.Source)
		}
		if o := m.BindOptions; o != nil {
			out.Propagation, out.NonRecursive, out.MakeSource = propagation(o.Propagation), o.NonRecursive, o.CreateMountpoint
		}
		return out, nil
	case api.MountTypeVolume:
		return taskVolume(out, m)
	case api.MountTypeTmpfs:
		out.Kind = model.MountTmpfs
		if o := m.TmpfsOptions; o != nil {
			var err error
			out.Options, err = tmpfsOptions(o)
			return out, err
		}
		return out, nil
	case api.MountTypeNamedPipe, api.MountTypeCluster:
	}
	return out, fault.Unsupported("this engine cannot run tasks with mounts of type %s: use bind, volume or tmpfs", strings.ToLower(m.Type.String()))
}

func taskVolume(out model.Mount, m api.Mount) (model.Mount, error) {
	out.Kind, out.Name = model.MountVolume, m.Source
	o := m.VolumeOptions
	if o == nil {
		return out, nil
	}
	out.NoCopy, out.VolumeLabels = o.NoCopy, o.Labels
	if d := o.DriverConfig; d != nil {
		if d.Name != "" && d.Name != model.VolumeDriver {
			return out, fault.Unsupported("this engine cannot run tasks with volumes of driver %s: its volumes are local", d.Name)
		}
		out.VolumeOptions = d.Options
	}
	if o.Subpath != "" {
		return out, fault.Unsupported("this engine mounts whole volumes: leave out volume-subpath")
	}
	return out, nil
}

func propagation(p api.Mount_BindOptions_MountPropagation) string {
	return map[api.Mount_BindOptions_MountPropagation]string{
		api.MountPropagationRPrivate: "rprivate", api.MountPropagationPrivate: "private", api.MountPropagationRShared: "rshared",
		api.MountPropagationShared: "shared", api.MountPropagationRSlave: "rslave", api.MountPropagationSlave: "slave",
	}[p]
}

// tmpfsOptions gives the options of mount(8). Docker's API has a list of lists
// where the swarm's has a string, and puts the one into the other as JSON.
func tmpfsOptions(o *api.Mount_TmpfsOptions) ([]string, error) {
	var out []string
	if o.SizeBytes != 0 {
		out = append(out, "size="+strconv.FormatInt(o.SizeBytes, 10))
	}
	if o.Mode != 0 {
		out = append(out, "mode="+strconv.FormatUint(uint64(o.Mode.Perm()), 8))
	}
	if o.Options == "" {
		return out, nil
	}
	var more [][]string
	if err := json.Unmarshal([]byte(o.Options), &more); err != nil {
		return nil, fault.Invalid("invalid tmpfs options %s: %w", o.Options, err)
	}
	for _, option := range more {
		out = append(out, strings.Join(option, "="))
	}
	return out, nil
}
