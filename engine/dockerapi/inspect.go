package dockerapi

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/storage"
	"github.com/docker/go-connections/nat"

	"weft/engine/model"
)

func (s *Server) container(w *response, r *request) error {
	c, err := s.cfg.Containers.Container(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	settings := endpointSettings(c)
	if r.before("1.45") { // names every container has were listed as aliases
		for name, ep := range settings {
			if !predefined(name) {
				ep.Aliases = distinct(append(slices.Clone(ep.Aliases), shortID(c.ID), hostname(c)))
			}
		}
	}
	return one(w, container.InspectResponse{
		ContainerJSONBase: s.inspectBase(c, r.flag("size")),
		Mounts:            mountPoints(c),
		Config:            s.inspectConfig(c),
		NetworkSettings:   networkSettings(c, settings),
	}, nil)
}

func (s *Server) inspectBase(c model.Container, size bool) *container.ContainerJSONBase {
	path, args := command(c)
	p := c.Spec.Process
	base := &container.ContainerJSONBase{
		ID: c.ID, Created: c.Created.UTC().Format(time.RFC3339Nano), Path: path, Args: args,
		State: &container.State{
			Status: string(c.State), Running: alive(c), Restarting: c.State == model.StateRestarting, Health: healthState(c), Dead: c.State == model.StateDead,
			Pid: c.Pid, ExitCode: c.ExitCode, Error: c.Error, OOMKilled: c.OOMKilled,
			StartedAt: c.Started.UTC().Format(time.RFC3339Nano), FinishedAt: c.Finished.UTC().Format(time.RFC3339Nano),
		},
		RestartCount: c.RestartCount, Image: c.ImageID, Name: "/" + c.Spec.Name, Driver: "weft", Platform: "linux",
		HostConfig: &container.HostConfig{
			NetworkMode: container.NetworkMode(networkMode(c)), AutoRemove: c.Spec.AutoRemove,
			LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{}}, PortBindings: portBindings(c), PublishAllPorts: c.Spec.PublishAll,
			DNS: dnsServers(c.Spec.Naming), DNSSearch: nonNilList(c.Spec.Naming.Search), DNSOptions: nonNilList(c.Spec.Naming.Options),
			ExtraHosts:    c.Spec.Naming.ExtraHosts,
			RestartPolicy: restartPolicy(c.Spec.Restart),
			IpcMode:       container.IPCModePrivate, CgroupnsMode: container.CgroupnsModePrivate, Runtime: cmp.Or(p.Runtime, "weft"),
			CapAdd: p.CapAdd, CapDrop: p.CapDrop, GroupAdd: p.Groups, ReadonlyRootfs: p.ReadOnlyRoot, ShmSize: p.ShmSize,
			Sysctls: p.Sysctls, OomScoreAdj: p.OOMScoreAdj, Resources: inspectResources(p),
			Binds: c.Spec.Binds, VolumesFrom: c.Spec.VolumesFrom, Mounts: mountsRequested(c), Tmpfs: tmpfsRequested(c),
		},
		GraphDriver: storage.DriverData{Name: "weft"},
	}
	if size {
		base.SizeRw, base.SizeRootFs = new(int64), new(int64)
	}
	return base
}

func (s *Server) inspectConfig(c model.Container) *container.Config {
	p := c.Spec.Process
	config := &container.Config{
		Hostname: hostname(c), User: p.User, AttachStdin: p.OpenStdin, AttachStdout: true, AttachStderr: true,
		Tty: p.TTY, OpenStdin: p.OpenStdin, StdinOnce: p.StdinOnce, Domainname: p.Domainname, Env: nonNilList(p.Env),
		Cmd: p.Args, Image: p.Image, WorkingDir: p.Dir, Entrypoint: p.Entrypoint,
		Labels: nonNil(c.Spec.Labels), StopSignal: p.StopSignal, Healthcheck: healthConfig(c.Spec.Health),
	}
	for _, target := range c.Spec.Volumes {
		if config.Volumes == nil {
			config.Volumes = map[string]struct{}{}
		}
		config.Volumes[target] = struct{}{}
	}
	for _, port := range c.Spec.Expose {
		if config.ExposedPorts == nil {
			config.ExposedPorts = nat.PortSet{}
		}
		config.ExposedPorts[natPort(port)] = struct{}{}
	}
	if p.StopGrace != 0 {
		seconds := int(p.StopGrace / time.Second)
		config.StopTimeout = &seconds
	}
	return config
}

// inspectResources gives the bounds in Docker's terms.
func inspectResources(p model.ProcessSpec) container.Resources {
	r := p.Resources
	out := container.Resources{
		NanoCPUs: r.NanoCPUs, CPUShares: r.CPUShares, CPUPeriod: r.CPUPeriod, CPUQuota: r.CPUQuota, CpusetCpus: r.CpusetCPUs,
		CpusetMems: r.CpusetMems, Memory: r.Memory, MemoryReservation: r.MemoryReservation, MemorySwap: r.MemorySwap,
	}
	if r.PidsLimit > 0 {
		out.PidsLimit = &r.PidsLimit
	}
	if r.OOMKillDisable {
		out.OomKillDisable = &r.OOMKillDisable
	}
	for _, u := range p.Ulimits {
		out.Ulimits = append(out.Ulimits, &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return out
}

// mountPoints gives what is mounted, but for --tmpfs, which has its own field.
func mountPoints(c model.Container) []container.MountPoint {
	out := []container.MountPoint{}
	for _, m := range c.Spec.Process.Mounts {
		if m.Form == model.MountAsTmpfs {
			continue
		}
		p := container.MountPoint{
			Type: mount.Type(m.Kind), Name: m.Name, Source: m.Source, Destination: path.Clean(m.Target), Mode: m.Mode, RW: !m.ReadOnly,
			Propagation: mount.Propagation(m.Propagation),
		}
		switch m.Kind {
		case model.MountVolume:
			p.Driver = model.VolumeDriver
			if p.Mode == "" && (m.Form == model.MountAsBind || m.Form == model.MountAsMount) {
				p.Mode = "z" // what Docker takes for none
			}
		case model.MountBind:
			p.Propagation = cmp.Or(p.Propagation, mount.PropagationRPrivate)
		case model.MountTmpfs:
		}
		out = append(out, p)
	}
	return out
}

// mountsRequested gives the mounts that were asked for by --mount.
func mountsRequested(c model.Container) []mount.Mount {
	var out []mount.Mount
	for _, m := range c.Spec.Process.Mounts {
		if m.Form != model.MountAsMount {
			continue
		}
		r := mount.Mount{Type: mount.Type(m.Kind), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
		switch m.Kind {
		case model.MountVolume:
			if r.Source = m.Name; m.Anonymous {
				r.Source = ""
			}
			if m.NoCopy || m.VolumeLabels != nil || m.VolumeOptions != nil {
				r.VolumeOptions = &mount.VolumeOptions{NoCopy: m.NoCopy, Labels: m.VolumeLabels}
				if m.VolumeOptions != nil {
					r.VolumeOptions.DriverConfig = &mount.Driver{Name: model.VolumeDriver, Options: m.VolumeOptions}
				}
			}
		case model.MountBind:
			if m.Propagation != "" || m.NonRecursive || m.MakeSource {
				r.BindOptions = &mount.BindOptions{Propagation: mount.Propagation(m.Propagation), NonRecursive: m.NonRecursive, CreateMountpoint: m.MakeSource}
			}
		case model.MountTmpfs:
		}
		out = append(out, r)
	}
	return out
}

// tmpfsRequested gives the options of --tmpfs by their place.
func tmpfsRequested(c model.Container) map[string]string {
	var out map[string]string
	for _, m := range c.Spec.Process.Mounts {
		if m.Form == model.MountAsTmpfs {
			if out == nil {
				out = map[string]string{}
			}
			out[m.Target] = strings.Join(m.Options, ",")
		}
	}
	return out
}

func dnsServers(n model.Naming) []string {
	out := []string{}
	for _, a := range n.Servers {
		out = append(out, a.String())
	}
	return out
}

// legacySettings fills the fields of API versions before 1.21, which clients
// still read.
//
//nolint:staticcheck // deprecated
func legacySettings(ep *network.EndpointSettings) container.DefaultNetworkSettings {
	return container.DefaultNetworkSettings{
		EndpointID: ep.EndpointID, Gateway: ep.Gateway, GlobalIPv6Address: ep.GlobalIPv6Address, GlobalIPv6PrefixLen: ep.GlobalIPv6PrefixLen,
		IPAddress: ep.IPAddress, IPPrefixLen: ep.IPPrefixLen, IPv6Gateway: ep.IPv6Gateway, MacAddress: ep.MacAddress,
	}
}

func networkSettings(c model.Container, networks map[string]*network.EndpointSettings) *container.NetworkSettings {
	out := &container.NetworkSettings{Networks: networks}
	if ep, ok := networks[network.NetworkBridge]; ok {
		out.DefaultNetworkSettings = legacySettings(ep)
	}
	out.Ports = portMap(c)
	out.SandboxKey = c.Sandbox
	if c.Sandbox != "" {
		out.SandboxID = c.ID
	}
	return out
}

// hostname is the container's own, Docker's default if it asked for none.
func hostname(c model.Container) string {
	if c.Spec.Process.Hostname != "" {
		return c.Spec.Process.Hostname
	}
	return shortID(c.ID)
}

func nonNilList(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
