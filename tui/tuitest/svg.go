package tuitest

import (
	"fmt"
	"html"
	"image/color"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"
)

// Measures of a picture, in pixels.
const (
	cellWidth  = 8.4
	cellHeight = 18.0
	margin     = 14.0
)

// SVG draws a frame of so many columns and lines, as a terminal shows it, as a
// picture for the docs.
func SVG(view string, width, height int) string {
	screen := vt.NewEmulator(width, height)
	defer screen.Close() //nolint:errcheck // nothing is behind it
	_, _ = screen.WriteString(strings.ReplaceAll(view, "\n", "\r\n"))
	var b strings.Builder
	w, h := float64(width)*cellWidth+2*margin, float64(height)*cellHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="%.0f" height="%.0f" rx="8" fill="#1b1f27"/>`+"\n", w, h)
	b.WriteString(`<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14" fill="#d6dae2" xml:space="preserve">` + "\n")
	for y := range height {
		for x := 0; x < width; {
			x = run(&b, screen, x, y, width)
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

// run draws the cells from x on that look alike, and gives where they end.
func run(b *strings.Builder, screen *vt.Emulator, x, y, width int) int {
	first := screen.CellAt(x, y)
	end := x
	var text strings.Builder
	for ; end < width; end++ {
		c := screen.CellAt(end, y)
		if !c.Style.Equal(&first.Style) {
			break
		}
		text.WriteString(c.Content)
	}
	left, top := margin+float64(x)*cellWidth, margin+float64(y)*cellHeight
	attrs := ""
	if fg := first.Style.Fg; fg != nil {
		attrs += ` fill="` + hex(fg) + `"`
	}
	if first.Style.Attrs&uv.AttrBold != 0 {
		attrs += ` font-weight="bold"`
	}
	if first.Style.Attrs&uv.AttrFaint != 0 {
		attrs += ` opacity="0.6"`
	}
	if first.Style.Attrs&uv.AttrReverse != 0 {
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#d6dae2"/>`+"\n", left, top, float64(end-x)*cellWidth, cellHeight)
		attrs += ` fill="#1b1f27"`
	}
	if shown := strings.TrimRight(text.String(), " "); shown != "" {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" textLength="%.1f"%s>%s</text>`+"\n",
			left, top+13.5, float64(len([]rune(shown)))*cellWidth, attrs, html.EscapeString(shown))
	}
	return end
}

// hex gives a color of the terminal's sixteen a value that can be told from
// the others on the picture's dark ground.
func hex(c color.Color) string {
	r, g, b, _ := c.RGBA()
	for _, known := range []struct{ from, to string }{
		{"#800000", "#ff6b6b"}, {"#008000", "#7bd88f"}, {"#808000", "#f2c14e"}, {"#008080", "#6cc7e6"},
	} {
		if fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8) == known.from {
			return known.to
		}
	}
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}
