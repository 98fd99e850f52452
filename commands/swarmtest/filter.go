package swarmtest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// filters are a request's, by key. A key nobody gave matches everything.
type filters map[string][]string

// filters reads the filters, of which only the known keys are allowed. Both
// forms are in use: lists of values, and objects whose keys are the values.
func (c *call) filters(known ...string) (filters, error) {
	text := c.query.Get("filters")
	f := filters{}
	if text == "" {
		return f, nil
	}
	var sets map[string]map[string]bool
	if json.Unmarshal([]byte(text), &f) != nil {
		f = filters{}
		if err := json.Unmarshal([]byte(text), &sets); err != nil {
			return nil, badRequest("invalid filter")
		}
	}
	for key, set := range sets {
		f[key] = slices.Sorted(maps.Keys(set))
	}
	for key := range f {
		if !slices.Contains(known, key) {
			return nil, badRequest("Invalid filter '%s'", key)
		}
	}
	return f, nil
}

func (f filters) some(key string, matches func(string) bool) bool {
	return len(f[key]) == 0 || slices.ContainsFunc(f[key], matches)
}

func (f filters) is(key, value string) bool {
	return f.some(key, func(want string) bool { return want == value })
}

func (f filters) prefix(key, value string) bool {
	return f.some(key, func(want string) bool { return strings.HasPrefix(value, want) })
}

func (f filters) contains(key, value string) bool {
	return f.some(key, func(want string) bool { return strings.Contains(value, want) })
}

// labels wants all of the labels, each as "key" or "key=value".
func (f filters) labels(key string, labels map[string]string) bool {
	for _, want := range f[key] {
		name, value, valued := strings.Cut(want, "=")
		got, there := labels[name]
		if !there || valued && got != value {
			return false
		}
	}
	return true
}
