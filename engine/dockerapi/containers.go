package dockerapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	units "github.com/docker/go-units"

	"weft/engine/fault"
	"weft/engine/model"
)

func (s *Server) containers(w *response, r *request) error {
	f, err := s.containerFilter(r)
	if err != nil {
		return err
	}
	all, err := s.cfg.Containers.Containers(r.Context())
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b model.Container) int { return b.Created.Compare(a.Created) })
	if all, err = f.window(all); err != nil {
		return err
	}
	items := []container.Summary{}
	for _, c := range all {
		if f.limit > 0 && len(items) == f.limit {
			break
		}
		if f.matches(c) {
			items = append(items, s.summary(c))
		}
	}
	return WriteJSON(w, http.StatusOK, items)
}

func (s *Server) summary(c model.Container) container.Summary {
	path, args := command(c)
	sum := container.Summary{
		ID: c.ID, Names: []string{"/" + c.Spec.Name}, Image: c.Spec.Process.Image, ImageID: c.ImageID,
		Command: commandLine(path, args), Created: c.Created.Unix(), Ports: summaryPorts(c),
		Labels: nonNil(c.Spec.Labels), State: string(c.State), Status: s.status(c),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: endpointSettings(c)}, Mounts: mountPoints(c),
	}
	sum.HostConfig.NetworkMode = networkMode(c)
	for _, ep := range sum.NetworkSettings.Networks {
		ep.IPAMConfig, ep.DNSNames = nil, nil // a list does not have these
	}
	return sum
}

// status is the state in words, as container/state.go has it.
func (s *Server) status(c model.Container) string {
	ago := func(t time.Time) string { return units.HumanDuration(s.cfg.Now().Sub(t)) }
	switch c.State {
	case model.StateRunning:
		up := "Up " + ago(c.Started)
		if c.Health != nil {
			up += " (" + healthWord(c.Health.Status) + ")"
		}
		return up
	case model.StateRestarting:
		return "Restarting (" + strconv.Itoa(c.ExitCode) + ") " + ago(c.Finished) + " ago"
	case model.StateDead:
		return "Dead"
	case model.StateCreated:
		return "Created"
	case model.StateExited:
	}
	if c.Finished.IsZero() {
		return ""
	}
	return "Exited (" + strconv.Itoa(c.ExitCode) + ") " + ago(c.Finished) + " ago"
}

// command is what the container runs.
func command(c model.Container) (path string, args []string) {
	line := slices.Concat(c.Spec.Process.Entrypoint, c.Spec.Process.Args)
	if len(line) == 0 {
		return "", []string{}
	}
	return line[0], line[1:]
}

func commandLine(path string, args []string) string {
	words := []string{path}
	for _, a := range args {
		if strings.Contains(a, " ") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// networkMode is the mode asked for; of a task, its first network.
func networkMode(c model.Container) string {
	if c.Spec.NetworkMode != "" {
		return c.Spec.NetworkMode
	}
	if len(c.Spec.Networks) > 0 {
		return c.Spec.Networks[0].Network
	}
	return network.NetworkNone
}

// endpointSettings gives the endpoints by the name of their network: those
// that are, and before a start those asked for.
func endpointSettings(c model.Container) map[string]*network.EndpointSettings {
	out := map[string]*network.EndpointSettings{}
	for _, ep := range c.Endpoints {
		out[ep.NetworkName] = endpoint(c, ep)
	}
	if c.State != model.StateRunning {
		for _, req := range c.Spec.Networks {
			if !slices.ContainsFunc(c.Endpoints, func(ep model.Endpoint) bool { return requested(req, ep) }) {
				out[req.Network] = asked(req)
			}
		}
	}
	if mode := container.NetworkMode(networkMode(c)); len(out) == 0 && (mode.IsNone() || mode.IsHost()) {
		out[string(mode)] = &network.EndpointSettings{}
	}
	return out
}

// requested reports whether an endpoint came of a request, whose network may
// be a name, an ID or the beginning of one.
func requested(req model.NetworkRequest, ep model.Endpoint) bool {
	return req.Network == ep.NetworkName || (req.Network != "" && strings.HasPrefix(ep.NetworkID, req.Network))
}

func asked(req model.NetworkRequest) *network.EndpointSettings {
	out := &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{}, Aliases: req.Aliases}
	if req.Addr.IsValid() {
		out.IPAMConfig.IPv4Address = req.Addr.String()
	}
	if req.AddrV6.IsValid() {
		out.IPAMConfig.IPv6Address = req.AddrV6.String()
	}
	return out
}

func endpoint(c model.Container, ep model.Endpoint) *network.EndpointSettings {
	out := &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{}, Aliases: ep.Aliases}
	if i := slices.IndexFunc(c.Spec.Networks, func(req model.NetworkRequest) bool { return requested(req, ep) }); i >= 0 {
		out = asked(c.Spec.Networks[i])
	}
	out.NetworkID, out.EndpointID, out.MacAddress = ep.NetworkID, ep.ID, ep.MAC.String()
	if ep.Addr.IsValid() {
		out.IPAddress, out.IPPrefixLen = ep.Addr.Addr().String(), ep.Addr.Bits()
	}
	if ep.Gateway.IsValid() {
		out.Gateway = ep.Gateway.String()
	}
	if ep.AddrV6.IsValid() {
		out.GlobalIPv6Address, out.GlobalIPv6PrefixLen = ep.AddrV6.Addr().String(), ep.AddrV6.Bits()
	}
	if ep.GatewayV6.IsValid() {
		out.IPv6Gateway = ep.GatewayV6.String()
	}
	out.DNSNames = distinct(slices.Concat([]string{c.Spec.Name}, ep.TaskAliases, out.Aliases, []string{shortID(c.ID)}))
	return out
}

// distinct drops empty strings and all but the first of equal ones.
func distinct(names []string) []string {
	out := []string{}
	for _, n := range names {
		if n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// shortID is the first 12 digits, the form people see.
func shortID(id string) string { return id[:min(len(id), 12)] }

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func (s *Server) containersPrune(w *response, r *request) error {
	prune, err := s.pruneFilter(r)
	if err != nil {
		return err
	}
	all, err := s.cfg.Containers.Containers(r.Context())
	if err != nil {
		return err
	}
	report := container.PruneReport{}
	for _, c := range all {
		if r.Context().Err() != nil {
			break
		}
		if alive(c) || c.Spec.Service != nil || !prune.wants(c.Created, c.Spec.Labels) {
			continue
		}
		if err := s.cfg.Containers.Remove(r.Context(), c.ID, false, false); err != nil {
			s.cfg.Log.Warn("container not pruned", "container_id", c.ID, "err", err)
			continue
		}
		report.ContainersDeleted = append(report.ContainersDeleted, c.ID)
	}
	return WriteJSON(w, http.StatusOK, report)
}

func (s *Server) containerRemove(w *response, r *request) error {
	if r.flag("link") {
		return fault.Unsupported("this engine has no links: containers of one network find each other by name")
	}
	return done(w, http.StatusNoContent, s.cfg.Containers.Remove(r.Context(), r.vars["name"], r.flag("force"), r.flag("v")))
}
