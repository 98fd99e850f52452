package render

import (
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/fvbommel/sortorder"
)

// shortID is the length of an ID in a table, as Docker's.
const shortID = 12

// ShortID gives the first twelve characters of an ID, without a digest's
// algorithm.
func ShortID(id string) string {
	if _, rest, ok := strings.Cut(id, ":"); ok {
		id = rest
	}
	if len(id) > shortID {
		return id[:shortID]
	}
	return id
}

// ID gives an ID as a table shows it: short, unless full is wanted.
func ID(id string, full bool) string {
	if full {
		return id
	}
	return ShortID(id)
}

// Ellipsis cuts a text to a number of characters, the last of them an
// ellipsis if anything was cut.
func Ellipsis(s string, width int) string {
	runes := []rune(s)
	switch {
	case width <= 0:
		return ""
	case len(runes) <= width:
		return s
	case width == 1:
		return string(runes[:1])
	default:
		return string(runes[:width-1]) + "…"
	}
}

// Labels gives labels as key=value pairs, the pairs in order, as Docker's
// client sorts them.
func Labels(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for key, value := range labels {
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// Ago gives the time since then in words, as "5 minutes".
func Ago(now, then time.Time) string { return units.HumanDuration(now.Sub(then)) }

// Capital gives a text with its first letter in upper case and the rest in
// lower case, as Docker shows states, and times in `inspect --pretty`.
func Capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + strings.ToLower(s[1:])
}

// CompareNatural orders texts as people do: numbers in them by value, so that
// web.10 comes after web.9.
func CompareNatural(a, b string) int {
	switch {
	case a == b:
		return 0
	case sortorder.NaturalLess(a, b):
		return -1
	default:
		return 1
	}
}
