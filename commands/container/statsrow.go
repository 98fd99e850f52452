package container

import (
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-units"

	"weft/commands/render"
)

// statsSample is what a container used at one time.
type statsSample struct {
	container, id, name     string // container is what was asked for
	cpu                     float64
	memory, memoryLimit     float64
	received, sent          float64
	blocksRead, blocksWrote float64
	processes               uint64
	invalid                 bool
}

func newStatsSample(asked string, v container.StatsResponse) statsSample {
	s := statsSample{
		container:   asked,
		id:          v.ID,
		name:        v.Name,
		cpu:         cpuPercent(v),
		memory:      float64(memoryWithoutCache(v.MemoryStats)),
		memoryLimit: float64(v.MemoryStats.Limit),
		processes:   v.PidsStats.Current,
	}
	for _, n := range v.Networks {
		s.received += float64(n.RxBytes)
		s.sent += float64(n.TxBytes)
	}
	for _, e := range v.BlkioStats.IoServiceBytesRecursive {
		switch {
		case e.Op == "":
		case e.Op[0] == 'r' || e.Op[0] == 'R':
			s.blocksRead += float64(e.Value)
		case e.Op[0] == 'w' || e.Op[0] == 'W':
			s.blocksWrote += float64(e.Value)
		}
	}
	return s
}

// cpuPercent gives what part of one CPU's time was used since the sample
// before, which is in v too.
func cpuPercent(v container.StatsResponse) float64 {
	used := float64(v.CPUStats.CPUUsage.TotalUsage) - float64(v.PreCPUStats.CPUUsage.TotalUsage)
	passed := float64(v.CPUStats.SystemUsage) - float64(v.PreCPUStats.SystemUsage)
	cpus := float64(v.CPUStats.OnlineCPUs)
	if cpus == 0 { // daemons before API 1.27
		cpus = float64(len(v.CPUStats.CPUUsage.PercpuUsage))
	}
	if used <= 0 || passed <= 0 {
		return 0
	}
	return used / passed * cpus * 100
}

// memoryWithoutCache leaves out the pages of files that can be dropped at once.
// They have one name in cgroup v1 and another in v2.
func memoryWithoutCache(m container.MemoryStats) uint64 {
	if cache, ok := m.Stats["total_inactive_file"]; ok && cache < m.Usage {
		return m.Usage - cache
	}
	if cache := m.Stats["inactive_file"]; cache < m.Usage {
		return m.Usage - cache
	}
	return m.Usage
}

// statsContext is a row of the table, named as in Docker because errors in
// templates show the name.
type statsContext struct {
	BlockIO, CPUPerc, Container, ID, MemPerc, MemUsage, Name, NetIO, PIDs string
}

func (s statsSample) row(full bool) *statsContext {
	const unknown = "--"
	r := &statsContext{Container: s.container, ID: render.ID(s.id, full), Name: unknown}
	if len(s.name) > 1 {
		r.Name = s.name[1:]
	}
	if s.invalid {
		r.BlockIO, r.CPUPerc, r.MemPerc, r.NetIO, r.PIDs, r.MemUsage = unknown, unknown, unknown, unknown, unknown, "-- / --"
		return r
	}
	share := 0.0
	if s.memoryLimit != 0 {
		share = s.memory / s.memoryLimit * 100
	}
	r.CPUPerc, r.MemPerc = percent(s.cpu), percent(share)
	r.MemUsage = units.BytesSize(s.memory) + " / " + units.BytesSize(s.memoryLimit)
	r.NetIO = size(s.received) + " / " + size(s.sent)
	r.BlockIO = size(s.blocksRead) + " / " + size(s.blocksWrote)
	r.PIDs = strconv.FormatUint(s.processes, 10)
	return r
}

func percent(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "%" }

func size(v float64) string { return units.HumanSizeWithPrecision(v, 3) }

func statsListing() render.List[*statsContext] {
	return render.List[*statsContext]{
		Headers: render.Headers{
			"Container": "CONTAINER", "Name": "NAME", "ID": "CONTAINER ID", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
			"MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
		},
		Table: `{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`,
	}
}
