package widget_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/tui/theme"
	"weft/tui/widget"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text          string
		width, indent int
		want          []string
	}{
		{"", 10, 2, []string{""}},
		{"one two three", 20, 2, []string{"one two three"}},
		{"one two three", 9, 2, []string{"one two", "  three"}},
		{"a-word-that-is-too-long", 10, 0, []string{"a-word-", "that-is-", "too-long"}},
	} {
		if diff := cmp.Diff(c.want, widget.Wrap(c.text, c.width, c.indent)); diff != "" {
			t.Errorf("Wrap(%q, %d, %d): %s", c.text, c.width, c.indent, diff)
		}
	}
}

func TestFit(t *testing.T) {
	ascii := theme.Fixed(false, false)
	for text, want := range map[string]string{"ab": "ab   ", "abcde": "abcde", "abcdef": "abcd~", "äöü": "äöü  "} {
		if got := widget.Fit(ascii, text, 5); got != want {
			t.Errorf("Fit(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestWindow(t *testing.T) {
	lines := []string{"0", "1", "2", "3", "4"}
	for _, c := range []struct {
		offset, height int
		want           []string
		last           int
	}{
		{0, 2, []string{"0", "1"}, 3}, {3, 2, []string{"3", "4"}, 3}, {9, 2, []string{"3", "4"}, 3}, {-1, 9, lines, 0},
	} {
		seen, last := widget.Window(lines, c.offset, c.height)
		if diff := cmp.Diff(c.want, seen); diff != "" || last != c.last {
			t.Errorf("Window(%d, %d): last %d, %s", c.offset, c.height, last, diff)
		}
	}
}
