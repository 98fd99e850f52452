package render_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/commands/render"
)

type shipContext struct {
	Name, ID, Cargo string

	labels map[string]string
}

func (s *shipContext) Label(name string) string { return s.labels[name] }

func ships() []*shipContext {
	return []*shipContext{
		{Name: "Ann", ID: "1", Cargo: "<tea> & silk", labels: map[string]string{"com.example.home-port": "Hull"}},
		{Name: "Börte", ID: "22", Cargo: ""},
	}
}

func list() render.List[*shipContext] {
	return render.List[*shipContext]{
		Headers:  render.Headers{"Name": "NAME", "ID": "SHIP ID", "Cargo": "CARGO"},
		Table:    `{{.ID}}\t{{.Name}}`,
		Raw:      `ship: {{.Name}}\n`,
		RawQuiet: `ship_id: {{.ID}}`,
	}
}

func TestList(t *testing.T) {
	tests := map[string]struct {
		format string
		quiet  bool
		rows   []*shipContext
		want   string
	}{
		"default":         {want: "SHIP ID   NAME\n1         Ann\n22        Börte\n"},
		"table":           {format: "table", want: "SHIP ID   NAME\n1         Ann\n22        Börte\n"},
		"empty table":     {rows: []*shipContext{}, want: "SHIP ID   NAME\n"},
		"quiet":           {quiet: true, want: "1\n22\n"},
		"quiet table":     {format: "table", quiet: true, want: "1\n22\n"},
		"format wins":     {format: "{{.Name}}", quiet: true, want: "Ann\nBörte\n"},
		"own columns":     {format: `table {{.Name}}\t{{.Label "com.example.home-port"}}`, want: "NAME      home port\nAnn       Hull\nBörte     \n"},
		"no backslash":    {format: "table {{.Name}}\t{{.ID}}", want: "NAME      SHIP ID\nAnn       1\nBörte     22\n"},
		"functions":       {format: `{{upper .Name}} {{lower .Name}} {{title .Cargo}} {{truncate .Name 2}} {{pad .ID 1 2}}|{{join (split .ID "2") "-"}}`, rows: ships()[:1], want: "ANN ann <Tea> & Silk An  1  |1\n"},
		"header function": {format: `table {{upper .Name}}\t{{truncate .ID 1}}\t{{json .Cargo}}`, rows: ships()[:1], want: "NAME      SHIP ID   CARGO\nANN       1         \"<tea> & silk\"\n"},
		"json":            {format: "json", rows: ships()[:1], want: `{"Cargo":"\u003ctea\u003e \u0026 silk","ID":"1","Name":"Ann"}` + "\n"},
		"json of a field": {format: "{{json .Cargo}}", rows: ships()[:1], want: `"<tea> & silk"` + "\n"},
		"json of none":    {format: "json", rows: []*shipContext{}, want: ""},
		"raw":             {format: "raw", rows: ships()[:1], want: "ship: Ann\n\n"},
		"raw quiet":       {format: "raw", quiet: true, rows: ships()[:1], want: "ship_id: 1\n"},
		"plain text":      {format: "x", rows: ships()[:1], want: "x\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rows := test.rows
			if rows == nil {
				rows = ships()
			}
			var b strings.Builder
			if err := list().Write(&b, test.format, test.quiet, rows); err != nil {
				t.Fatal(err)
			}
			if b.String() != test.want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), test.want)
			}
		})
	}
}

func TestListErrors(t *testing.T) {
	for format, want := range map[string]string{
		"{{.Name":         "template parsing error: template: :1: unclosed action",
		"{{.Nope}}":       `template parsing error: template: :1:2: executing "" at <.Nope>: can't evaluate field Nope in type *render_test.shipContext`,
		"{{frob .Name}}":  `template parsing error: template: :1: function "frob" not defined`,
		"table {{.Nope}}": `template parsing error: template: :1:2: executing "" at <.Nope>: can't evaluate field Nope in type *render_test.shipContext`,
	} {
		var b strings.Builder
		err := list().Write(&b, format, false, ships())
		if err == nil || err.Error() != want || b.Len() != 0 {
			t.Errorf("%s: %v, wrote %q", format, err, b.String())
		}
	}
}

func TestInspect(t *testing.T) {
	get := func(ref string) (any, []byte, error) {
		switch ref {
		case "raw":
			return ships()[0], []byte(`{"Name":"Ann","Crew":12}`), nil
		case "value":
			return ships()[1], nil, nil
		default:
			return nil, nil, fmt.Errorf("no ship %s", ref)
		}
	}
	tests := map[string]struct {
		format string
		refs   string
		want   string
		err    string
	}{
		"indented":        {refs: "raw value", want: "[\n    {\n        \"Name\": \"Ann\",\n        \"Crew\": 12\n    },\n    {\n        \"Name\": \"Börte\",\n        \"ID\": \"22\",\n        \"Cargo\": \"\"\n    }\n]\n"},
		"compact":         {format: "json", refs: "raw", want: `[{"Name":"Ann","Crew":12}]` + "\n"},
		"template":        {format: "{{.Name}}", refs: "raw value", want: "Ann\nBörte\n"},
		"raw fields":      {format: "{{.Crew}}", refs: "raw", want: "12\n"},
		"unknown field":   {format: "{{.Nope}}", refs: "raw value", want: "\n", err: "template parsing error: template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"\ntemplate parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *render_test.shipContext"},
		"some are gone":   {refs: "x raw y", want: "[\n    {\n        \"Name\": \"Ann\",\n        \"Crew\": 12\n    }\n]\n", err: "no ship x\nno ship y"},
		"all are gone":    {refs: "x", want: "[]\n", err: "no ship x"},
		"template, gone":  {format: "{{.Name}}", refs: "x", want: "\n", err: "no ship x"},
		"broken template": {format: "{{", refs: "raw", err: "template parsing error: template: :1: unclosed action"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			err := render.Inspect(&b, strings.Fields(test.refs), test.format, get)
			if got := fmt.Sprint(err); got != test.err && (err != nil || test.err != "") {
				t.Errorf("error %q, want %q", got, test.err)
			}
			if errors.Is(err, render.ErrTemplate) != (name == "broken template") {
				t.Errorf("ErrTemplate is for templates that do not parse only: %v", err)
			}
			if b.String() != test.want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), test.want)
			}
		})
	}
}

func TestText(t *testing.T) {
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	for got, want := range map[string]string{
		render.ShortID("sha256:0123456789abcdef"):            "0123456789ab",
		render.ShortID("0123"):                               "0123",
		render.ID("0123456789abcdef", true):                  "0123456789abcdef",
		render.ID("0123456789abcdef", false):                 "0123456789ab",
		render.Ellipsis("harbor", 7):                         "harbor",
		render.Ellipsis("hårbour", 4):                        "hår…",
		render.Ellipsis("harbor", 1):                         "h",
		render.Ellipsis("harbor", 0) + "-":                   "-",
		render.Labels(map[string]string{"b": "2", "a": ""}):  "a=,b=2",
		render.Labels(nil) + "-":                             "-",
		render.Ago(now, now.Add(-5*time.Minute)):             "5 minutes",
		render.Capital("READY to go"):                        "Ready to go",
		render.Capital("") + "-":                             "-",
		fmt.Sprint(render.CompareNatural("web.9", "web.10")): "-1",
		fmt.Sprint(render.CompareNatural("b", "a")):          "1",
		fmt.Sprint(render.CompareNatural("a", "a")):          "0",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
