package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// DefaultCgroupParent is the cgroup containers' are in unless told otherwise.
const DefaultCgroupParent = "/weft"

// cgroupRoot is where cgroups of version 2 are.
const cgroupRoot = "/sys/fs/cgroup"

// cgroup is a container's cgroup, of either version. A nil one is none: every
// method is fine with that.
type cgroup struct {
	path string
	v1   cgroup1.Cgroup
	v2   *cgroup2.Manager
}

// makeCgroup makes the container's cgroup with its limits. Where cgroups can't
// be made the container goes without, unless it is to be limited.
func makeCgroup(b bundle, log *slog.Logger) (*cgroup, error) {
	c, err := newCgroup(b.Spec.Linux.CgroupsPath, b.Spec.Linux.Resources)
	if errors.Is(err, os.ErrNotExist) { // the parent went with the last of the others just now
		c, err = newCgroup(b.Spec.Linux.CgroupsPath, b.Spec.Linux.Resources)
	}
	if err == nil {
		return c, nil
	}
	if b.Limited {
		return nil, fmt.Errorf("the limits of the container can't be set: make its cgroup: %w", err)
	}
	log.Warn("container has no cgroup", "err", err)
	return nil, nil //nolint:nilnil // none is a cgroup too
}

func newCgroup(name string, res *specs.LinuxResources) (*cgroup, error) {
	if res == nil {
		res = &specs.LinuxResources{}
	}
	if cgroups.Mode() == cgroups.Unified {
		m, err := cgroup2.NewManager(cgroupRoot, name, cgroup2.ToResources(res))
		if err != nil {
			return nil, err
		}
		return &cgroup{path: name, v2: m}, nil
	}
	cg, err := cgroup1.New(cgroup1.StaticPath(name), res)
	if err != nil {
		return nil, err
	}
	if err := controlled(cg, res); err != nil {
		return nil, errors.Join(err, cg.Delete())
	}
	return &cgroup{path: name, v1: cg}, nil
}

// errNoController is a bound nothing on this host would keep.
var errNoController = errors.New("no such cgroup controller is mounted")

// controlled makes sure that the controllers of version 1 that res needs are
// there: what is missing is passed over without a word otherwise.
func controlled(cg cgroup1.Cgroup, res *specs.LinuxResources) error {
	have := map[cgroup1.Name]bool{}
	for _, s := range cg.Subsystems() {
		have[s.Name()] = true
	}
	for _, need := range []struct {
		controller cgroup1.Name
		asked      bool
	}{
		{cgroup1.Memory, res.Memory != nil},
		{cgroup1.Cpu, res.CPU != nil},
		{cgroup1.Pids, res.Pids != nil},
	} {
		if need.asked && !have[need.controller] {
			return fmt.Errorf("%s: %w", need.controller, errNoController)
		}
	}
	return nil
}

// loadCgroup finds a container's cgroup; nil when it has none.
func loadCgroup(name string) *cgroup {
	if cgroups.Mode() == cgroups.Unified {
		m, err := cgroup2.Load(name)
		if err != nil {
			return nil
		}
		return &cgroup{path: name, v2: m}
	}
	cg, err := cgroup1.Load(cgroup1.StaticPath(name))
	if err != nil {
		return nil
	}
	return &cgroup{path: name, v1: cg}
}

// add moves a process in.
func (c *cgroup) add(pid int) error {
	if c == nil {
		return nil
	}
	var err error
	if c.v2 != nil {
		err = c.v2.AddProc(uint64(pid)) //nolint:gosec // positive
	} else {
		err = c.v1.AddProc(uint64(pid)) //nolint:gosec // positive
	}
	if err != nil {
		return fmt.Errorf("put process into the container's cgroup: %w", err)
	}
	return nil
}

// metrics reads what the cgroup's processes use.
func (c *cgroup) metrics() (m Metrics, err error) {
	if c.v2 != nil {
		m.V2, err = c.v2.Stat()
	} else {
		m.V1, err = c.v1.Stat(cgroup1.IgnoreNotExist)
	}
	if err != nil {
		return m, fmt.Errorf("measure the container: %w", err)
	}
	return m, nil
}

// outOfMemory reports whether the kernel killed a process for the limit.
func (c *cgroup) outOfMemory() bool {
	switch {
	case c == nil:
	case c.v2 != nil:
		st, err := c.v2.Stat()
		return err == nil && st.GetMemoryEvents().GetOomKill() > 0
	default:
		st, err := c.v1.Stat(cgroup1.IgnoreNotExist)
		return err == nil && st.GetMemoryOomControl().GetOomKill() > 0
	}
	return false
}

// remove deletes the cgroup, and with the last one the parents that are the
// engine's own. One that is gone is no error.
func (c *cgroup) remove() error {
	if c == nil {
		return nil
	}
	defer removeParents(c.path)
	var err error
	if c.v2 != nil {
		err = c.v2.Delete()
	} else {
		err = c.v1.Delete()
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, cgroup1.ErrCgroupDeleted) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the container's cgroup: %w", err)
	}
	return nil
}

// removeParents deletes what is above a cgroup, up to DefaultCgroupParent, if
// nothing else is in it. Parents of somebody else's are left alone.
func removeParents(cgroup string) {
	for up := path.Dir(cgroup); up == DefaultCgroupParent || strings.HasPrefix(up, DefaultCgroupParent+"/"); up = path.Dir(up) {
		dirs, _ := filepath.Glob(cgroupRoot + "/*" + up) // no special characters in it but a user's, who gets what they match
		for _, dir := range append(dirs, cgroupRoot+up) {
			_ = unix.Rmdir(dir) // busy or gone
		}
	}
}
