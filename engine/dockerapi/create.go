package dockerapi

import (
	"cmp"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"weft/engine/fault"
	"weft/engine/model"
)

func (s *Server) containerCreate(w *response, r *request) error {
	if r.ContentLength == 0 {
		return fault.Invalid("invalid JSON: got EOF while reading request body")
	}
	var req container.CreateRequest
	if err := r.decode(&req); err != nil {
		return err
	}
	spec, err := containerSpec(r, req)
	if err != nil {
		return err
	}
	id, warnings, err := s.cfg.Containers.Create(r.Context(), spec)
	if err != nil {
		return err
	}
	if warnings == nil {
		warnings = []string{}
	}
	return WriteJSON(w, http.StatusCreated, container.CreateResponse{ID: id, Warnings: warnings})
}

// containerSpec gives the container a request describes, or says all of what
// the engine can't do of it.
func containerSpec(r *request, req container.CreateRequest) (model.ContainerSpec, error) {
	if req.Config == nil {
		return model.ContainerSpec{}, fault.Invalid("config cannot be empty in order to create a container")
	}
	c, host, nets := req.Config, req.HostConfig, req.NetworkingConfig
	if host == nil {
		host = &container.HostConfig{}
	}
	if nets == nil {
		nets = &network.NetworkingConfig{}
	}
	if r.before("1.44") && len(nets.EndpointsConfig) > 1 {
		return model.ContainerSpec{}, fault.Invalid("Container cannot be created with multiple network endpoints: %s",
			strings.Join(slices.Sorted(maps.Keys(nets.EndpointsConfig)), ", "))
	}
	if c.Image == "" {
		return model.ContainerSpec{}, fault.Invalid("no image specified")
	}
	if err := checkSupported(r, c, host); err != nil {
		return model.ContainerSpec{}, err
	}
	mounts, err := mountRequests(host)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	from, err := volumesFrom(host)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	targets, err := volumeTargets(c)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	res, err := resourceBounds(host.Resources)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	limits, err := ulimits(host.Ulimits)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	noNew, all, err := securityOptions(host.SecurityOpt)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	mode, requests, err := networkRequests(r, host.NetworkMode, nets.EndpointsConfig)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	naming, err := namingOf(host)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	health, err := healthOf(c.Healthcheck)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	expose, bindings, err := portRequests(c.ExposedPorts, host.PortBindings)
	if err != nil {
		return model.ContainerSpec{}, err
	}
	return model.ContainerSpec{
		Name: strings.TrimPrefix(r.query.Get("name"), "/"),
		Process: model.ProcessSpec{
			Runtime: host.Runtime,
			Image:   c.Image, Entrypoint: c.Entrypoint, Args: c.Cmd, Env: c.Env, Dir: c.WorkingDir, User: c.User,
			Hostname: c.Hostname, StopSignal: c.StopSignal, StopGrace: stopGrace(c.StopTimeout),
			TTY: c.Tty, OpenStdin: c.OpenStdin, StdinOnce: c.StdinOnce, Domainname: c.Domainname,
			Groups: host.GroupAdd, CapAdd: host.CapAdd, CapDrop: host.CapDrop, NoNewPrivileges: noNew, AllSyscalls: all,
			ReadOnlyRoot: host.ReadonlyRootfs, Mounts: mounts, ShmSize: host.ShmSize, Sysctls: host.Sysctls,
			Ulimits: limits, OOMScoreAdj: host.OomScoreAdj, Resources: res,
		},
		Volumes: targets, VolumesFrom: from, Binds: host.Binds,
		Labels: c.Labels, NetworkMode: mode, Networks: requests, Naming: naming,
		Expose: expose, Ports: bindings, PublishAll: host.PublishAllPorts, Health: health,
		Restart:    restartOf(host.RestartPolicy),
		AutoRemove: host.AutoRemove && !r.before("1.25"), // older clients remove it themselves
	}, nil
}

// atOnce is a grace of 0 s in a model where 0 is the default.
const atOnce = time.Nanosecond

// stopGrace converts a stop timeout in seconds: none is the default, negative
// no limit.
func stopGrace(seconds *int) time.Duration {
	switch {
	case seconds == nil:
		return 0
	case *seconds == 0:
		return atOnce
	}
	return time.Duration(*seconds) * time.Second
}

// networkRequests gives the mode in full and the networks to attach to: those
// with an endpoint configuration, the mode's first, or the mode's alone.
func networkRequests(r *request, mode container.NetworkMode, endpoints map[string]*network.EndpointSettings) (string, []model.NetworkRequest, error) {
	first := string(mode)
	if mode.IsDefault() || mode == "" {
		first = network.NetworkBridge
	}
	switch {
	case mode.IsNone() || mode.IsHost() || mode.IsContainer():
		for name := range endpoints {
			if name != first {
				return "", nil, fault.Invalid("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
			}
		}
		return first, nil, nil
	case len(endpoints) == 0:
		return first, []model.NetworkRequest{{Network: first}}, nil
	}
	if ep, ok := endpoints[network.NetworkDefault]; ok && len(endpoints) == 1 {
		endpoints = map[string]*network.EndpointSettings{first: ep}
	}
	out, err := endpointRequests(r, first, endpoints)
	return first, out, err
}

// endpointRequests gives the networks with an endpoint configuration, the
// first one first and the others in the order of their names.
func endpointRequests(r *request, first string, endpoints map[string]*network.EndpointSettings) ([]model.NetworkRequest, error) {
	names := slices.SortedFunc(maps.Keys(endpoints), func(a, b string) int {
		switch first {
		case a:
			return -1
		case b:
			return 1
		}
		return cmp.Compare(a, b)
	})
	out := make([]model.NetworkRequest, len(names))
	for i, name := range names {
		ep := endpoints[name]
		if r.before("1.44") && ep != nil {
			ep.MacAddress = "" // older APIs ignored it
		}
		if err := checkEndpoint(name, ep); err != nil {
			return nil, err
		}
		req, err := networkRequest(name, ep)
		if err != nil {
			return nil, err
		}
		out[i] = req
	}
	return out, nil
}

func networkRequest(name string, ep *network.EndpointSettings) (model.NetworkRequest, error) {
	req := model.NetworkRequest{Network: name}
	if ep == nil {
		return req, nil
	}
	req.Aliases, req.GwPriority = ep.Aliases, ep.GwPriority
	if ep.IPAMConfig == nil {
		return req, nil
	}
	var err error
	if req.Addr, err = address("IPv4", ep.IPAMConfig.IPv4Address, netip.Addr.Is4); err != nil {
		return req, err
	}
	req.AddrV6, err = address("IPv6", ep.IPAMConfig.IPv6Address, netip.Addr.Is6)
	return req, err
}

// address parses an address of one family. Empty is the zero address.
func address(family, text string, is func(netip.Addr) bool) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !is(a) || a.Zone() != "" {
		return netip.Addr{}, fault.Invalid("invalid endpoint settings:\ninvalid %s address: %s", family, text)
	}
	return a, nil
}
