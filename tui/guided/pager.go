package guided

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/tui/widget"
)

// pageLines is how far a page key scrolls.
const pageLines = 10

// pager scrolls through lines. Its value is how many are above the screen.
type pager int

// press moves through so many lines, of which height are seen.
func (p pager) press(k theme.Keys, msg tea.KeyMsg, lines, height int) pager {
	switch {
	case key.Matches(msg, k.Up):
		p--
	case key.Matches(msg, k.Down):
		p++
	case key.Matches(msg, k.PageUp):
		p -= pageLines
	case key.Matches(msg, k.PageDown):
		p += pageLines
	}
	return max(0, min(p, last(lines, height)))
}

// last is how far it is possible to scroll. One line tells that there are more.
func last(lines, height int) pager { return max(0, pager(lines-height+1)) }

// show gives the lines to be seen. The last one says that there are more.
func (p pager) show(t theme.Theme, lines []string, height int) []string {
	if len(lines) <= height {
		return lines
	}
	seen, end := widget.Window(lines, int(p), height-1)
	above := min(int(p), end)
	below := len(lines) - above - len(seen)
	var parts []string
	if above > 0 {
		parts = append(parts, fmt.Sprintf("%d lines above", above))
	}
	if below > 0 {
		parts = append(parts, fmt.Sprintf("%d lines below", below))
	}
	return append(seen[:len(seen):len(seen)], t.Faint.Render("  "+t.Glyphs.Ellipsis+" "+strings.Join(parts, ", ")))
}
