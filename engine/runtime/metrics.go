package runtime

import (
	"context"
	"path/filepath"

	stats1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	stats2 "github.com/containerd/cgroups/v3/cgroup2/stats"

	"weft/engine/fault"
)

// Metrics are what a container's processes use of the machine, as its cgroup
// counts it. One of the fields is set, by the version of the host's cgroups.
type Metrics struct {
	V1 *stats1.Metrics
	V2 *stats2.Metrics
}

// Metrics measures a container that runs. One that does not is a Conflict, one
// without a cgroup Unsupported.
func (r *Runtime) Metrics(ctx context.Context, id string) (Metrics, error) {
	st, err := r.State(ctx, id)
	if err != nil {
		return Metrics{}, err
	}
	if !st.Running {
		return Metrics{}, notRunning(id)
	}
	var b bundle
	if err := readRecord(filepath.Join(r.bundleDir(id), fileBundle), &b); err != nil {
		return Metrics{}, err
	}
	c := loadCgroup(b.Spec.Linux.CgroupsPath)
	if c == nil {
		return Metrics{}, fault.Unsupported("container %s can't be measured: its cgroup could not be made on this host", id)
	}
	return c.metrics()
}
