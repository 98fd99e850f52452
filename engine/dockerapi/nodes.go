package dockerapi

import (
	"net/http"

	"github.com/docker/docker/api/types/swarm"
)

func (s *Server) nodes(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	items, err := s.cfg.Swarm.Nodes(r.Context(), f)
	return list(w, items, err)
}

func (s *Server) node(w *response, r *request) error {
	item, err := s.cfg.Swarm.Node(r.Context(), r.vars["id"])
	return one(w, item, err)
}

func (s *Server) nodeUpdate(w *response, r *request) error {
	var spec swarm.NodeSpec
	if err := r.decode(&spec); err != nil {
		return err
	}
	version, err := r.objectVersion("node")
	if err != nil {
		return err
	}
	return done(w, http.StatusOK, s.cfg.Swarm.UpdateNode(r.Context(), r.vars["id"], version, spec))
}

func (s *Server) nodeRemove(w *response, r *request) error {
	return done(w, http.StatusOK, s.cfg.Swarm.RemoveNode(r.Context(), r.vars["id"], r.flag("force")))
}

func (s *Server) tasks(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	items, err := s.cfg.Swarm.Tasks(r.Context(), f)
	return list(w, items, err)
}

func (s *Server) task(w *response, r *request) error {
	item, err := s.cfg.Swarm.Task(r.Context(), r.vars["id"])
	return one(w, item, err)
}
