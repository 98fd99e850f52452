package runtime

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/docker/docker/oci/caps"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"weft/engine/containerd"
	"weft/engine/fault"
	"weft/engine/model"
)

// bundle is what the shim reads of a container: its specification in
// the terms of the OCI's runtime specification.
type bundle struct {
	ID   string
	Spec *specs.Spec
	// RootFS is how the root is mounted; empty: the root is made of this
	// program.
	RootFS []mount.Mount
	// User and Groups are looked up in the container's own /etc.
	User   string
	Groups []string
	// AllSyscalls leaves the system call filter out.
	AllSyscalls bool
	OpenStdin   bool
	StdinOnce   bool
	// Limited says that bounds on resources were asked for: without a cgroup
	// the container can't start.
	Limited bool
	// Containerd is where the container's processes are made; nil: here.
	Containerd *containerd.Ref `json:",omitempty"`
}

// with is the bundle of a further process.
func (b bundle) with(spec model.ExecSpec) bundle {
	process := *b.Spec.Process
	process.Args, process.Env, process.Terminal = spec.Args, mergeEnv(process.Env, spec.Env), spec.TTY
	if spec.TTY {
		process.Env = mergeEnv([]string{"TERM=xterm"}, process.Env)
	}
	if spec.Dir != "" {
		process.Cwd = spec.Dir
	}
	if spec.User != "" {
		b.User, b.Groups = spec.User, nil
	}
	if spec.AllCaps {
		all := caps.GetAllCapabilities()
		process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
		b.AllSyscalls = true
	}
	oci := *b.Spec
	oci.Process = &process
	b.Spec = &oci
	return b
}

// builtin reports whether the root is made of this program.
func (b *bundle) builtin() bool { return len(b.RootFS) == 0 }

// builtinCaps are the capabilities the built-in image needs of those Docker
// gives: raw sockets for ping, low ports for its servers.
var builtinCaps = []string{"CAP_NET_RAW", "CAP_NET_BIND_SERVICE"}

// bundle translates s. dir is the bundle's directory, where the container's own
// files in /etc are.
func (s Spec) bundle(dir, cgroupParent string) (bundle, error) {
	hostname := s.Process.Hostname
	if hostname == "" {
		const short = 12 // Docker's hostname is the short form of the ID
		hostname = s.ID[:min(short, len(s.ID))]
	}
	process, err := s.process(hostname)
	if err != nil {
		return bundle{}, err
	}
	b := bundle{
		ID: s.ID, RootFS: s.Root, User: s.Process.User, Groups: s.Process.Groups,
		AllSyscalls: s.Process.AllSyscalls, OpenStdin: s.Process.OpenStdin, StdinOnce: s.Process.StdinOnce, Containerd: s.Containerd,
		Limited: !s.Process.Resources.IsZero(),
		Spec: &specs.Spec{
			Version: specs.Version, Process: process, Hostname: hostname, Domainname: s.Process.Domainname,
			Root:   &specs.Root{Path: fileRoot, Readonly: s.Process.ReadOnlyRoot || s.Builtin},
			Mounts: slices.Concat(systemMounts(s.Process.ShmSize), etcMounts(dir), userMounts(s.Process.Mounts)),
			Linux: &specs.Linux{
				Resources: resources(s.Process.Resources), Sysctl: s.Process.Sysctls, CgroupsPath: path.Join(cgroupParent, s.ID),
				Namespaces:  namespaces(s.NetNS),
				MaskedPaths: maskedPaths, ReadonlyPaths: readOnlyPaths,
			},
		},
	}
	return b, nil
}

// process is the OCI's description of what runs.
func (s Spec) process(hostname string) (*specs.Process, error) {
	p := s.Process
	basics := caps.DefaultCapabilities()
	if s.Builtin {
		basics = builtinCaps
	}
	kept, err := caps.TweakCapabilities(basics, p.CapAdd, p.CapDrop, false)
	if err != nil {
		return nil, fault.Invalid("%w", err)
	}
	limits, err := rlimits(p.Ulimits)
	if err != nil {
		return nil, err
	}
	return &specs.Process{
		Terminal: p.TTY, Args: slices.Concat(p.Entrypoint, p.Args), Env: environment(p, hostname),
		Cwd:          cmp.Or(p.Dir, "/"),
		Capabilities: &specs.LinuxCapabilities{Bounding: kept, Effective: kept, Permitted: kept},
		Rlimits:      limits, NoNewPrivileges: p.NoNewPrivileges || s.Builtin, OOMScoreAdj: &p.OOMScoreAdj,
	}, nil
}

// namespaces are the container's own, and the network namespace it enters.
func namespaces(netNS string) []specs.LinuxNamespace {
	return []specs.LinuxNamespace{
		{Type: specs.MountNamespace},
		{Type: specs.PIDNamespace},
		{Type: specs.UTSNamespace},
		{Type: specs.IPCNamespace},
		{Type: specs.CgroupNamespace},
		{Type: specs.NetworkNamespace, Path: netNS},
	}
}

// netNS gives the network namespace's path; empty: a new one.
func (b *bundle) netNS() string {
	for _, ns := range b.Spec.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace {
			return ns.Path
		}
	}
	return ""
}

// knownLimits are the names of getrlimit(2) that --ulimit takes.
var knownLimits = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
	"sigpending", "stack",
}

func rlimits(list []model.Ulimit) ([]specs.POSIXRlimit, error) {
	out := make([]specs.POSIXRlimit, len(list))
	for i, u := range list {
		if !slices.Contains(knownLimits, u.Name) {
			return nil, fault.Invalid("invalid ulimit type: %s", u.Name)
		}
		out[i] = specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)} //nolint:gosec // -1 is RLIM_INFINITY
	}
	return out, nil
}

// resources translates bounds to the OCI's terms; nil is none.
func resources(r model.Resources) *specs.LinuxResources {
	if r.IsZero() {
		return nil
	}
	const period = 100_000 // µs; the kernel's default
	cpu := &specs.LinuxCPU{Cpus: r.CpusetCPUs, Mems: r.CpusetMems}
	if r.CPUShares != 0 {
		cpu.Shares = ptr(uint64(r.CPUShares)) //nolint:gosec // checked by the API
	}
	quota, per := r.CPUQuota, r.CPUPeriod
	if r.NanoCPUs != 0 {
		per = period
		quota = r.NanoCPUs * period / 1e9
	}
	if quota != 0 {
		cpu.Quota = &quota
	}
	if per != 0 {
		cpu.Period = ptr(uint64(per))
	}
	memory := &specs.LinuxMemory{}
	for _, m := range []struct {
		value int64
		to    **int64
	}{{r.Memory, &memory.Limit}, {r.MemoryReservation, &memory.Reservation}, {swapLimit(r), &memory.Swap}} {
		if m.value != 0 {
			*m.to = &m.value
		}
	}
	if r.OOMKillDisable {
		memory.DisableOOMKiller = &r.OOMKillDisable
	}
	out := &specs.LinuxResources{CPU: cpu, Memory: memory}
	if r.PidsLimit > 0 {
		out.Pids = &specs.LinuxPids{Limit: r.PidsLimit}
	}
	return out
}

// swapLimit is Docker's: with a memory limit and nothing else said, as much
// swap again.
func swapLimit(r model.Resources) int64 {
	if r.Memory > 0 && r.MemorySwap == 0 {
		return 2 * r.Memory
	}
	return r.MemorySwap
}

func ptr[T any](v T) *T { return &v }

// The mounts every container has, with Docker's options
// (daemon/pkg/oci/defaults.go).
func systemMounts(shmSize int64) []specs.Mount {
	const defaultShm = 64 << 20
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{
			"nosuid", "noexec", "nodev", "mode=1777", fmt.Sprintf("size=%d", cmp.Or(shmSize, defaultShm)),
		}},
	}
}

// etcMounts puts the files that belong to the container rather than to its
// image over the image's.
func etcMounts(dir string) []specs.Mount {
	var out []specs.Mount
	for _, name := range etcFiles {
		out = append(out, specs.Mount{
			Destination: "/etc/" + name, Type: "bind", Source: path.Join(dir, name), Options: []string{"rbind", "rprivate", "nosuid", "nodev", "noexec"},
		})
	}
	return out
}

// userMounts are the caller's, outer ones first.
func userMounts(list []model.Mount) []specs.Mount {
	sorted := slices.SortedStableFunc(slices.Values(list), func(a, b model.Mount) int {
		return strings.Count(path.Clean(a.Target), "/") - strings.Count(path.Clean(b.Target), "/")
	})
	out := make([]specs.Mount, len(sorted))
	for i, m := range sorted {
		o := specs.Mount{Destination: path.Clean(m.Target), Source: m.Source, Type: "bind"}
		switch {
		case m.Kind == model.MountTmpfs:
			o.Type, o.Source = "tmpfs", "tmpfs"
			o.Options = append([]string{"noexec", "nosuid", "nodev"}, m.Options...)
		case m.NonRecursive:
			o.Options = []string{"bind", cmp.Or(m.Propagation, "rprivate")}
		default:
			o.Options = []string{"rbind", cmp.Or(m.Propagation, "rprivate")}
		}
		if m.ReadOnly {
			o.Options = append(o.Options, "ro")
		}
		out[i] = o
	}
	return out
}

// maskedPaths and readOnlyPaths are Docker's (daemon/pkg/oci/defaults.go).
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)
