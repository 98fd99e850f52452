// Package aterm keeps weft from questioning the terminal of each command.
//
// Bubble Tea asks for the terminal's background colour when its package is
// initialised (tea_init.go, "will be removed in v2"), whatever the command is.
// Where nobody answers, as on a pty of expect or script, each command took five
// seconds; elsewhere what had been typed ahead was lost, and captured output began
// with the question. Our colours do not depend on the background, so this
// package answers before the question is put.
//
// It is a module of its own for the sake of its name: packages that wait for
// the same ones are initialised in the order of their import paths, and this one
// has to come before Bubble Tea's.
package aterm

import "github.com/charmbracelet/lipgloss"

//nolint:gochecknoinits // that is what it is about
func init() { lipgloss.SetHasDarkBackground(true) }
