package dockerapi

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/docker/docker/api/types/container"

	"weft/engine/fault"
)

// statsPeriod is how often a container is measured, as in dockerd
// (daemon/daemon.go).
const statsPeriod = time.Second

func (s *Server) containerStats(w *response, r *request) error {
	stream := !r.query.Has("stream") || r.flag("stream")
	once := !r.before("1.41") && r.flag("one-shot")
	if stream && once {
		return fault.Invalid("cannot have stream=true and one-shot=true")
	}
	c, err := s.cfg.Containers.Container(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	last, err := s.cfg.Containers.Stats(r.Context(), c.ID)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(statsPeriod)
	defer ticker.Stop()
	if !stream {
		// CPU time is a rate between two measurements, unless a client makes it
		// itself, or there will be none.
		if !once && !last.Read.IsZero() {
			if last, err = s.nextStats(r, ticker, last); err != nil {
				return err
			}
		}
		return WriteJSON(w, http.StatusOK, last)
	}
	var out io.Writer = begin(w, "application/json")
	for enc := json.NewEncoder(out); err == nil; last, err = s.nextStats(r, ticker, last) {
		if err := enc.Encode(last); err != nil {
			return err
		}
	}
	return nil // it is gone, or its client
}

// nextStats measures again when it is time.
func (s *Server) nextStats(r *request, ticker *time.Ticker, last container.StatsResponse) (container.StatsResponse, error) {
	select {
	case <-ticker.C:
	case <-r.Context().Done():
		return last, r.Context().Err()
	}
	next, err := s.cfg.Containers.Stats(r.Context(), last.ID)
	if !next.Read.IsZero() {
		next.PreRead, next.PreCPUStats = last.Read, last.CPUStats
	}
	return next, err
}
