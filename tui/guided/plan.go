package guided

import (
	"fmt"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/tui/widget"
	"weft/wizard"
)

// plan shows what is going to be done, in which order, and what it interrupts.
type plan struct {
	*desk

	draft wizard.Draft
	pager pager
}

func newPlan(d *desk, draft wizard.Draft) plan {
	d.ending.Refused = len(draft.Plan.Blockers()) > 0
	return plan{desk: d, draft: draft}
}

func (p plan) stage() stage { return stagePlan }

func (p plan) update(msg tea.Msg) (page, tea.Cmd) {
	pressed, is := msg.(tea.KeyMsg)
	if !is {
		return p, nil
	}
	switch {
	case key.Matches(pressed, p.keys.Back) && len(p.task.Fields) > 0:
		return newStart(p.desk), p.look
	case key.Matches(pressed, p.keys.Forward):
		return newFindings(p.desk, p.draft), nil
	}
	width, height := p.room()
	p.pager = p.pager.press(p.keys, pressed, len(p.page(width)), height)
	return p, nil
}

func (p plan) view() []string {
	width, height := p.room()
	return p.pager.show(p.theme, p.page(width), height)
}

func (p plan) page(width int) []string {
	d := &p.draft.Plan
	lines := append([]string{""}, widget.Wrap(d.Title, width, 2)...)
	lines = append(lines, "")
	for i, step := range d.Steps {
		lines = append(lines, widget.Wrap(fmt.Sprintf("%3d. %s", i+1, step.Title), width-2, 5)...)
		if step.Interrupts != "" {
			for _, line := range widget.Wrap("interrupts: "+step.Interrupts, width-7, 2) {
				lines = append(lines, "     "+p.theme.Warn.Render(line))
			}
		}
	}
	lines = append(lines, p.section("What can't be kept", d.Losses, width)...)
	return append(lines, p.section("Notes", d.Notes, width)...)
}

func (p plan) section(title string, list []string, width int) []string {
	if len(list) == 0 {
		return nil
	}
	lines := []string{"", p.theme.Strong.Render(title)}
	for _, text := range list {
		lines = append(lines, widget.Wrap("  - "+text, width-2, 4)...)
	}
	return lines
}

func (p plan) command() string { return p.task.Driver.Carry(words(&p.draft.Plan) + " --dry-run") }

func (p plan) help() []key.Binding {
	keys := []key.Binding{p.keys.Scroll, theme.Does(p.keys.Forward, "findings")}
	if len(p.task.Fields) > 0 {
		keys = append(keys, theme.Does(p.keys.Back, "change the answers"))
	}
	return append(keys, p.keys.Quit)
}
