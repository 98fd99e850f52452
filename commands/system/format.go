package system

import (
	"fmt"
	"io"
	"text/template"

	"github.com/docker/cli/templates"

	"weft/commands/cmdenv"
)

// jsonTemplate is what --format json stands for.
const jsonTemplate = "{{json .}}"

// parseFormat parses a --format value that is not empty.
func parseFormat(format, problem string) (*template.Template, error) {
	if format == "json" {
		format = jsonTemplate
	}
	tmpl, err := templates.Parse(format)
	if err != nil {
		return nil, cmdenv.StatusError{Code: cmdenv.CodeTemplate, Status: problem + err.Error(), Cause: err}
	}
	return tmpl, nil
}

// writeFormat prints a value by the template, and ends the line.
func writeFormat(out io.Writer, tmpl *template.Template, value any) error {
	err := tmpl.Execute(out, value)
	fmt.Fprintln(out)
	return err
}
