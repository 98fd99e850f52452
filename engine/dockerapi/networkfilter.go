package dockerapi

import (
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	timetypes "github.com/docker/docker/api/types/time"

	"weft/engine/fault"
)

// predefined reports whether Docker makes the network of this name itself.
func predefined(name string) bool { return !container.NetworkMode(name).IsUserDefined() }

// filterNetworks applies the filters of `docker network ls`
// (daemon/network/filter.go).
func filterNetworks(all []network.Inspect, f filters.Args) ([]network.Inspect, error) {
	dangling, err := danglingFilter(f)
	if err != nil {
		return nil, err
	}
	for _, v := range f.Get("type") {
		if v != "builtin" && v != "custom" {
			return nil, fault.Invalid("invalid filter: 'type'='%s'", v)
		}
	}
	out := []network.Inspect{}
	for _, n := range all {
		kind := "custom"
		if predefined(n.Name) {
			kind = "builtin"
		}
		unused := kind == "custom" && len(n.Containers) == 0 && len(n.Services) == 0
		if f.ExactMatch("driver", n.Driver) && f.ExactMatch("scope", n.Scope) && f.ExactMatch("type", kind) &&
			f.Match("name", n.Name) && f.Match("id", n.ID) && f.MatchKVList("label", n.Labels) &&
			(dangling == nil || *dangling == unused) {
			out = append(out, n)
		}
	}
	return out, nil
}

// danglingFilter is nil when the filter is not used.
func danglingFilter(f filters.Args) (*bool, error) {
	values := f.Get("dangling")
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > 1 {
		return nil, fault.Invalid(`got more than one value for filter key "dangling"`)
	}
	var only bool
	switch values[0] {
	case "0", "false":
	case "1", "true":
		only = true
	default:
		return nil, fault.Invalid(`invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")`)
	}
	return &only, nil
}

// pruneFilter is the filter of a prune request.
type pruneFilter struct {
	args  filters.Args
	until time.Time // zero: no limit
}

func (s *Server) pruneFilter(r *request) (pruneFilter, error) {
	f, err := r.filters()
	if err != nil {
		return pruneFilter{}, err
	}
	if err := f.Validate(map[string]bool{"label": true, "label!": true, "until": true}); err != nil {
		return pruneFilter{}, err
	}
	p := pruneFilter{args: f}
	switch until := f.Get("until"); len(until) {
	case 0:
		return p, nil
	case 1:
		ts, err := timetypes.GetTimestamp(until[0], s.cfg.Now())
		if err != nil {
			return p, fault.Invalid("%w", err)
		}
		p.until, err = timestamp(ts)
		return p, err
	}
	return p, fault.Invalid("more than one until filter specified")
}

// wants reports whether what was made then, with these labels, is to go if
// nobody uses it.
func (p pruneFilter) wants(created time.Time, labels map[string]string) bool {
	if !p.until.IsZero() && created.After(p.until) {
		return false
	}
	if p.args.Contains("label!") && p.args.MatchKVList("label!", labels) {
		return false
	}
	return p.args.MatchKVList("label", labels)
}
