package guided

import (
	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/tui/widget"
	"weft/wizard"
)

// report shows what a run has come to.
type report struct {
	*desk

	of    progress
	ended ended
	pager pager
}

func newReport(p progress, e ended) report {
	p.desk.ending.Seen = true
	return report{desk: p.desk, of: p, ended: e}
}

func (r report) stage() stage { return stageReport }

func (r report) open() bool { return r.ended.outcome.Result == wizard.ResultOpen }

func (r report) update(msg tea.Msg) (page, tea.Cmd) {
	pressed, is := msg.(tea.KeyMsg)
	if !is {
		return r, nil
	}
	switch {
	case r.open() && key.Matches(pressed, r.keys.Resume):
		return r.again("resume")
	case r.open() && key.Matches(pressed, r.keys.Rollback):
		return r.again("rollback")
	case key.Matches(pressed, r.keys.Forward):
		return r, tea.Quit
	}
	width, height := r.room()
	r.pager = r.pager.press(r.keys, pressed, len(r.page(width)), height)
	return r, nil
}

// again takes the open run up.
func (r report) again(verb string) (page, tea.Cmd) {
	run := wizard.Run{ID: r.ended.outcome.Run, Plan: r.of.plan, Phases: map[string]wizard.Phase{}, Back: r.of.back}
	for id, state := range r.of.steps {
		run.Phases[id] = state.phase
	}
	return goOn(r.desk, &run, verb)
}

func (r report) view() []string {
	width, height := r.room()
	return r.pager.show(r.theme, r.page(width), height)
}

func (r report) page(width int) []string {
	lines := append([]string{""}, r.headline(width)...)
	if !r.of.began.IsZero() {
		lines = append(lines, r.theme.Faint.Render("  It took "+duration(r.of.now.Sub(r.of.began))+"."))
	}
	notes := r.ended.outcome.Notes
	if len(notes) > 0 {
		lines = append(lines, "", r.theme.Strong.Render("Report"))
	}
	for _, n := range notes {
		text := n.Text
		if n.Subject != "" {
			text = n.Subject + ": " + text
		}
		lines = append(lines, widget.Wrap("  - "+text, width-2, 4)...)
	}
	if r.open() {
		id := r.ended.outcome.Run
		lines = append(lines, "", "The journal of the run has all that is needed to go on, from here or later:",
			"  r  "+r.task.Driver.Carry("workflow resume "+id), "  b  "+r.task.Driver.Carry("workflow rollback "+id))
	}
	return lines
}

// headline says how it ended, and why.
func (r report) headline(width int) []string {
	t, out := r.theme, r.ended.outcome
	style, glyph, text := t.Bad, t.Glyphs.Failed, "This did not work."
	switch out.Result {
	case wizard.ResultDone:
		style, glyph, text = t.Good, t.Glyphs.Done, "Done: "+r.of.plan.Title
	case wizard.ResultRolledBack:
		style, glyph, text = t.Warn, t.Glyphs.Undone, "Rolled back: all is as it was before."
	case wizard.ResultRefused:
		style, glyph, text = t.Bad, t.Glyphs.Blocks, "Refused: nothing was changed."
	case wizard.ResultAborted:
		style, glyph, text = t.Warn, t.Glyphs.Undone, "Ended where it was, and left so."
	case wizard.ResultOpen:
		style, glyph, text = t.Warn, t.Glyphs.Warns, "Run "+out.Run+" is open."
	}
	lines := widget.Wrap(glyph+" "+text, width, 2)
	for i := range lines {
		lines[i] = style.Render(lines[i])
	}
	for _, err := range []error{out.Err, r.ended.err} {
		if err != nil {
			lines = append(lines, widget.Wrap("  "+err.Error(), width, 2)...)
		}
	}
	return lines
}

func (r report) command() string {
	id := r.ended.outcome.Run
	switch {
	case r.open() && r.of.back:
		return r.task.Driver.Carry("workflow rollback " + id)
	case r.open():
		return r.task.Driver.Carry("workflow resume " + id)
	case id == "":
		return r.task.Driver.Command("workflow ls")
	}
	return r.task.Driver.Command("workflow show " + id)
}

func (r report) help() []key.Binding {
	keys := []key.Binding{theme.Does(r.keys.Forward, "leave")}
	if r.open() {
		keys = append([]key.Binding{r.keys.Resume, r.keys.Rollback}, keys...)
	}
	return append(keys, r.keys.Scroll)
}
