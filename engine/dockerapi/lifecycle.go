package dockerapi

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"weft/engine/fault"
	"weft/engine/model"
)

func (s *Server) containerStart(w *response, r *request) error {
	if r.ContentLength > 7 || r.ContentLength == -1 { // the shortest object that says something has 8 bytes
		return fault.Invalid("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
	}
	if r.query.Get("checkpoint") != "" {
		return fault.Unsupported("%s", noCheckpoint)
	}
	c, err := s.cfg.Containers.Container(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	if c.State == model.StateRunning {
		return notModified{}
	}
	return done(w, http.StatusNoContent, s.cfg.Containers.Start(r.Context(), c.ID))
}

// stopOptions reads how a container is to be stopped. A nil grace is its own.
func stopOptions(r *request) (signal string, grace *time.Duration, err error) {
	if !r.before("1.42") {
		signal = r.query.Get("signal")
	}
	if v := r.query.Get("t"); v != "" {
		seconds, err := strconv.Atoi(v)
		if err != nil {
			return "", nil, fault.Invalid("invalid timeout %q: %w", v, err)
		}
		g := time.Duration(seconds) * time.Second
		grace = &g
	}
	return signal, grace, nil
}

func (s *Server) containerStop(w *response, r *request) error {
	signal, grace, err := stopOptions(r)
	if err != nil {
		return err
	}
	stopped, err := s.cfg.Containers.Stop(r.Context(), r.vars["name"], signal, grace)
	if err == nil && !stopped {
		return notModified{}
	}
	return done(w, http.StatusNoContent, err)
}

func (s *Server) containerRestart(w *response, r *request) error {
	signal, grace, err := stopOptions(r)
	if err != nil {
		return err
	}
	c, err := s.cfg.Containers.Container(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	if c.Spec.AutoRemove {
		return fault.Conflict("container %s is removed when it stops (--rm): run it anew instead of restarting it", r.vars["name"])
	}
	if _, err := s.cfg.Containers.Stop(r.Context(), c.ID, signal, grace); err != nil {
		return err
	}
	return done(w, http.StatusNoContent, s.cfg.Containers.Start(r.Context(), c.ID))
}

func (s *Server) containerKill(w *response, r *request) error {
	name := r.vars["name"]
	err := s.cfg.Containers.Kill(r.Context(), name, r.query.Get("signal"))
	if err != nil && !errdefs.IsConflict(err) {
		err = fmt.Errorf("cannot kill container: %s: %w", name, err)
	}
	return done(w, http.StatusNoContent, err)
}

func (s *Server) containerRename(w *response, r *request) error {
	name, newName := r.vars["name"], r.query.Get("name")
	if newName == "" {
		return fault.Invalid("Neither old nor new names may be empty")
	}
	return done(w, http.StatusNoContent, s.cfg.Containers.Rename(r.Context(), name, newName))
}

func (s *Server) containerResize(w *response, r *request) error {
	rows, cols, err := terminalSize(r)
	if err != nil {
		return err
	}
	return done(w, http.StatusOK, s.cfg.Containers.Resize(r.Context(), r.vars["name"], rows, cols))
}

// terminalSize reads the parameters h and w.
func terminalSize(r *request) (rows, cols uint16, err error) {
	for _, p := range []struct {
		key, name string
		to        *uint16
	}{{"h", "height", &rows}, {"w", "width", &cols}} {
		v := r.query.Get(p.key)
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return 0, 0, fault.Invalid("invalid resize %s %q: invalid syntax", p.name, v)
		}
		*p.to = uint16(min(n, math.MaxUint16))
	}
	return rows, cols, nil
}

func (s *Server) containerWait(w *response, r *request) error {
	cond := WaitNotRunning
	if !r.before("1.30") {
		switch v := WaitCondition(r.query.Get("condition")); v {
		case "":
		case WaitNotRunning, WaitNextExit, WaitRemoved:
			cond = v
		default:
			return fault.Invalid("invalid condition: %q", string(v))
		}
	}
	status, err := s.cfg.Containers.Wait(r.Context(), r.vars["name"], cond, func() {
		if !r.before("1.30") { // the header tells the client that no exit is missed any more
			begin(w, "application/json")
		}
	})
	if r.Context().Err() != nil {
		return nil //nolint:nilerr // the client went: nobody reads the answer
	}
	if err != nil {
		if !w.started {
			return err
		}
		status = model.ExitStatus{Code: unknownExit, Err: err.Error()}
	}
	resp := container.WaitResponse{StatusCode: int64(status.Code)}
	if status.Err != "" {
		resp.Error = &container.WaitExitError{Message: status.Err}
	}
	if !w.started {
		w.Header().Set("Content-Type", "application/json")
	}
	return json.NewEncoder(w).Encode(resp)
}

// unknownExit is the status dockerd gives when it does not know one.
const unknownExit = 255
