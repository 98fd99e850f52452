package dockerapi

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"weft/engine/fault"
	"weft/engine/model"
)

// mountRequests gives the file systems a container asks for, from the three
// ways Docker has of asking. Volumes, which are not there, are refused.
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
		m := model.Mount{Kind: model.MountTmpfs, Target: target}
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

// parseBind reads SOURCE:TARGET[:OPTIONS], as -v has it on Linux.
func parseBind(spec string) (model.Mount, error) {
	parts := strings.Split(spec, ":")
	if len(parts) > 3 || len(parts) < 2 || !path.IsAbs(parts[1]) {
		return model.Mount{}, fault.Invalid("invalid volume specification: '%s'", spec)
	}
	if !path.IsAbs(parts[0]) {
		return model.Mount{}, fault.Unsupported("%s (volume %q): name a directory of the host by its absolute path", noVolumes, parts[0])
	}
	m := model.Mount{Kind: model.MountBind, Source: parts[0], Target: parts[1]}
	if len(parts) < 3 {
		return m, nil
	}
	for option := range strings.SplitSeq(parts[2], ",") {
		switch option {
		case "ro":
			m.ReadOnly = true
		case "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated": // labels and caches this engine has not
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			m.Propagation = option
		default:
			return m, fault.Invalid("invalid volume specification: '%s': invalid mode: %s", spec, parts[2])
		}
	}
	return m, nil
}

// parseMount reads what --mount gives.
func parseMount(m mount.Mount) (model.Mount, error) {
	out := model.Mount{Kind: model.MountKind(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	switch {
	case m.Target == "":
		return out, fault.Invalid("invalid mount config for type %q: field Target must not be empty", m.Type)
	case m.Type == mount.TypeTmpfs:
		return out, tmpfsOptions(&out, m)
	case m.Type == mount.TypeVolume:
		return out, fault.Unsupported("%s: mount a directory of the host (--mount type=bind) or a tmpfs", noVolumes)
	case m.Type != mount.TypeBind:
		return out, fault.Unsupported("this engine has no mounts of type %q: use bind or tmpfs", m.Type)
	case !path.IsAbs(m.Source):
		return out, fault.Invalid("invalid mount config for type \"bind\": invalid mount path: '%s' mount path must be absolute", m.Source)
	}
	if o := m.BindOptions; o != nil {
		out.Propagation, out.NonRecursive = string(o.Propagation), o.NonRecursive
	}
	return out, nil
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

// Docker's smallest memory limit (daemon/daemon_unix.go).
const minMemory = 6 << 20

// resourceBounds reads the bounds a cgroup can set.
func resourceBounds(r container.Resources) (model.Resources, error) {
	switch {
	case r.Memory != 0 && r.Memory < minMemory:
		return model.Resources{}, fault.Invalid("Minimum memory limit allowed is 6MB")
	case r.MemorySwap > 0 && r.Memory == 0:
		return model.Resources{}, fault.Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return model.Resources{}, fault.Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.Memory > 0 && r.MemoryReservation > r.Memory:
		return model.Resources{}, fault.Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	case r.NanoCPUs < 0 || r.CPUShares < 0 || r.CPUPeriod < 0:
		return model.Resources{}, fault.Invalid("invalid CPU limits: they must not be negative")
	case r.NanoCPUs > 0 && (r.CPUPeriod > 0 || r.CPUQuota > 0):
		return model.Resources{}, fault.Invalid("Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set")
	}
	out := model.Resources{
		NanoCPUs: r.NanoCPUs, CPUShares: r.CPUShares, CPUPeriod: r.CPUPeriod, CPUQuota: r.CPUQuota,
		CpusetCPUs: r.CpusetCpus, CpusetMems: r.CpusetMems,
		Memory: r.Memory, MemoryReservation: r.MemoryReservation, MemorySwap: r.MemorySwap,
		OOMKillDisable: r.OomKillDisable != nil && *r.OomKillDisable,
	}
	if r.PidsLimit != nil && *r.PidsLimit > 0 {
		out.PidsLimit = *r.PidsLimit
	}
	return out, nil
}

func ulimits(list []*container.Ulimit) []model.Ulimit {
	var out []model.Ulimit
	for _, u := range list {
		out = append(out, model.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return out
}

// securityOptions reads --security-opt.
func securityOptions(list []string) (noNewPrivileges, allSyscalls bool, err error) {
	for _, option := range list {
		name, value, _ := strings.Cut(strings.Replace(option, ":", "=", 1), "=")
		switch {
		case name == "no-new-privileges" && (value == "" || value == "true"):
			noNewPrivileges = true
		case name == "no-new-privileges" && value == "false":
		case name == "seccomp" && value == "unconfined":
			allSyscalls = true
		case name == "seccomp" && value == "builtin", name == "label" && value == "disable", name == "apparmor" && value == "unconfined":
		default:
			return false, false, fault.Unsupported("this engine cannot create a container with --security-opt %s: "+
				"it has no-new-privileges and seccomp=unconfined", option)
		}
	}
	return noNewPrivileges, allSyscalls, nil
}
