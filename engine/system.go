package engine

import (
	"context"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"

	"weft/engine/dockerapi"
	"weft/engine/fault"
	"weft/engine/model"
)

// platform is what Docker's API calls the machine under the engine.
type platform struct {
	kernel  string
	os      string // pretty name of the distribution
	arch    string // as uname has it: x86_64
	cpus    int
	memory  int64 // bytes
	forward bool  // IPv4 forwarding
}

func readPlatform() (platform, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return platform{}, fault.Internal("ask for the kernel's name: %w", err)
	}
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return platform{}, fault.Internal("ask for the memory's size: %w", err)
	}
	p := platform{
		kernel: unix.ByteSliceToString(u.Release[:]), arch: unix.ByteSliceToString(u.Machine[:]),
		os: "Linux", cpus: runtime.NumCPU(), memory: int64(s.Totalram) * int64(s.Unit), //nolint:gosec // below 2^63 on any machine
	}
	if b, err := os.ReadFile("/etc/os-release"); err == nil { // os-release(5); absent on some
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				p.os = strings.Trim(strings.TrimSpace(v), `"'`)
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err == nil {
		p.forward = strings.TrimSpace(string(b)) == "1"
	}
	return p, nil
}

// systemBackend answers dockerapi.System.
type systemBackend struct{ e *Engine }

func (b systemBackend) Info(ctx context.Context) (system.Info, error) {
	e := b.e
	p, err := readPlatform()
	if err != nil {
		return system.Info{}, err
	}
	all, err := e.workload.Containers(ctx)
	if err != nil {
		return system.Info{}, err
	}
	images, err := e.images.List(ctx)
	if err != nil {
		return system.Info{}, err
	}
	info := system.Info{
		ID: e.id, Containers: len(all), Images: len(images), Driver: e.images.Driver(), DriverStatus: [][2]string{},
		Plugins: system.PluginsInfo{Volume: []string{}, Network: []string{"bridge", "host", "null", "overlay"}, Log: []string{"json-file"}},
		NFd:     -1, NGoroutines: runtime.NumGoroutine(), SystemTime: e.cfg.Now().Format(time.RFC3339Nano),
		LoggingDriver: "json-file", KernelVersion: p.kernel, OperatingSystem: p.os,
		OSType: "linux", Architecture: p.arch, NCPU: p.cpus, MemTotal: p.memory, IPv4Forwarding: p.forward,
		DockerRootDir: e.cfg.DataDir, Name: e.cfg.Hostname, Labels: []string{}, ServerVersion: e.cfg.Version,
		LiveRestoreEnabled: true,
		SecurityOptions:    []string{"name=seccomp,profile=builtin"}, Swarm: e.control.Info(ctx), Warnings: []string{},
		GenericResources: []swarm.GenericResource{}, CDISpecDirs: []string{},
	}
	mode := cgroups.Mode()
	if userns.RunningInUserNS() {
		info.SecurityOptions = append(info.SecurityOptions, "name=rootless")
		mode = cgroups.Unavailable // what an ordinary user could make there is not used
	}
	cgroupInfo(&info, mode, "/sys/fs/cgroup")
	e.runtimes.info(&info, e.cfg.Self)
	for _, c := range all {
		if c.State == model.StateRunning {
			info.ContainersRunning++
		} else {
			info.ContainersStopped++
		}
	}
	return info, nil
}

func (b systemBackend) Version(context.Context) (types.Version, error) {
	p, err := readPlatform()
	if err != nil {
		return types.Version{}, err
	}
	v := types.Version{
		Version: b.e.cfg.Version, APIVersion: dockerapi.MaxVersion, MinAPIVersion: dockerapi.MinVersion,
		GoVersion: runtime.Version(), Os: "linux", Arch: runtime.GOARCH, KernelVersion: p.kernel,
	}
	v.Platform.Name = "weft"
	v.Components = []types.ComponentVersion{{
		Name: "Engine", Version: v.Version,
		Details: map[string]string{
			"ApiVersion": v.APIVersion, "MinAPIVersion": v.MinAPIVersion, "GoVersion": v.GoVersion,
			"Os": v.Os, "Arch": v.Arch, "KernelVersion": v.KernelVersion,
		},
	}}
	return v, nil
}
