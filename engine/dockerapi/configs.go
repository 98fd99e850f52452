package dockerapi

import (
	"net/http"
	"strconv"

	"github.com/docker/docker/api/types/swarm"

	"weft/engine/fault"
)

func (s *Server) configs(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	items, err := s.cfg.Swarm.Configs(r.Context(), f)
	return list(w, items, err)
}

func (s *Server) config(w *response, r *request) error {
	item, err := s.cfg.Swarm.Config(r.Context(), r.vars["id"])
	return one(w, item, err)
}

func (s *Server) configCreate(w *response, r *request) error {
	var spec swarm.ConfigSpec
	if err := r.decode(&spec); err != nil {
		return err
	}
	if spec.Templating != nil && r.before("1.37") {
		return fault.Invalid("config templating is not supported on the specified API version: %s", r.version)
	}
	id, err := s.cfg.Swarm.CreateConfig(r.Context(), spec)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusCreated, swarm.ConfigCreateResponse{ID: id})
}

func (s *Server) configUpdate(w *response, r *request) error {
	var spec swarm.ConfigSpec
	if err := r.decode(&spec); err != nil {
		return err
	}
	version, err := strconv.ParseUint(r.query.Get("version"), 10, 64)
	if err != nil {
		return fault.Invalid("invalid config version") // dockerd does not say more of it
	}
	return done(w, http.StatusOK, s.cfg.Swarm.UpdateConfig(r.Context(), r.vars["id"], version, spec))
}

func (s *Server) configRemove(w *response, r *request) error {
	return done(w, http.StatusNoContent, s.cfg.Swarm.RemoveConfig(r.Context(), r.vars["id"]))
}
