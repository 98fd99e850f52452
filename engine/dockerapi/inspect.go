package dockerapi

import (
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"
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
		Mounts:            []container.MountPoint{},
		Config:            s.inspectConfig(c),
		NetworkSettings:   networkSettings(c, settings),
	}, nil)
}

func (s *Server) inspectBase(c model.Container, size bool) *container.ContainerJSONBase {
	path, args := s.command(c)
	base := &container.ContainerJSONBase{
		ID: c.ID, Created: c.Created.UTC().Format(time.RFC3339Nano), Path: path, Args: args,
		State: &container.State{
			Status: string(c.State), Running: c.State == model.StateRunning, Dead: c.State == model.StateDead,
			Pid: c.Pid, ExitCode: c.ExitCode, Error: c.Error,
			StartedAt: c.Started.UTC().Format(time.RFC3339Nano), FinishedAt: c.Finished.UTC().Format(time.RFC3339Nano),
		},
		Image: s.cfg.Image.ID, Name: "/" + c.Spec.Name, Driver: "weft", Platform: "linux",
		HostConfig: &container.HostConfig{
			NetworkMode: container.NetworkMode(networkMode(c)), AutoRemove: c.Spec.AutoRemove,
			LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{}}, PortBindings: nat.PortMap{},
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
			IpcMode:       container.IPCModePrivate, CgroupnsMode: container.CgroupnsModePrivate, Runtime: "weft",
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
		Tty: p.TTY, OpenStdin: p.OpenStdin, StdinOnce: p.OpenStdin, Env: nonNilList(p.Env),
		Cmd: p.Args, Image: p.Image, WorkingDir: p.Dir, Entrypoint: p.Entrypoint,
		Labels: nonNil(c.Spec.Labels), StopSignal: p.StopSignal,
	}
	if len(p.Entrypoint) == 0 {
		config.Entrypoint = s.cfg.Image.Entrypoint
		if len(p.Args) == 0 {
			config.Cmd = s.cfg.Image.Cmd
		}
	}
	if p.StopGrace != 0 {
		seconds := int(p.StopGrace / time.Second)
		config.StopTimeout = &seconds
	}
	return config
}

func networkSettings(c model.Container, networks map[string]*network.EndpointSettings) *container.NetworkSettings {
	out := &container.NetworkSettings{Networks: networks}
	out.Ports = nat.PortMap{}
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
