package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/cgroups/v3"
	"github.com/docker/docker/api/types/system"
)

func TestCgroupInfo(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"memory/memory.limit_in_bytes": "", "memory/memory.oom_control": "", "cpu/cpu.shares": "", "cpu/cpu.cfs_quota_us": "", "pids/x": "",
		"cgroup.controllers": "cpuset cpu memory pids\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	one := system.Info{CgroupDriver: "cgroupfs", CgroupVersion: "1", MemoryLimit: true, CPUShares: true, CPUCfsQuota: true, PidsLimit: true, OomKillDisable: true}
	two := system.Info{
		CgroupDriver: "cgroupfs", CgroupVersion: "2", MemoryLimit: true, SwapLimit: true, CPUShares: true, CPUCfsPeriod: true, CPUCfsQuota: true,
		CPUSet: true, PidsLimit: true,
	}
	for mode, want := range map[cgroups.CGMode]system.Info{
		cgroups.Unavailable: {CgroupDriver: "none"}, cgroups.Legacy: one, cgroups.Hybrid: one, cgroups.Unified: two,
	} {
		var got system.Info
		cgroupInfo(&got, mode, root)
		if fields(got) != fields(want) {
			t.Errorf("mode %d: %+v, want %+v", mode, fields(got), fields(want))
		}
	}
}

// fields are those of an info that are about cgroups.
func fields(i system.Info) [9]any {
	return [9]any{i.CgroupDriver, i.CgroupVersion, i.MemoryLimit, i.SwapLimit, i.CPUShares, [2]bool{i.CPUCfsPeriod, i.CPUCfsQuota}, i.CPUSet, i.PidsLimit, i.OomKillDisable}
}
