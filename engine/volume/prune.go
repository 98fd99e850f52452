package volume

import (
	"context"
	"maps"
	"slices"
	"strconv"

	continuity "github.com/containerd/continuity/fs"

	"weft/engine/model"
)

// Prune removes the volumes that wanted accepts and no container has, but for
// those with options, whose data is elsewhere. It gives their names and the
// bytes that became free.
func (s *Store) Prune(ctx context.Context, wanted func(model.Volume) bool) (names []string, freed int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.vols)) {
		v := s.vols[name]
		if len(v.holders) > 0 || len(v.rec.Options) > 0 || !wanted(clone(v.rec)) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		usage, err := continuity.DiskUsage(ctx, v.rec.Path)
		if err != nil {
			s.cfg.Log.WarnContext(ctx, "volume not measured", "volume", name, "err", err)
		}
		if err := s.removeLocked(v); err != nil {
			s.cfg.Log.WarnContext(ctx, "volume not pruned", "volume", name, "err", err)
			continue
		}
		names, freed = append(names, name), freed+usage.Size
	}
	s.publish("", "prune", map[string]string{"reclaimed": strconv.FormatInt(freed, 10)})
	return names, freed, nil
}
