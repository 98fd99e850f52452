package guided

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"weft/wizard"
)

// crowded is the plan of a swarm with many services of very long names.
func crowded() wizard.Plan {
	p := plain()
	name := func(i int) string { return fmt.Sprintf("%s-%d", strings.Repeat("a-name-as-long-as-it-gets-", 5), i) }
	p.Title += " " + strings.Repeat("x", 200)
	var steps []wizard.Planned
	for i := range 50 {
		steps = append(steps, wizard.Planned{ID: fmt.Sprint("detach:", i), Title: "Take 80/tcp off service " + name(i), Interrupts: "the ports answer nowhere"})
		p.Findings = append(p.Findings, wizard.Finding{Code: "service-updating", Severity: wizard.Warns, Text: "service " + name(i) + " is slow", Fix: "weft service ps " + name(i)})
		p.Notes = append(p.Notes, name(i))
	}
	p.Steps = append(steps, p.Steps...)
	p.Hazards[0].Text += " " + name(0)
	return p
}

// TestCrowded draws each page of it at the smallest size: nothing is wider or
// higher than the terminal, and the way on is always on the screen.
func TestCrowded(t *testing.T) {
	for name, act := range scenes() {
		t.Run(name, func(t *testing.T) {
			p := &puppet{}
			p.draft.Plan = crowded()
			s := open(t, 80, 24, p)
			act(s)
			lines := strings.Split(strings.TrimRight(s.Frame(), "\n"), "\n")
			if len(lines) > 24 {
				t.Errorf("%d lines", len(lines))
			}
			for _, l := range lines {
				if lipgloss.Width(l) > 80 {
					t.Errorf("%d columns: %s", lipgloss.Width(l), l)
				}
			}
			if !strings.Contains(lines[len(lines)-1], "ctrl+c") && !strings.Contains(lines[len(lines)-1], "enter leave") && !strings.Contains(lines[len(lines)-1], "esc go on") {
				t.Errorf("no keys at the end:\n%s", s.Frame())
			}
		})
	}
}

// TestNothingByColorAlone draws each page with colors and without: what is left
// when the colors are taken off is the same text.
func TestNothingByColorAlone(t *testing.T) {
	colors := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	colored := 0
	for _, name := range slices.Sorted(maps.Keys(scenes())) {
		var text [2]string
		for i, color := range []bool{true, false} {
			s := open(t, 80, 24, &puppet{color: color})
			scenes()[name](s)
			text[i] = s.View()
		}
		if colors.MatchString(text[1]) {
			t.Errorf("%s: colors without color", name)
		}
		if colors.MatchString(text[0]) {
			colored++
		}
		cursor := strings.NewReplacer("│", " ") // it is a colored space where there are colors
		if cursor.Replace(colors.ReplaceAllString(text[0], "")) != cursor.Replace(text[1]) {
			t.Errorf("%s: with colors\n%s\nwithout\n%s", name, text[0], text[1])
		}
	}
	if colored == 0 {
		t.Error("no page has colors")
	}
}

// TestUnknownKeys presses keys that mean nothing on each page.
func TestUnknownKeys(t *testing.T) {
	for _, name := range []string{"plan", "findings", "hazard-yes", "confirm", "run", "report-open"} {
		s := open(t, 80, 24, &puppet{})
		scenes()[name](s)
		before := s.Frame()
		for _, key := range "Zqx?~%7é" {
			s.Send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{key}})
		}
		if after := s.Frame(); after != before || !utf8.ValidString(after) {
			t.Errorf("%s: before\n%s\nafter\n%s", name, before, after)
		}
	}
}
