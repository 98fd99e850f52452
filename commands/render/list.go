package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/docker/cli/templates"
)

// Help texts of --format.
const (
	FormatHelp = `Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates`
	InspectFormatHelp = `Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates`
)

// Headers are the column headings of a list by field name. A heading for a
// method, as {{.Label "x"}}, is made from its argument.
type Headers map[string]string

// Label gives the heading of a column that shows one label: its last part,
// with spaces for dashes.
func (Headers) Label(name string) string {
	last := name[strings.LastIndex(name, ".")+1:]
	return strings.NewReplacer("-", " ", "_", " ").Replace(last)
}

// List says how a list of rows of type T is shown. T is a struct or a pointer
// to one: its exported fields are what templates and JSON see.
type List[T any] struct {
	Headers  Headers
	Table    string // template of a row of the default table
	Quiet    string // template of a row with --quiet; empty is {{.ID}}
	Raw      string // template of a row in the format "raw"; empty if there is none
	RawQuiet string // the same with --quiet
}

// Write prints the rows. format is the value of --format: "table" or empty for
// the default table, "table TEMPLATE", "json", "raw" or a template. quiet
// selects the quiet form of those formats that have one.
func (l List[T]) Write(out io.Writer, format string, quiet bool, rows []T) error {
	text, table := l.template(format, quiet)
	tmpl, err := template.New("").Funcs(functions[T]()).Parse(text)
	if err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	var body bytes.Buffer
	for _, row := range rows {
		if err := tmpl.Execute(&body, row); err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		body.WriteByte('\n')
	}
	if !table {
		_, err = body.WriteTo(out)
		return err
	}
	// The header is the same template over the headings, with functions that
	// leave them as they are. What can not be shown is left out of it.
	var head bytes.Buffer
	_ = tmpl.Funcs(templates.HeaderFunctions).Execute(&head, l.Headers)
	head.WriteByte('\n')
	columns := tabwriter.NewWriter(out, 10, 1, 3, ' ', 0) // Docker's widths
	if _, err = io.Copy(columns, io.MultiReader(&head, &body)); err != nil {
		return err
	}
	return columns.Flush()
}

// template gives the text of a row's template and whether it is a table.
func (l List[T]) template(format string, quiet bool) (text string, table bool) {
	switch {
	case (format == "" || format == "table") && quiet && l.Quiet == "":
		text = "{{.ID}}"
	case (format == "" || format == "table") && quiet:
		text = l.Quiet
	case format == "" || format == "table":
		text, table = l.Table, true
	case format == "raw" && l.Raw != "" && quiet:
		text = l.RawQuiet
	case format == "raw" && l.Raw != "":
		text = l.Raw
	case format == "json":
		text = "{{json .}}"
	default:
		text, table = strings.CutPrefix(format, "table")
	}
	text = strings.Trim(text, " ")
	return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text), table
}

// functions are Docker's template functions, with json writing a whole row as
// Docker does: keys in order, and <, > and & escaped, which it is not in
// anything else.
func functions[T any]() template.FuncMap {
	return template.FuncMap{
		"json":     func(v any) (string, error) { return toJSON[T](v) },
		"split":    strings.Split,
		"join":     strings.Join,
		"title":    strings.Title, //nolint:staticcheck // as Docker's client, ASCII only
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"pad":      pad,
		"truncate": truncate,
	}
}

func toJSON[T any](v any) (string, error) {
	if row, ok := v.(T); ok {
		return rowJSON(row)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("write %T as JSON: %w", v, err)
	}
	return strings.TrimSpace(buf.String()), nil
}

func rowJSON(row any) (string, error) {
	data, err := json.Marshal(row)
	if err != nil {
		return "", fmt.Errorf("write row as JSON: %w", err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return "", fmt.Errorf("order fields of row: %w", err)
	}
	if data, err = json.Marshal(fields); err != nil {
		return "", fmt.Errorf("write row as JSON: %w", err)
	}
	return string(data), nil
}

func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
}

func truncate(s string, n int) string {
	if len(s) < n {
		return s
	}
	return s[:n]
}
