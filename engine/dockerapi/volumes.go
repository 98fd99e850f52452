package dockerapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"weft/engine/fault"
	"weft/engine/model"
)

func volumeModel(v model.Volume) *volume.Volume {
	return &volume.Volume{
		Name: v.Name, Driver: model.VolumeDriver, Mountpoint: v.Path, CreatedAt: v.Created.Format(time.RFC3339),
		Labels: v.Labels, Options: v.Options, Scope: string(model.ScopeLocal),
	}
}

func (s *Server) volumes(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	if err := f.Validate(map[string]bool{"dangling": true, "name": true, "driver": true, "label": true}); err != nil {
		return err
	}
	dangling, err := danglingVolumes(f)
	if err != nil {
		return err
	}
	all, err := s.cfg.Volumes.Volumes(r.Context())
	if err != nil {
		return err
	}
	used, err := s.cfg.Volumes.Used(r.Context())
	if err != nil {
		return err
	}
	answer := volume.ListResponse{Volumes: []*volume.Volume{}}
	for _, v := range all {
		if (dangling == nil || *dangling != used[v.Name]) && f.Match("name", v.Name) &&
			f.ExactMatch("driver", model.VolumeDriver) && f.MatchKVList("label", v.Labels) {
			answer.Volumes = append(answer.Volumes, volumeModel(v))
		}
	}
	return WriteJSON(w, http.StatusOK, answer)
}

// danglingVolumes is nil when the filter is not used.
func danglingVolumes(f filters.Args) (*bool, error) {
	if !f.Contains("dangling") {
		return nil, nil
	}
	only, err := f.GetBoolOrDefault("dangling", false)
	if err != nil {
		return nil, err
	}
	return &only, nil
}

func (s *Server) volume(w *response, r *request) error {
	v, err := s.cfg.Volumes.Volume(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, volumeModel(v))
}

func (s *Server) volumeCreate(w *response, r *request) error {
	if r.ContentLength == 0 {
		return fault.Invalid("invalid JSON: got EOF while reading request body")
	}
	var req volume.CreateOptions
	if err := r.decode(&req); err != nil {
		return err
	}
	if req.ClusterVolumeSpec != nil && !r.before("1.42") {
		return fault.Unsupported("%s", noCluster)
	}
	v, err := s.cfg.Volumes.Create(r.Context(), model.VolumeRequest{Name: req.Name, Driver: req.Driver, Labels: req.Labels, Options: req.DriverOpts})
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusCreated, volumeModel(v))
}

func (s *Server) volumeRemove(w *response, r *request) error {
	return done(w, http.StatusNoContent, s.cfg.Volumes.Remove(r.Context(), r.vars["name"], r.flag("force")))
}

func (s *Server) volumesPrune(w *response, r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	if err := f.Validate(map[string]bool{"label": true, "label!": true, "all": true}); err != nil {
		return err
	}
	all, err := pruneAll(r, f)
	if err != nil {
		return err
	}
	names, freed, err := s.cfg.Volumes.Prune(r.Context(), func(v model.Volume) bool {
		if _, anonymous := v.Labels[model.AnonymousVolume]; !anonymous && !all {
			return false
		}
		return f.MatchKVList("label", v.Labels) && !(f.Contains("label!") && f.MatchKVList("label!", v.Labels))
	})
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, volume.PruneReport{VolumesDeleted: slices.Concat([]string{}, names), SpaceReclaimed: uint64(max(freed, 0))})
}

// pruneAll reports whether volumes with a name of their own are meant too, as
// they were before 1.42.
func pruneAll(r *request, f filters.Args) (bool, error) {
	values := f.Get("all")
	switch {
	case r.before("1.42"):
		return true, nil
	case len(values) == 0:
		return false, nil
	case len(values) > 1:
		return false, fault.Invalid("invalid filter 'all=%s'", values)
	}
	all, err := strconv.ParseBool(values[0])
	if err != nil {
		return false, fault.Invalid("invalid filter 'all=%s': %w", values[0], err)
	}
	return all, nil
}
