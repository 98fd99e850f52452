// Package theme says what the terminal UI looks like: its styles, its glyphs
// and its keys. Pages take all three from here.
package theme

import (
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// Theme is how things look on one terminal. No meaning is carried by color
// alone: where there is none, the glyphs and words tell the same.
type Theme struct {
	Title  lipgloss.Style // what a page is about
	Strong lipgloss.Style // where the eye should go
	Faint  lipgloss.Style // what may be skipped
	Good   lipgloss.Style
	Warn   lipgloss.Style
	Bad    lipgloss.Style
	Cursor lipgloss.Style // the character at the cursor

	Glyphs Glyphs

	color bool
}

// Glyphs are the characters that stand for states, each one column wide.
type Glyphs struct {
	Done, Failed, Running, Todo, Undone string
	Blocks, Warns, Tells                string
	Focus, Rule, Between, Ellipsis, Bar string
}

// New gives the theme for a terminal, from what the environment says of it:
// NO_COLOR and TERM about color, LC_ALL, LC_CTYPE and LANG about characters.
func New(out io.Writer, getenv func(string) string) Theme {
	renderer := lipgloss.NewRenderer(out, termenv.WithEnvironment(environ(getenv)), termenv.WithTTY(true))
	return build(renderer, utf8(getenv))
}

// Fixed gives a theme that depends on nothing, for frames that are compared or
// kept: in sixteen colors or none, with or without characters beyond ASCII.
func Fixed(color, unicode bool) Theme {
	renderer := lipgloss.NewRenderer(io.Discard)
	renderer.SetColorProfile(termenv.Ascii)
	if color {
		renderer.SetColorProfile(termenv.ANSI)
	}
	return build(renderer, unicode)
}

// build uses the sixteen colors that terminals let their users choose, so
// that there is nothing to find out about the background.
func build(r *lipgloss.Renderer, unicode bool) Theme {
	style := r.NewStyle
	t := Theme{
		Title:  style().Bold(true).Foreground(lipgloss.ANSIColor(6)),
		Strong: style().Bold(true),
		Faint:  style().Faint(true),
		Good:   style().Foreground(lipgloss.ANSIColor(2)),
		Warn:   style().Foreground(lipgloss.ANSIColor(3)),
		Bad:    style().Bold(true).Foreground(lipgloss.ANSIColor(1)),
		Cursor: style().Reverse(true),
		Glyphs: Glyphs{
			Done: "+", Failed: "x", Running: ">", Todo: ".", Undone: "<", Blocks: "x", Warns: "!", Tells: "i",
			Focus: ">", Rule: "-", Between: ">", Ellipsis: "~", Bar: "|",
		},
		color: r.ColorProfile() != termenv.Ascii,
	}
	if unicode {
		t.Glyphs = Glyphs{
			Done: "✓", Failed: "✗", Running: "●", Todo: "·", Undone: "↺", Blocks: "✗", Warns: "!", Tells: "i",
			Focus: "›", Rule: "─", Between: "›", Ellipsis: "…", Bar: "│",
		}
	}
	return t
}

// Input shows text that is being edited, no wider than width, with the cursor
// before the character at index at. Without color the cursor is a bar between
// the characters.
func (t Theme) Input(text string, at, width int) string {
	runes := append([]rune(text), ' ')
	from := max(0, at-width+2)
	before := string(runes[from:at])
	under, after := string(runes[at]), string(runes[at+1:])
	if !t.color {
		return cut(before+t.Glyphs.Bar+under+after, width)
	}
	room := max(0, width-len([]rune(before))-1)
	return before + t.Cursor.Render(under) + cut(after, room)
}

func cut(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width])
	}
	return text
}

// environment is a termenv.Environ.
type environment func(string) string

func environ(getenv func(string) string) termenv.Environ { return environment(getenv) }

// Getenv is part of termenv.Environ.
func (e environment) Getenv(key string) string { return e(key) }

// Environ is part of termenv.Environ, with the variables that matter to it.
func (e environment) Environ() []string {
	var list []string
	for _, key := range []string{"TERM", "COLORTERM", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"} {
		if value := e(key); value != "" {
			list = append(list, key+"="+value)
		}
	}
	return list
}

// utf8 says whether the locale's characters are Unicode's (POSIX: the first of
// these variables that is set decides).
func utf8(getenv func(string) string) bool {
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(getenv(key)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}
