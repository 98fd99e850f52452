package cmdenv

import (
	"strings"

	"github.com/docker/docker/api/types/filters"
)

// PruneFilters gives the filters of a command line together with those that
// the configuration file has for every prune. A label filter of the command
// line wins over its opposite.
func (e *Env) PruneFilters(given filters.Args) filters.Args {
	opposite := map[string]string{"label": "label!", "label!": "label"}
	for _, f := range e.Config().PruneFilters {
		key, value, ok := strings.Cut(f, "=")
		if !ok || (opposite[key] != "" && given.ExactMatch(opposite[key], value)) {
			continue
		}
		given.Add(key, value)
	}
	return given
}
