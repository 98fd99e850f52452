package wizard

import (
	"encoding/json"
	"testing"

	"weft/wizard/journal"
)

const plan = `{"format":1,"flow":"toy","cluster":"c","title":"t","command":"weft toy","answers":{},"world":{},"steps":[{"id":"a","title":"A"}]}`

func TestReplayRefuses(t *testing.T) {
	start := journal.Record{Kind: journal.Start, Data: json.RawMessage(plan)}
	for name, list := range map[string][]journal.Record{
		"an unknown kind":     {start, {Kind: "surprise"}},
		"notes of no notes":   {start, {Kind: journal.End, Step: "a", Data: json.RawMessage(`7`)}},
		"no ending":           {start, {Kind: journal.Finish, Data: json.RawMessage(`[]`)}},
		"a plan that is none": {{Kind: journal.Start, Data: json.RawMessage(`{}`)}},
	} {
		if r, err := replay("x", list); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte(`[{"kind":"start","data":` + plan + `},{"kind":"begin","step":"a"},{"kind":"end","step":"a","data":[{"text":"x"}]},{"kind":"back","data":"why"},` +
		`{"kind":"undo-begin","step":"a"},{"kind":"undo-end","step":"a"},{"kind":"finish","data":{"result":"rolled-back"}}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var list []journal.Record
		if json.Unmarshal(text, &list) != nil || len(list) == 0 {
			return
		}
		r, err := replay("x", list)
		if err != nil {
			return
		}
		if n := r.InForce(); n > len(r.Plan.Steps) {
			t.Errorf("%d of %d steps in force", n, len(r.Plan.Steps))
		}
	})
}
