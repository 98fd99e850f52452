package engine

import (
	"slices"
	"testing"

	"weft/engine/mesh"
	"weft/engine/model"
)

func TestNoteListeners(t *testing.T) {
	for _, c := range []struct {
		name      string
		had, want []uint16
		have      mesh.Listeners
		news      bool
	}{
		{"the first", nil, []uint16{80}, mesh.Listeners{Open: []uint16{80}, Anywhere: []uint16{80}}, true},
		{"no news", []uint16{80}, []uint16{80}, mesh.Listeners{Open: []uint16{80}, Anywhere: []uint16{80}}, false},
		{"one more", []uint16{443}, []uint16{80, 443}, mesh.Listeners{Open: []uint16{80, 443}, Anywhere: []uint16{80, 443}}, true},
		{"at one address by now", []uint16{80, 443}, []uint16{443}, mesh.Listeners{Open: []uint16{80, 443}, Anywhere: []uint16{443}}, true},
		{"closed for a while", []uint16{80}, []uint16{80}, mesh.Listeners{Closed: []uint16{80}}, false},
		{"nothing is known", []uint16{80}, []uint16{80}, mesh.Listeners{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ep := model.Endpoint{Mesh: &model.Mesh{Anywhere: slices.Clone(c.had)}}
			before := ep.Mesh
			if news := noteListeners(&ep, c.have); news != c.news || !slices.Equal(ep.Mesh.Anywhere, c.want) {
				t.Errorf("news %v, ports %v, want %v and %v", news, ep.Mesh.Anywhere, c.news, c.want)
			}
			if !slices.Equal(before.Anywhere, c.had) {
				t.Error("what others have of it was changed in place")
			}
		})
	}
	if ep := (model.Endpoint{}); noteListeners(&ep, mesh.Listeners{Anywhere: []uint16{80}}) || ep.Mesh != nil {
		t.Error("an endpoint that publishes nothing has ports")
	}
}
