package dockerapi

import (
	"strings"

	"github.com/docker/docker/api/types/container"

	"weft/engine/fault"
	"weft/engine/model"
)

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

func ulimits(list []*container.Ulimit) ([]model.Ulimit, error) {
	var out []model.Ulimit
	for _, u := range list {
		if u == nil {
			return nil, fault.Invalid("invalid ulimit null: it must have Name, Soft and Hard")
		}
		out = append(out, model.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return out, nil
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
