package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/template"
)

// ErrTemplate marks a --format template that does not parse: the objects were
// not looked up.
var ErrTemplate = errors.New("template parsing error")

// Getter fetches the object a user refers to: the value templates see, and the
// JSON it came as, nil if that is to be made from the value.
type Getter func(ref string) (value any, raw []byte, err error)

// Inspect fetches the objects one by one and prints those it got: as a JSON
// array indented by four if format is empty, as a compact one if it is "json",
// else by the template, a line each. What went wrong with the others is joined
// in the error, in order.
func Inspect(out io.Writer, refs []string, format string, get Getter) error {
	var tmpl *template.Template
	if format != "" && format != "json" {
		var err error
		if tmpl, err = template.New("").Funcs(functions[*noRow]()).Parse(format); err != nil {
			return fmt.Errorf("%w: %w", ErrTemplate, err)
		}
	}
	var (
		errs     []error
		elements []json.RawMessage
		lines    bytes.Buffer
	)
	for _, ref := range refs {
		value, raw, err := get(ref)
		switch {
		case err != nil:
		case tmpl != nil:
			err = inspectTemplate(&lines, tmpl, value, raw)
		default:
			if raw == nil {
				raw, err = json.Marshal(value)
			}
			elements = append(elements, raw)
		}
		errs = append(errs, err)
	}
	if tmpl != nil && lines.Len() == 0 {
		lines.WriteByte('\n')
	}
	if tmpl == nil {
		errs = append(errs, writeArray(&lines, elements, format == "json"))
	}
	_, err := lines.WriteTo(out)
	return errors.Join(append(errs, err)...)
}

// noRow is the row type where there are no rows.
type noRow struct{}

// inspectTemplate falls back on the raw JSON, so that templates reach fields
// the value's type does not have.
func inspectTemplate(out *bytes.Buffer, tmpl *template.Template, value any, raw []byte) error {
	var line bytes.Buffer
	err := tmpl.Execute(&line, value)
	if err != nil && raw != nil {
		var fields any
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(&fields); err != nil {
			return fmt.Errorf("unable to read inspect data: %w", err)
		}
		line.Reset()
		strict, cloneErr := tmpl.Clone()
		if cloneErr != nil {
			return fmt.Errorf("template parsing error: %w", cloneErr)
		}
		err = strict.Option("missingkey=error").Execute(&line, fields)
	}
	if err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	out.WriteString(line.String() + "\n")
	return nil
}

func writeArray(out *bytes.Buffer, elements []json.RawMessage, compact bool) error {
	if len(elements) == 0 {
		out.WriteString("[]\n")
		return nil
	}
	var joined bytes.Buffer
	joined.WriteByte('[')
	for i, el := range elements {
		if i > 0 {
			joined.WriteByte(',')
		}
		joined.Write(el)
	}
	joined.WriteByte(']')
	var err error
	if compact {
		err = json.Compact(out, joined.Bytes())
	} else {
		err = json.Indent(out, joined.Bytes(), "", "    ")
	}
	if err != nil {
		return fmt.Errorf("unable to read inspect data: %w", err)
	}
	out.WriteByte('\n')
	return nil
}
