package guided

import (
	"fmt"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/wizard"
)

// findings shows what the checks have found, and their fixes.
type findings struct {
	*desk

	draft wizard.Draft
	pager pager
}

func newFindings(d *desk, draft wizard.Draft) findings { return findings{desk: d, draft: draft} }

func (f findings) stage() stage { return stageFindings }

func (f findings) update(msg tea.Msg) (page, tea.Cmd) {
	pressed, is := msg.(tea.KeyMsg)
	if !is {
		return f, nil
	}
	switch {
	case key.Matches(pressed, f.keys.Back):
		return newPlan(f.desk, f.draft), nil
	case key.Matches(pressed, f.keys.Again):
		s := newStart(f.desk)
		return s, s.plan
	case key.Matches(pressed, f.keys.Forward) && !f.blocked():
		return newHazards(f.desk, f.draft, 0), nil
	}
	width, height := f.room()
	f.pager = f.pager.press(f.keys, pressed, len(f.page(width)), height)
	return f, nil
}

func (f findings) blocked() bool { return len(f.draft.Plan.Blockers()) > 0 }

func (f findings) view() []string {
	width, height := f.room()
	return f.pager.show(f.theme, f.page(width), height)
}

func (f findings) page(width int) []string {
	list := f.draft.Plan.Findings
	if len(list) == 0 {
		return []string{"", f.theme.Good.Render(f.theme.Glyphs.Done) + " The checks have found nothing that speaks against it."}
	}
	lines := []string{""}
	if n := len(f.draft.Plan.Blockers()); n > 0 {
		lines = append(lines, f.theme.Bad.Render(fmt.Sprintf("%d of these must be mended before the plan can be carried out.", n)), "")
	}
	for _, found := range list {
		lines = append(append(lines, remark(f.theme, found.Severity, found.Text, found.Fix, width)...), "")
	}
	return lines
}

func (f findings) command() string { return f.task.Driver.Carry(words(&f.draft.Plan) + " --dry-run") }

// onward says what comes after the findings.
func (f findings) onward() string {
	if len(f.draft.Plan.Hazards) > 0 {
		return "hazards"
	}
	return "confirm"
}

func (f findings) help() []key.Binding {
	keys := []key.Binding{f.keys.Scroll}
	if !f.blocked() {
		keys = append(keys, theme.Does(f.keys.Forward, f.onward()))
	}
	return append(keys, theme.Does(f.keys.Again, "check again"), f.keys.Back, f.keys.Quit)
}
