package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	stats1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	stats2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"weft/engine/fault"
	"weft/engine/model"
)

// Stats measures a container once, as dockerd does (daemon/stats_unix.go). Of
// one that does not run there is the name alone.
func (b containerBackend) Stats(ctx context.Context, name string) (container.StatsResponse, error) {
	c, err := b.e.workload.Container(ctx, name)
	if err != nil {
		return container.StatsResponse{}, err
	}
	named := container.StatsResponse{Name: "/" + c.Spec.Name, ID: c.ID}
	if c.State != model.StateRunning {
		return named, nil
	}
	st, err := b.e.measure(ctx, c)
	switch {
	case errdefs.IsConflict(err), errdefs.IsNotFound(err): // it has just ended
		return named, nil
	case err != nil:
		return named, err
	}
	st.Name, st.ID = named.Name, named.ID
	return st, nil
}

func (e *Engine) measure(ctx context.Context, c model.Container) (container.StatsResponse, error) {
	m, err := e.runtime.Metrics(ctx, c.ID)
	if err != nil {
		return container.StatsResponse{}, err
	}
	st := container.StatsResponse{Read: e.cfg.Now()}
	if m.V2 != nil {
		stats2Of(&st, m.V2)
	} else {
		stats1Of(&st, m.V1)
	}
	p, err := readPlatform()
	if err != nil {
		return st, err
	}
	if st.MemoryStats.Limit > uint64(p.memory) { //nolint:gosec // positive
		st.MemoryStats.Limit = uint64(p.memory) //nolint:gosec // positive
	}
	if st.CPUStats.SystemUsage, st.CPUStats.OnlineCPUs, err = systemCPU(); err != nil {
		return st, err
	}
	if c.Spec.NetworkMode != model.ModeHost {
		st.Networks, err = linkStats(c.Pid)
	}
	return st, err
}

func stats1Of(st *container.StatsResponse, m *stats1.Metrics) {
	if io := m.GetBlkio(); io != nil {
		st.BlkioStats = container.BlkioStats{
			IoServiceBytesRecursive: ioEntries(io.GetIoServiceBytesRecursive()), IoServicedRecursive: ioEntries(io.GetIoServicedRecursive()),
			IoQueuedRecursive: ioEntries(io.GetIoQueuedRecursive()), IoServiceTimeRecursive: ioEntries(io.GetIoServiceTimeRecursive()),
			IoWaitTimeRecursive: ioEntries(io.GetIoWaitTimeRecursive()), IoMergedRecursive: ioEntries(io.GetIoMergedRecursive()),
			IoTimeRecursive: ioEntries(io.GetIoTimeRecursive()), SectorsRecursive: ioEntries(io.GetSectorsRecursive()),
		}
	}
	use, throttle := m.GetCPU().GetUsage(), m.GetCPU().GetThrottling()
	st.CPUStats.CPUUsage = container.CPUUsage{
		TotalUsage: use.GetTotal(), PercpuUsage: use.GetPerCPU(), UsageInKernelmode: use.GetKernel(), UsageInUsermode: use.GetUser(),
	}
	st.CPUStats.ThrottlingData = container.ThrottlingData{
		Periods: throttle.GetPeriods(), ThrottledPeriods: throttle.GetThrottledPeriods(), ThrottledTime: throttle.GetThrottledTime(),
	}
	if mem := m.GetMemory(); mem != nil {
		use := mem.GetUsage()
		st.MemoryStats = container.MemoryStats{
			Usage: use.GetUsage(), MaxUsage: use.GetMax(), Limit: use.GetLimit(), Failcnt: use.GetFailcnt(), Stats: memoryStats1(mem),
		}
	}
	st.PidsStats = container.PidsStats{Current: m.GetPids().GetCurrent(), Limit: m.GetPids().GetLimit()}
}

func ioEntries(list []*stats1.BlkIOEntry) []container.BlkioStatEntry {
	out := make([]container.BlkioStatEntry, len(list))
	for i, e := range list {
		out[i] = container.BlkioStatEntry{Major: e.GetMajor(), Minor: e.GetMinor(), Op: e.GetOp(), Value: e.GetValue()}
	}
	return out
}

// memoryStats1 is memory.stat of cgroups of version 1, by the kernel's names.
func memoryStats1(m *stats1.MemoryStat) map[string]uint64 {
	return map[string]uint64{
		"cache": m.GetCache(), "rss": m.GetRSS(), "rss_huge": m.GetRSSHuge(), "mapped_file": m.GetMappedFile(), "dirty": m.GetDirty(),
		"writeback": m.GetWriteback(), "pgpgin": m.GetPgPgIn(), "pgpgout": m.GetPgPgOut(), "pgfault": m.GetPgFault(), "pgmajfault": m.GetPgMajFault(),
		"inactive_anon": m.GetInactiveAnon(), "active_anon": m.GetActiveAnon(), "inactive_file": m.GetInactiveFile(), "active_file": m.GetActiveFile(),
		"unevictable": m.GetUnevictable(), "hierarchical_memory_limit": m.GetHierarchicalMemoryLimit(), "hierarchical_memsw_limit": m.GetHierarchicalSwapLimit(),
		"total_cache": m.GetTotalCache(), "total_rss": m.GetTotalRSS(), "total_rss_huge": m.GetTotalRSSHuge(), "total_mapped_file": m.GetTotalMappedFile(),
		"total_dirty": m.GetTotalDirty(), "total_writeback": m.GetTotalWriteback(), "total_pgpgin": m.GetTotalPgPgIn(), "total_pgpgout": m.GetTotalPgPgOut(),
		"total_pgfault": m.GetTotalPgFault(), "total_pgmajfault": m.GetTotalPgMajFault(), "total_inactive_anon": m.GetTotalInactiveAnon(),
		"total_active_anon": m.GetTotalActiveAnon(), "total_inactive_file": m.GetTotalInactiveFile(), "total_active_file": m.GetTotalActiveFile(),
		"total_unevictable": m.GetTotalUnevictable(),
	}
}

func stats2Of(st *container.StatsResponse, m *stats2.Metrics) {
	for _, e := range m.GetIo().GetUsage() {
		st.BlkioStats.IoServiceBytesRecursive = append(st.BlkioStats.IoServiceBytesRecursive,
			container.BlkioStatEntry{Major: e.GetMajor(), Minor: e.GetMinor(), Op: "read", Value: e.GetRbytes()},
			container.BlkioStatEntry{Major: e.GetMajor(), Minor: e.GetMinor(), Op: "write", Value: e.GetWbytes()})
	}
	const us = 1000 // in nanoseconds
	cpu := m.GetCPU()
	st.CPUStats.CPUUsage = container.CPUUsage{
		TotalUsage: cpu.GetUsageUsec() * us, UsageInKernelmode: cpu.GetSystemUsec() * us, UsageInUsermode: cpu.GetUserUsec() * us,
	}
	st.CPUStats.ThrottlingData = container.ThrottlingData{
		Periods: cpu.GetNrPeriods(), ThrottledPeriods: cpu.GetNrThrottled(), ThrottledTime: cpu.GetThrottledUsec() * us,
	}
	if mem := m.GetMemory(); mem != nil {
		st.MemoryStats = container.MemoryStats{
			Usage: mem.GetUsage(), Limit: mem.GetUsageLimit(), Failcnt: m.GetMemoryEvents().GetOom(), Stats: memoryStats2(mem),
		}
	}
	st.PidsStats = container.PidsStats{Current: m.GetPids().GetCurrent(), Limit: m.GetPids().GetLimit()}
}

// memoryStats2 is memory.stat of cgroups of version 2, by the kernel's names.
func memoryStats2(m *stats2.MemoryStat) map[string]uint64 {
	return map[string]uint64{
		"anon": m.GetAnon(), "file": m.GetFile(), "kernel_stack": m.GetKernelStack(), "slab": m.GetSlab(), "sock": m.GetSock(), "shmem": m.GetShmem(),
		"file_mapped": m.GetFileMapped(), "file_dirty": m.GetFileDirty(), "file_writeback": m.GetFileWriteback(), "anon_thp": m.GetAnonThp(),
		"inactive_anon": m.GetInactiveAnon(), "active_anon": m.GetActiveAnon(), "inactive_file": m.GetInactiveFile(), "active_file": m.GetActiveFile(),
		"unevictable": m.GetUnevictable(), "slab_reclaimable": m.GetSlabReclaimable(), "slab_unreclaimable": m.GetSlabUnreclaimable(),
		"pgfault": m.GetPgfault(), "pgmajfault": m.GetPgmajfault(), "workingset_refault": m.GetWorkingsetRefault(),
		"workingset_activate": m.GetWorkingsetActivate(), "workingset_nodereclaim": m.GetWorkingsetNodereclaim(), "pgrefill": m.GetPgrefill(),
		"pgscan": m.GetPgscan(), "pgsteal": m.GetPgsteal(), "pgactivate": m.GetPgactivate(), "pgdeactivate": m.GetPgdeactivate(),
		"pglazyfree": m.GetPglazyfree(), "pglazyfreed": m.GetPglazyfreed(), "thp_fault_alloc": m.GetThpFaultAlloc(), "thp_collapse_alloc": m.GetThpCollapseAlloc(),
	}
}

// systemCPU gives the time all CPUs have spent on anything, in nanoseconds, and
// how many there are: the lines that begin with "cpu" of /proc/stat (proc(5)).
func systemCPU() (total uint64, cpus uint32, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read CPU times: %w", err)
	}
	const (
		tick   = 10_000_000 // ns; USER_HZ is 100 on Linux
		counts = 8          // user to steal; guests are in user already
	)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) <= counts || !strings.HasPrefix(f[0], "cpu"):
		case f[0] != "cpu":
			cpus++
		default:
			for _, v := range f[1 : counts+1] {
				n, err := strconv.ParseUint(v, 10, 64)
				if err != nil {
					return 0, 0, fault.Internal("read CPU times: %w", err)
				}
				total += n * tick
			}
		}
	}
	return total, cpus, nil
}

// linkStats counts what went through the interfaces of a process's network
// namespace but loopback (/proc/PID/net/dev).
func linkStats(pid int) (map[string]container.NetworkStats, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.Conflict("it has just ended")
	}
	if err != nil {
		return nil, fmt.Errorf("read interface counters: %w", err)
	}
	defer func() { _ = f.Close() }()
	out := map[string]container.NetworkStats{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, counters, ok := strings.Cut(lines.Text(), ":")
		if name = strings.TrimSpace(name); !ok || name == "lo" {
			continue
		}
		var n [16]uint64
		for i, v := range strings.Fields(counters) {
			if i < len(n) {
				n[i], _ = strconv.ParseUint(v, 10, 64) // the kernel's
			}
		}
		out[name] = container.NetworkStats{
			RxBytes: n[0], RxPackets: n[1], RxErrors: n[2], RxDropped: n[3],
			TxBytes: n[8], TxPackets: n[9], TxErrors: n[10], TxDropped: n[11],
		}
	}
	return out, nil
}
