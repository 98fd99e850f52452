package container

import (
	"errors"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/pflag"
)

// isolationFlags are those that say what sets the container apart from its
// host: privileges, namespaces, cgroup and runtime.
type isolationFlags struct {
	privileged   bool
	capAdd       opts.ListOpts
	capDrop      opts.ListOpts
	groups       opts.ListOpts
	security     opts.ListOpts
	sysctls      *opts.MapOpts
	pid          string
	ipc          string
	uts          string
	userns       string
	cgroupns     string
	cgroupParent string
	runtime      string
	isolation    string
	annotations  *opts.MapOpts
}

func newIsolationFlags() isolationFlags {
	return isolationFlags{
		capAdd:      opts.NewListOpts(nil),
		capDrop:     opts.NewListOpts(nil),
		groups:      opts.NewListOpts(nil),
		security:    opts.NewListOpts(nil),
		sysctls:     opts.NewMapOpts(nil, opts.ValidateSysctl),
		annotations: opts.NewMapOpts(nil, nil),
	}
}

func (f *isolationFlags) bind(set *pflag.FlagSet) {
	set.BoolVar(&f.privileged, "privileged", false, "Give extended privileges to this container")
	set.Var(&f.capAdd, "cap-add", "Add Linux capabilities")
	set.Var(&f.capDrop, "cap-drop", "Drop Linux capabilities")
	set.Var(&f.groups, "group-add", "Add additional groups to join")
	set.Var(&f.security, "security-opt", "Security Options")
	set.Var(f.sysctls, "sysctl", "Sysctl options")
	set.StringVar(&f.pid, "pid", "", "PID namespace to use")
	set.StringVar(&f.ipc, "ipc", "", "IPC mode to use")
	set.StringVar(&f.uts, "uts", "", "UTS namespace to use")
	set.StringVar(&f.userns, "userns", "", "User namespace to use")
	set.StringVar(&f.cgroupns, "cgroupns", "", `Cgroup namespace to use (host|private)
'host':    Run the container in the Docker host's cgroup namespace
'private': Run the container in its own private cgroup namespace
'':        Use the cgroup namespace as configured by the
           default-cgroupns-mode option on the daemon (default)`)
	set.StringVar(&f.cgroupParent, "cgroup-parent", "", "Optional parent cgroup for the container")
	set.StringVar(&f.runtime, "runtime", "", "Runtime to use for this container")
	set.StringVar(&f.isolation, "isolation", "", "Container isolation technology")
	set.Var(f.annotations, "annotation", "Add an annotation to the container (passed through to the OCI runtime)")
	set.Lookup("isolation").Hidden = true // there is nothing to choose from but on Windows
}

// apply sets the container apart.
func (f *isolationFlags) apply(h *container.HostConfig) error {
	h.PidMode, h.IpcMode = container.PidMode(f.pid), container.IpcMode(f.ipc)
	h.UTSMode, h.UsernsMode = container.UTSMode(f.uts), container.UsernsMode(f.userns)
	h.CgroupnsMode = container.CgroupnsMode(f.cgroupns)
	switch { // the daemon judges the IPC mode
	case !h.PidMode.Valid():
		return errors.New("--pid: invalid PID mode")
	case !h.UTSMode.Valid():
		return errors.New("--uts: invalid UTS mode")
	case !h.UsernsMode.Valid():
		return errors.New("--userns: invalid USER mode")
	case !h.CgroupnsMode.Valid():
		return errors.New("--cgroupns: invalid CGROUP mode")
	}
	h.CapAdd, h.CapDrop = f.capAdd.GetSlice(), f.capDrop.GetSlice()
	h.Privileged = f.privileged
	h.GroupAdd = f.groups.GetSlice()
	h.Sysctls = f.sysctls.GetAll()
	h.CgroupParent = f.cgroupParent
	h.Runtime = f.runtime
	h.Isolation = container.Isolation(f.isolation)
	h.Annotations = f.annotations.GetAll()
	return nil
}
