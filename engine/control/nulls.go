package control

import (
	"slices"

	"weft/engine/fault"
)

// noNulls refuses a list of a spec with nulls, which Docker's conversion for
// SwarmKit does not expect.
func noNulls[T any](name string, list []*T) error {
	if slices.Contains(list, nil) {
		return fault.Invalid("invalid %s: an element is null", name)
	}
	return nil
}
