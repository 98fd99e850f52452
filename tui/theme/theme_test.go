package theme_test

import (
	"io"
	"strings"
	"testing"

	"weft/tui/theme"
)

func environment(vars ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(vars); i += 2 {
			if vars[i] == key {
				return vars[i+1]
			}
		}
		return ""
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		name           string
		env            []string
		color, unicode bool
	}{
		{"usual", []string{"TERM", "xterm-256color", "LANG", "de_CH.UTF-8"}, true, true},
		{"no color", []string{"TERM", "xterm-256color", "LANG", "C.UTF-8", "NO_COLOR", "1"}, false, true},
		{"C locale", []string{"TERM", "xterm-256color", "LANG", "C"}, true, false},
		{"LC_ALL decides", []string{"TERM", "xterm", "LANG", "C.UTF-8", "LC_ALL", "POSIX"}, true, false},
		{"nothing known", nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			th := theme.New(io.Discard, environment(c.env...))
			if got := strings.Contains(th.Bad.Render("x"), "\x1b["); got != c.color {
				t.Errorf("color %v, want %v", got, c.color)
			}
			if got := th.Glyphs.Done == "✓"; got != c.unicode {
				t.Errorf("beyond ASCII %v, want %v", got, c.unicode)
			}
		})
	}
}

func TestInput(t *testing.T) {
	plain := theme.Fixed(false, false)
	for _, c := range []struct {
		text  string
		at    int
		width int
		want  string
	}{
		{"", 0, 10, "| "}, {"abc", 3, 10, "abc| "}, {"abc", 1, 10, "a|bc "}, {"0123456789", 10, 5, "789| "}, {"0123456789", 0, 5, "|0123"},
	} {
		if got := plain.Input(c.text, c.at, c.width); got != c.want {
			t.Errorf("Input(%q, %d, %d) = %q, want %q", c.text, c.at, c.width, got, c.want)
		}
	}
	if got := theme.Fixed(true, false).Input("abc", 1, 10); !strings.Contains(got, "\x1b[7mb") {
		t.Errorf("with color the cursor is not seen: %q", got)
	}
}
