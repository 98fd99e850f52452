package container

import (
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/pflag"
)

// resourceFlags are those that limit what the container uses.
type resourceFlags struct {
	memory            opts.MemBytes
	memoryReservation opts.MemBytes
	memorySwap        opts.MemSwapBytes
	kernelMemory      opts.MemBytes
	swappiness        int64
	oomKillDisable    bool
	oomScoreAdj       int
	pidsLimit         int64
	ulimits           *opts.UlimitOpt

	cpus       opts.NanoCPUs
	cpuShares  int64
	cpuPeriod  int64
	cpuQuota   int64
	rtPeriod   int64
	rtRuntime  int64
	cpusetCPUs string
	cpusetMems string

	blkioWeight  uint16
	blkioWeights opts.WeightdeviceOpt
	readBps      opts.ThrottledeviceOpt
	writeBps     opts.ThrottledeviceOpt
	readIOps     opts.ThrottledeviceOpt
	writeIOps    opts.ThrottledeviceOpt
}

func newResourceFlags() resourceFlags {
	return resourceFlags{
		ulimits:      opts.NewUlimitOpt(nil),
		blkioWeights: opts.NewWeightdeviceOpt(opts.ValidateWeightDevice),
		readBps:      opts.NewThrottledeviceOpt(opts.ValidateThrottleBpsDevice),
		writeBps:     opts.NewThrottledeviceOpt(opts.ValidateThrottleBpsDevice),
		readIOps:     opts.NewThrottledeviceOpt(opts.ValidateThrottleIOpsDevice),
		writeIOps:    opts.NewThrottledeviceOpt(opts.ValidateThrottleIOpsDevice),
	}
}

// bindUpdatable adds the flags for limits that can be changed while the
// container runs.
func (f *resourceFlags) bindUpdatable(set *pflag.FlagSet) {
	set.VarP(&f.memory, "memory", "m", "Memory limit")
	set.Var(&f.memoryReservation, "memory-reservation", "Memory soft limit")
	set.Var(&f.memorySwap, "memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	set.Var(&f.kernelMemory, "kernel-memory", "Kernel memory limit")
	set.Int64Var(&f.pidsLimit, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	set.Var(&f.cpus, "cpus", "Number of CPUs")
	set.Int64VarP(&f.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	set.Int64Var(&f.cpuPeriod, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	set.Int64Var(&f.cpuQuota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	set.Int64Var(&f.rtPeriod, "cpu-rt-period", 0, "Limit CPU real-time period in microseconds")
	set.Int64Var(&f.rtRuntime, "cpu-rt-runtime", 0, "Limit CPU real-time runtime in microseconds")
	set.StringVar(&f.cpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	set.StringVar(&f.cpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	set.Uint16Var(&f.blkioWeight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)")
}

func (f *resourceFlags) bind(set *pflag.FlagSet) {
	f.bindUpdatable(set)
	set.Int64Var(&f.swappiness, "memory-swappiness", -1, "Tune container memory swappiness (0 to 100)")
	set.BoolVar(&f.oomKillDisable, "oom-kill-disable", false, "Disable OOM Killer")
	set.IntVar(&f.oomScoreAdj, "oom-score-adj", 0, "Tune host's OOM preferences (-1000 to 1000)")
	set.Var(f.ulimits, "ulimit", "Ulimit options")
	set.Var(&f.blkioWeights, "blkio-weight-device", "Block IO weight (relative device weight)")
	set.Var(&f.readBps, "device-read-bps", "Limit read rate (bytes per second) from a device")
	set.Var(&f.readIOps, "device-read-iops", "Limit read rate (IO per second) from a device")
	set.Var(&f.writeBps, "device-write-bps", "Limit write rate (bytes per second) to a device")
	set.Var(&f.writeIOps, "device-write-iops", "Limit write rate (IO per second) to a device")
}

func (f *resourceFlags) check() error {
	if f.swappiness != -1 && (f.swappiness < 0 || f.swappiness > 100) {
		return fmt.Errorf("invalid value: %d. Valid memory swappiness range is 0-100", f.swappiness)
	}
	return nil
}

// resources gives the limits. Those that were not asked for are the daemon's
// own defaults, written out as docker does.
func (f *resourceFlags) resources() container.Resources {
	r := f.updatable()
	r.PidsLimit = &f.pidsLimit
	r.MemorySwappiness = &f.swappiness
	r.OomKillDisable = &f.oomKillDisable
	r.Ulimits = f.ulimits.GetList()
	r.BlkioWeightDevice = f.blkioWeights.GetList()
	r.BlkioDeviceReadBps, r.BlkioDeviceWriteBps = f.readBps.GetList(), f.writeBps.GetList()
	r.BlkioDeviceReadIOps, r.BlkioDeviceWriteIOps = f.readIOps.GetList(), f.writeIOps.GetList()
	return r
}

// updatable gives those limits of bindUpdatable that were asked for.
func (f *resourceFlags) updatable() container.Resources {
	r := container.Resources{
		Memory:             f.memory.Value(),
		MemoryReservation:  f.memoryReservation.Value(),
		MemorySwap:         f.memorySwap.Value(),
		KernelMemory:       f.kernelMemory.Value(), // the client keeps it from daemons that have it no more
		NanoCPUs:           f.cpus.Value(),
		CPUShares:          f.cpuShares,
		CPUPeriod:          f.cpuPeriod,
		CPUQuota:           f.cpuQuota,
		CPURealtimePeriod:  f.rtPeriod,
		CPURealtimeRuntime: f.rtRuntime,
		CpusetCpus:         f.cpusetCPUs,
		CpusetMems:         f.cpusetMems,
		BlkioWeight:        f.blkioWeight,
	}
	if f.pidsLimit != 0 {
		r.PidsLimit = &f.pidsLimit
	}
	return r
}
