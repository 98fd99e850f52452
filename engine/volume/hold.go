package volume

import (
	"context"
	"errors"
	"maps"

	"weft/engine/model"
)

// Take makes the volumes among mounts that are not there and keeps all of them
// from being removed until Drop.
func (s *Store) Take(_ context.Context, containerID string, mounts []model.Mount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range volumesOf(mounts) {
		labels := m.VolumeLabels
		if m.Anonymous {
			labels = maps.Clone(labels)
			if labels == nil {
				labels = map[string]string{}
			}
			labels[model.AnonymousVolume] = ""
		}
		v, err := s.createLocked(model.VolumeRequest{Name: m.Name, Labels: labels, Options: m.VolumeOptions})
		if err != nil {
			return err
		}
		v.holders[containerID] = true
	}
	return nil
}

// Drop gives the volumes among mounts back; with anonymous, those that nobody
// named and no other container has are removed.
func (s *Store) Drop(_ context.Context, containerID string, mounts []model.Mount, anonymous bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{s.unmountLocked(containerID, mounts)}
	for _, m := range volumesOf(mounts) {
		v := s.vols[m.Name]
		if v == nil {
			continue
		}
		delete(v.holders, containerID)
		if anonymous && m.Anonymous && len(v.holders) == 0 {
			errs = append(errs, s.removeLocked(v))
		}
	}
	return errors.Join(errs...)
}

// Restore tells which containers there are after a restart, and takes away
// what is mounted for those that do not run any more.
func (s *Store) Restore(containers []model.Container) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range containers {
		for _, m := range volumesOf(c.Spec.Process.Mounts) {
			v := s.vols[m.Name]
			if v == nil {
				continue // it went in a crash, with the container's creation
			}
			v.holders[c.ID] = true
			if c.State == model.StateRunning {
				v.users[c.ID] = true
			}
		}
	}
	var errs []error
	for _, v := range s.vols {
		if len(v.users) == 0 && len(v.rec.Options) > 0 {
			errs = append(errs, unmountAll(v.rec.Path))
		}
	}
	return errors.Join(errs...)
}
