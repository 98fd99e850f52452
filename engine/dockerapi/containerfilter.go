package dockerapi

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/go-connections/nat"

	"weft/engine/fault"
	"weft/engine/model"
)

// containerFilter is what `docker ps` asks for (daemon/list.go).
type containerFilter struct {
	args      filters.Args
	all       bool
	limit     int
	isTask    *bool // nil: both
	exited    []int
	ancestors []string // IDs of images
}

func (s *Server) containerFilter(r *request) (containerFilter, error) {
	args, err := r.filters()
	if err != nil {
		return containerFilter{}, err
	}
	if err := args.Validate(map[string]bool{
		"ancestor": true, "before": true, "exited": true, "expose": true, "health": true, "id": true, "is-task": true,
		"isolation": true, "label": true, "name": true, "network": true, "publish": true, "since": true, "status": true, "volume": true,
	}); err != nil {
		return containerFilter{}, err
	}
	f := containerFilter{args: args, all: r.flag("all")}
	if v := r.query.Get("limit"); v != "" {
		if f.limit, err = strconv.Atoi(v); err != nil {
			return f, fault.Invalid("invalid limit %q: %w", v, err)
		}
	}
	f.all = f.all || f.limit > 0 || args.Contains("status")
	for _, v := range args.Get("ancestor") {
		if img, err := s.cfg.Images.Image(r.Context(), v); err == nil { // of an unknown one there are no containers
			f.ancestors = append(f.ancestors, img.ID)
		}
	}
	return f, f.check()
}

// check parses the values of the filters that have a syntax.
func (f *containerFilter) check() error {
	for _, v := range f.args.Get("exited") {
		code, err := strconv.Atoi(v)
		if err != nil {
			return fault.Invalid("invalid filter 'exited=%s': %w", v, err)
		}
		f.exited = append(f.exited, code)
	}
	for _, v := range f.args.Get("status") {
		if err := container.ValidateContainerState(v); err != nil {
			return fault.Invalid("invalid filter 'status=%s': %w", v, err)
		}
	}
	for _, v := range f.args.Get("health") {
		if err := container.ValidateHealthStatus(v); err != nil {
			return fault.Invalid("invalid filter 'health=%s': %w", v, err)
		}
	}
	for _, key := range []string{"publish", "expose"} {
		for _, v := range f.args.Get(key) {
			if err := checkPort(key, v); err != nil {
				return err
			}
		}
	}
	if f.args.Contains("is-task") {
		is, err := f.args.GetBoolOrDefault("is-task", false)
		if err != nil {
			return err
		}
		f.isTask = &is
	}
	return nil
}

func checkPort(key, v string) error {
	if strings.Contains(v, ":") {
		return fault.Invalid("filter for '%s' should not contain ':': %s", key, v)
	}
	_, port := nat.SplitProtoPort(v)
	if _, _, err := nat.ParsePortRange(port); err != nil {
		return fault.Invalid("error while looking up for %s %s: %w", key, v, err)
	}
	return nil
}

// window cuts from all, newest first, what the filters before and since leave:
// what is older than the one, and newer than the other.
func (f containerFilter) window(all []model.Container) ([]model.Container, error) {
	for _, v := range f.args.Get("before") {
		i := position(all, v)
		if i < 0 {
			return nil, fault.NotFound("No such container: %s", v)
		}
		all = all[i+1:]
	}
	for _, v := range f.args.Get("since") {
		i := position(all, v)
		if i < 0 {
			return nil, fault.NotFound("No such container: %s", v)
		}
		all = all[:i]
	}
	return all, nil
}

// position finds a container by its ID or name.
func position(all []model.Container, term string) int {
	name := strings.TrimPrefix(term, "/")
	return slices.IndexFunc(all, func(c model.Container) bool { return c.ID == term || c.Spec.Name == name })
}

func (f containerFilter) matches(c model.Container) bool {
	running := alive(c)
	health := container.NoHealthcheck
	if c.Health != nil {
		health = string(c.Health.Status)
	}
	switch {
	case !running && !f.all,
		!f.args.Match("name", "/"+c.Spec.Name) && !f.args.Match("name", c.Spec.Name),
		!f.args.Match("id", c.ID),
		!f.args.MatchKVList("label", c.Spec.Labels),
		!f.args.Match("status", string(c.State)),
		!f.args.ExactMatch("health", health),
		f.isTask != nil && *f.isTask != (c.Spec.Service != nil),
		len(f.exited) > 0 && (running || c.Started.IsZero() || !slices.Contains(f.exited, c.ExitCode)):
		return false
	}
	return f.matchesImage(c) && f.matchesNetwork(c) && f.matchesPorts(c) && f.matchesVolume(c)
}

// matchesVolume looks for a volume by its name or by where something is mounted.
func (f containerFilter) matchesVolume(c model.Container) bool {
	return !f.args.Contains("volume") || slices.ContainsFunc(mountPoints(c), func(m container.MountPoint) bool {
		return f.args.ExactMatch("volume", m.Destination) || m.Name != "" && f.args.ExactMatch("volume", m.Name)
	})
}

// matchesPorts looks for published ports by their number on the host, and for
// exposed ones by their own.
func (f containerFilter) matchesPorts(c model.Container) bool {
	published := slices.ContainsFunc(publishedPorts(c), func(p model.PublishedPort) bool {
		return f.wantsPort("publish", model.Port{Proto: p.Proto, Port: p.HostPort})
	})
	exposed := slices.ContainsFunc(c.Spec.Expose, func(p model.Port) bool { return f.wantsPort("expose", p) })
	return (published || !f.args.Contains("publish")) && (exposed || !f.args.Contains("expose"))
}

// wantsPort reports whether a filter's ports, as 80, 80-90 or 80/udp, have p.
func (f containerFilter) wantsPort(filter string, p model.Port) bool {
	return slices.ContainsFunc(f.args.Get(filter), func(v string) bool {
		ports, proto, _ := strings.Cut(v, "/")
		first, last, err := nat.ParsePortRange(ports)
		return err == nil && cmp.Or(proto, "tcp") == p.Proto && first <= uint64(p.Port) && uint64(p.Port) <= last
	})
}

func (f containerFilter) matchesImage(c model.Container) bool {
	return !f.args.Contains("ancestor") || slices.Contains(f.ancestors, c.ImageID)
}

func (f containerFilter) matchesNetwork(c model.Container) bool {
	if !f.args.Contains("network") {
		return true
	}
	settings := endpointSettings(c)
	return slices.ContainsFunc(f.args.Get("network"), func(v string) bool {
		if _, ok := settings[v]; ok {
			return true
		}
		return slices.ContainsFunc(c.Endpoints, func(ep model.Endpoint) bool { return strings.HasPrefix(ep.NetworkID, v) })
	})
}
