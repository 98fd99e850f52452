package dockerapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
)

func (s *Server) ping(w *response, r *request) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	// The classic builder: its one request gets an answer that says what is
	// missing, which BuildKit's session would hide.
	h.Set("Builder-Version", "1")
	h.Set("Swarm", swarmStatus(s.cfg.Swarm.Info(r.Context())))
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodHead {
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	_, err := w.Write([]byte("OK"))
	return err
}

// swarmStatus is the Swarm header: the node's state and, once it is active,
// its role.
func swarmStatus(info swarm.Info) string {
	switch {
	case info.LocalNodeState == "":
		return string(swarm.LocalNodeStateInactive)
	case info.LocalNodeState != swarm.LocalNodeStateActive:
		return string(info.LocalNodeState)
	case info.ControlAvailable:
		return "active/manager"
	}
	return "active/worker"
}

func (s *Server) version(w *response, r *request) error {
	v, err := s.cfg.System.Version(r.Context())
	return one(w, v, err)
}

func (s *Server) info(w *response, r *request) error {
	info, err := s.cfg.System.Info(r.Context())
	if err != nil {
		return err
	}
	info.Swarm = s.cfg.Swarm.Info(r.Context())
	info.Warnings = append(info.Warnings, info.Swarm.Warnings...)
	extra := infoFor(r, &info)
	if extra == nil {
		return WriteJSON(w, http.StatusOK, info)
	}
	base, err := json.Marshal(info)
	if err != nil {
		return err
	}
	var merged map[string]any
	if err := json.Unmarshal(base, &merged); err != nil {
		return err
	}
	for k, v := range extra {
		merged[k] = v
	}
	return WriteJSON(w, http.StatusOK, merged)
}

// infoFor drops from info what an older API does not have, and gives the
// fields only older APIs have (router/system/system_routes.go, getInfo).
func infoFor(r *request, info *system.Info) map[string]any {
	if r.before("1.25") {
		info.SecurityOptions = securityNames(info.SecurityOptions)
	}
	if r.before("1.44") {
		for name, rt := range info.Runtimes {
			info.Runtimes[name] = system.RuntimeWithStatus{Runtime: rt.Runtime}
		}
	}
	if r.before("1.46") {
		info.Containerd = nil
	}
	if r.before("1.47") && info.RegistryConfig != nil {
		info.RegistryConfig.ExtraFields = map[string]any{
			"AllowNondistributableArtifactsCIDRs": nil, "AllowNondistributableArtifactsHostnames": nil,
		}
	}
	if r.before("1.49") {
		info.FirewallBackend = nil
	}
	if r.before("1.50") {
		info.DiscoveredDevices = nil
		return map[string]any{"BridgeNfIptables": false, "BridgeNfIp6tables": false}
	}
	return nil
}

// securityNames gives the bare names of options like "name=seccomp,profile=x".
func securityNames(options []string) []string {
	names := []string{}
	for _, o := range options {
		for kv := range strings.SplitSeq(o, ",") {
			if name, ok := strings.CutPrefix(kv, "name="); ok {
				names = append(names, name)
			}
		}
	}
	return names
}
