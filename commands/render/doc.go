// Package render writes values the way Docker's client does: lists as aligned
// tables, JSON lines or templates, single objects as indented JSON or
// templates.
//
// It is pure: values in, text out on a writer it is given. It knows neither
// the API nor the terminal. A list's row is a struct whose exported fields are
// the names that templates and JSON see; what a command shows is decided by
// the command that fills the rows.
package render
