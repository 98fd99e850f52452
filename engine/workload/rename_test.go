package workload_test

import (
	"slices"
	"testing"

	"github.com/containerd/errdefs"
)

func TestRename(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	id := started(t, m, spec("web", "a"))
	other := started(t, m, spec("other", "b"))
	if err := m.Rename(t.Context(), "web", "shop"); err != nil {
		t.Fatal(err)
	}
	c, err := m.Container(t.Context(), "shop")
	if err != nil || c.ID != id || c.Endpoints[0].Name != "shop" || w.saved[id].Endpoints[0].Name != "shop" {
		t.Errorf("renamed: %+v %v", c, err)
	}
	if !slices.Contains(w.published(), "container rename") {
		t.Errorf("events: %v", w.published())
	}
	for name, wrong := range map[string]func(error) bool{"shop": errdefs.IsConflict, "a b": errdefs.IsInvalidArgument} {
		if err := m.Rename(t.Context(), other, name); !wrong(err) {
			t.Errorf("to %q: %v", name, err)
		}
	}
	if _, err := m.Container(t.Context(), "other"); err != nil {
		t.Error(err)
	}
}
