// Package widget has the parts that pages are put together from. They know
// nothing of networks.
package widget

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/x/ansi"

	"weft/tui/theme"
)

// Wrap breaks text into lines no wider than width. Those after the first are
// set in by indent columns.
func Wrap(text string, width, indent int) []string {
	lines := strings.Split(ansi.Wrap(text, max(width-indent, 1), ""), "\n")
	for i := range lines[1:] {
		lines[i+1] = strings.Repeat(" ", indent) + lines[i+1]
	}
	return lines
}

// Fit cuts one line to width, and pads it.
func Fit(t theme.Theme, line string, width int) string {
	line = ansi.Truncate(line, width, t.Glyphs.Ellipsis)
	return line + strings.Repeat(" ", max(0, width-ansi.StringWidth(line)))
}

// Help is the line that says which keys do what.
func Help(t theme.Theme, keys []key.Binding, width int) string {
	var parts []string
	for _, k := range keys {
		parts = append(parts, t.Strong.Render(k.Help().Key)+" "+t.Faint.Render(k.Help().Desc))
	}
	return Fit(t, " "+strings.Join(parts, "  "), width)
}

// Window gives the lines of a list that are seen through height lines, and how
// far down it is at most possible to scroll.
func Window(lines []string, offset, height int) (seen []string, last int) {
	last = max(0, len(lines)-height)
	offset = min(max(offset, 0), last)
	return lines[offset:min(len(lines), offset+height)], last
}
