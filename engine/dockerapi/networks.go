package dockerapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"

	"weft/engine/fault"
	"weft/engine/model"
)

func (s *Server) networks(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	if err := network.ValidateFilters(f); err != nil {
		return err
	}
	all, err := s.cfg.Networks.Networks(r.Context())
	if err != nil {
		return err
	}
	// Before API 1.28 a list told who is attached; "dangling" needs to know.
	if r.before("1.28") || f.Contains("dangling") {
		if all, err = s.detailed(r.Context(), all); err != nil {
			return err
		}
	}
	items, err := filterNetworks(all, f)
	if err == nil && !r.before("1.28") {
		for i := range items {
			items[i].Containers = map[string]network.EndpointResource{}
			items[i].Services, items[i].Peers = nil, nil
		}
	}
	return list(w, items, err)
}

// detailed asks for each network's containers. One removed meanwhile is left
// out.
func (s *Server) detailed(ctx context.Context, all []network.Inspect) ([]network.Inspect, error) {
	out := make([]network.Inspect, 0, len(all))
	for _, n := range all {
		d, err := s.cfg.Networks.Network(ctx, n.ID, false)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func (s *Server) network(w *response, r *request) error {
	verbose := false
	if v := r.query.Get("verbose"); v != "" {
		var err error
		if verbose, err = strconv.ParseBool(v); err != nil {
			return fault.Invalid("invalid value for verbose: %s: %w", v, err)
		}
	}
	term := r.vars["id"]
	found, by, err := s.findNetworks(r.Context(), term, r.query.Get("scope"))
	if err != nil {
		return err
	}
	if len(found) > 1 {
		return fault.Invalid("%d matches found based on %s: network %s is ambiguous", len(found), by, term)
	}
	item, err := s.cfg.Networks.Network(r.Context(), found[0].ID, verbose)
	return one(w, item, err)
}

// findNetworks gives the networks a term may mean: the one with that ID, else
// those of that name, else those whose ID begins with it; by says which of the
// last two. It gives one at least, or a NotFound error.
func (s *Server) findNetworks(ctx context.Context, term, scope string) (found []network.Inspect, by string, err error) {
	all, err := s.cfg.Networks.Networks(ctx)
	if err != nil {
		return nil, "", err
	}
	var named, prefixed []network.Inspect
	for _, n := range all {
		switch {
		case scope != "" && n.Scope != scope:
		case n.ID == term:
			return []network.Inspect{n}, "ID", nil
		case n.Name == term:
			named = append(named, n)
		case strings.HasPrefix(n.ID, term):
			prefixed = append(prefixed, n)
		}
	}
	switch {
	case len(named) > 0:
		return named, "name", nil
	case len(prefixed) > 0:
		return prefixed, "ID prefix", nil
	}
	return nil, "", fault.NotFound("network %s not found", term)
}

func (s *Server) networkCreate(w *response, r *request) error {
	var req network.CreateRequest
	if err := r.decode(&req); err != nil {
		return err
	}
	if r.before("1.48") {
		req.EnableIPv4 = nil
	}
	resp, err := s.cfg.Networks.CreateNetwork(r.Context(), req)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusCreated, resp)
}

func (s *Server) networkRemove(w *response, r *request) error {
	term := r.vars["id"]
	found, by, err := s.findNetworks(r.Context(), term, "")
	if err != nil {
		return err
	}
	if len(found) > 1 {
		return fault.Invalid("network %s is ambiguous (%d matches found based on %s)", term, len(found), by)
	}
	return done(w, http.StatusNoContent, s.cfg.Networks.RemoveNetwork(r.Context(), found[0].ID))
}

func (s *Server) networkConnect(w *response, r *request) error {
	var req network.ConnectOptions
	if err := r.decode(&req); err != nil {
		return err
	}
	if err := checkEndpoint(r.vars["id"], req.EndpointConfig); err != nil {
		return err
	}
	return done(w, http.StatusOK, s.cfg.Networks.Connect(r.Context(), r.vars["id"], req.Container, req.EndpointConfig))
}

func (s *Server) networkDisconnect(w *response, r *request) error {
	var req network.DisconnectOptions
	if err := r.decode(&req); err != nil {
		return err
	}
	return done(w, http.StatusOK, s.cfg.Networks.Disconnect(r.Context(), r.vars["id"], req.Container, req.Force))
}

// networksPrune removes the networks nobody uses. Whether other nodes or
// services use a swarm's network only the refusal to remove it can tell, as in
// dockerd, and a worker prunes none of those.
func (s *Server) networksPrune(w *response, r *request) error {
	prune, err := s.pruneFilter(r)
	if err != nil {
		return err
	}
	all, err := s.cfg.Networks.Networks(r.Context())
	if err != nil {
		return err
	}
	manager := s.cfg.Swarm.Info(r.Context()).ControlAvailable
	report := network.PruneReport{}
	for _, n := range all {
		if r.Context().Err() != nil {
			break
		}
		foreign := n.Scope == string(model.ScopeSwarm) && !manager
		if n.Ingress || n.ConfigOnly || predefined(n.Name) || foreign || !prune.wants(n.Created, n.Labels) {
			continue
		}
		if err := s.cfg.Networks.RemoveNetwork(r.Context(), n.ID); err != nil {
			if !errdefs.IsPermissionDenied(err) && !errdefs.IsConflict(err) && !errdefs.IsInvalidArgument(err) {
				s.cfg.Log.Warn("network not pruned", "network_id", n.ID, "err", err)
			}
			continue
		}
		report.NetworksDeleted = append(report.NetworksDeleted, n.Name)
	}
	return WriteJSON(w, http.StatusOK, report)
}
