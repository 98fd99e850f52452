package dockerapi

import (
	"net/http"

	"github.com/docker/docker/api/types/swarm"
)

func (s *Server) swarmInit(w *response, r *request) error {
	var req swarm.InitRequest
	if err := r.decode(&req); err != nil {
		return err
	}
	if r.before("1.39") {
		req.DefaultAddrPool, req.SubnetSize = nil, 0
	}
	if r.before("1.40") {
		req.DataPathPort = 0
	}
	id, err := s.cfg.Swarm.Init(r.Context(), req)
	return one(w, id, err)
}

func (s *Server) swarmJoin(w *response, r *request) error {
	var req swarm.JoinRequest
	if err := r.decode(&req); err != nil {
		return err
	}
	return done(w, http.StatusOK, s.cfg.Swarm.Join(r.Context(), req))
}

func (s *Server) swarmLeave(w *response, r *request) error {
	return done(w, http.StatusOK, s.cfg.Swarm.Leave(r.Context(), r.flag("force")))
}

func (s *Server) swarmInspect(w *response, r *request) error {
	sw, err := s.cfg.Swarm.Inspect(r.Context())
	return one(w, sw, err)
}

func (s *Server) swarmUpdate(w *response, r *request) error {
	var spec swarm.Spec
	if err := r.decode(&spec); err != nil {
		return err
	}
	version, err := r.objectVersion("swarm")
	if err != nil {
		return err
	}
	var flags swarm.UpdateFlags
	for _, p := range []struct {
		key string
		to  *bool
	}{
		{"rotateWorkerToken", &flags.RotateWorkerToken},
		{"rotateManagerToken", &flags.RotateManagerToken},
		{"rotateManagerUnlockKey", &flags.RotateManagerUnlockKey},
	} {
		if *p.to, err = r.strictFlag(p.key); err != nil {
			return err
		}
	}
	return done(w, http.StatusOK, s.cfg.Swarm.Update(r.Context(), version, spec, flags))
}

func (s *Server) swarmUnlockKey(w *response, r *request) error {
	key, err := s.cfg.Swarm.UnlockKey(r.Context())
	return one(w, swarm.UnlockKeyResponse{UnlockKey: key}, err)
}

func (s *Server) swarmUnlock(w *response, r *request) error {
	var req swarm.UnlockRequest
	if err := r.decode(&req); err != nil {
		return err
	}
	return done(w, http.StatusOK, s.cfg.Swarm.Unlock(r.Context(), req))
}

// done answers a request that has no body to return.
func done(w *response, status int, err error) error {
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

// list answers with a list, never with null.
func list[T any](w *response, items []T, err error) error {
	if err != nil {
		return err
	}
	if items == nil {
		items = []T{}
	}
	return WriteJSON(w, http.StatusOK, items)
}

// one answers with an object.
func one[T any](w *response, item T, err error) error {
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, item)
}
