package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/docker/docker/api/types/system"
)

// cgroupInfo says what of a container's resources this host can bound, as
// `docker info` has it. root is where cgroups are mounted.
func cgroupInfo(info *system.Info, mode cgroups.CGMode, root string) {
	var has func(controller, file string) bool
	switch mode {
	case cgroups.Unified:
		info.CgroupVersion = "2"
		text, _ := os.ReadFile(filepath.Join(root, "cgroup.controllers")) //nolint:gosec // the kernel's; what can't be read has none
		controllers := strings.Fields(string(text))
		has = func(controller, _ string) bool { return slices.Contains(controllers, controller) }
	case cgroups.Legacy, cgroups.Hybrid:
		info.CgroupVersion = "1"
		has = func(controller, file string) bool {
			_, err := os.Stat(filepath.Join(root, controller, file))
			return err == nil
		}
	default:
		info.CgroupDriver = "none"
		return
	}
	info.CgroupDriver = "cgroupfs"
	info.MemoryLimit = has("memory", "memory.limit_in_bytes")
	info.SwapLimit = has("memory", "memory.memsw.limit_in_bytes")
	info.CPUShares, info.CPUCfsPeriod, info.CPUCfsQuota = has("cpu", "cpu.shares"), has("cpu", "cpu.cfs_period_us"), has("cpu", "cpu.cfs_quota_us")
	info.CPUSet = has("cpuset", "cpuset.cpus")
	info.PidsLimit = has("pids", "")
	info.OomKillDisable = info.CgroupVersion == "1" && has("memory", "memory.oom_control")
}
