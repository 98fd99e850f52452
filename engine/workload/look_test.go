package workload_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/containerd/errdefs"

	"weft/engine/model"
)

func TestLook(t *testing.T) {
	w := newWorld()
	m := w.manager(t)
	s := spec("web", "a")
	s.Volumes = []string{"data"}
	id, err := m.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	starts := make(chan error, 1)
	err = m.Look(t.Context(), "web", "export", func(c model.Container) error {
		if got := w.has(); got != "bundle, mounted data, volume data" || c.ID != id {
			t.Errorf("looking at %s there is %q", c.ID, got)
		}
		go func() { starts <- m.Start(t.Context(), "web") }()
		select {
		case err := <-starts:
			t.Errorf("started under somebody's eyes: %v", err)
		default:
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-starts; err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(w.published(), "container export") {
		t.Errorf("events: %v", w.published())
	}
	// One that runs may end meanwhile.
	failed := errors.New("not there")
	if err := m.Look(t.Context(), "web", "", func(model.Container) error {
		w.exit(id, 0)
		awaitState(t, m, id)
		return failed
	}); !errors.Is(err, failed) {
		t.Error(err)
	}
	if err := m.Look(t.Context(), "nope", "", nil); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	w.fail["mount"] = failed
	if err := m.Look(t.Context(), "web", "", func(model.Container) error { t.Error("looked"); return nil }); !errors.Is(err, failed) {
		t.Error(err)
	}
}
