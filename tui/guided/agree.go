package guided

import (
	"context"
	"fmt"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/tui/widget"
	"weft/wizard"
)

// hazard asks for one hazard to be accepted.
type hazard struct {
	*desk

	draft wizard.Draft
	at    int
	input textinput.Model
	wrong bool // another word was typed
}

// newHazards gives the page for a plan's hazard, or what follows the last one.
func newHazards(d *desk, draft wizard.Draft, at int) page {
	if at >= len(draft.Plan.Hazards) {
		return confirm{desk: d, draft: draft}
	}
	in := newInput("")
	in.Focus()
	return hazard{desk: d, draft: draft, at: at, input: in}
}

func (h hazard) stage() stage { return stageHazards }

func (h hazard) hazard() wizard.Hazard { return h.draft.Plan.Hazards[h.at] }

func (h hazard) update(msg tea.Msg) (page, tea.Cmd) {
	pressed, is := msg.(tea.KeyMsg)
	if !is {
		return h, nil
	}
	typed := h.hazard().Word != ""
	switch {
	case key.Matches(pressed, h.keys.Back):
		if h.at == 0 {
			return newFindings(h.desk, h.draft), nil
		}
		return newHazards(h.desk, h.draft, h.at-1), nil
	case !typed && key.Matches(pressed, h.keys.Yes), typed && key.Matches(pressed, h.keys.Forward) && h.input.Value() == h.hazard().Word:
		return newHazards(h.desk, h.draft, h.at+1), nil
	case !typed && key.Matches(pressed, h.keys.No):
		return h, tea.Quit
	case !typed:
		return h, nil
	case key.Matches(pressed, h.keys.Forward):
		h.wrong = true
		return h, nil
	}
	h.wrong = false
	var cmd tea.Cmd
	h.input, cmd = h.input.Update(msg)
	return h, cmd
}

func (h hazard) view() []string {
	width, _ := h.room()
	is := h.hazard()
	title := fmt.Sprintf("Hazard %d of %d: %s", h.at+1, len(h.draft.Plan.Hazards), is.Name)
	lines := append([]string{"", h.theme.Warn.Render(h.theme.Glyphs.Warns) + " " + h.theme.Strong.Render(title), ""}, widget.Wrap(is.Text+".", width, 0)...)
	lines = append(lines, "")
	if is.Word == "" {
		return append(lines, "Accept this?")
	}
	lines = append(lines, "Type "+h.theme.Strong.Render(is.Word)+" to accept this:", "", "  "+h.theme.Input(h.input.Value(), h.input.Position(), valueWidth))
	if h.wrong {
		lines = append(lines, "", h.theme.Bad.Render(h.theme.Glyphs.Blocks)+" This is not the word. To leave everything as it is: ctrl+c.")
	}
	return lines
}

func (h hazard) command() string { return h.task.Driver.Carry(agreed(&h.draft.Plan, h.at)) }

func (h hazard) help() []key.Binding {
	if h.hazard().Word != "" {
		return []key.Binding{theme.Does(h.keys.Forward, "accept"), h.keys.Back, h.keys.Quit}
	}
	return []key.Binding{theme.Does(h.keys.Yes, "accept"), theme.Does(h.keys.No, "decline"), h.keys.Back, h.keys.Quit}
}

// agreed are the words with the first n hazards accepted.
func agreed(p *wizard.Plan, n int) string {
	var names []string
	for _, h := range p.Hazards[:n] {
		names = append(names, h.Name)
	}
	if len(names) == 0 {
		return words(p)
	}
	return words(p) + " --accept " + strings.Join(names, ",")
}

// confirm asks for the agreement to all of it.
type confirm struct {
	*desk

	draft wizard.Draft
}

func (c confirm) stage() stage { return stageConfirm }

func (c confirm) update(msg tea.Msg) (page, tea.Cmd) {
	pressed, is := msg.(tea.KeyMsg)
	if !is {
		return c, nil
	}
	switch {
	case key.Matches(pressed, c.keys.Yes):
		d := c.draft
		start := func(ctx context.Context, report Report) (wizard.Outcome, error) {
			return c.task.Driver.Start(ctx, d, report)
		}
		return newProgress(c.desk, d.Plan, ""), tea.Batch(c.begin(start), c.tick())
	case key.Matches(pressed, c.keys.No):
		return c, tea.Quit
	case key.Matches(pressed, c.keys.Back):
		if n := len(c.draft.Plan.Hazards); n > 0 {
			return newHazards(c.desk, c.draft, n-1), nil
		}
		return newFindings(c.desk, c.draft), nil
	}
	return c, nil
}

func (c confirm) view() []string {
	width, height := c.room()
	p := &c.draft.Plan
	lines := append([]string{""}, widget.Wrap(p.Title, width, 2)...)
	lines = append(lines, "", fmt.Sprintf("%d steps. Each is written down before it is taken: if one fails, what was", len(p.Steps)), "done is taken back; if weft is cut off, it can be resumed or rolled back.", "")
	for i, h := range p.Hazards {
		if i == 0 {
			lines = append(lines, "Accepted:")
		}
		lines = append(lines, widget.Wrap("  "+c.theme.Glyphs.Warns+" "+h.Name+": "+h.Text, width, 4)...)
		if i == len(p.Hazards)-1 {
			lines = append(lines, "")
		}
	}
	lines = append(lines, c.theme.Strong.Render("Carry out this plan?")+" Nothing has been changed so far.")
	return lines[max(0, len(lines)-height):]
}

func (c confirm) command() string {
	return c.task.Driver.Carry(agreed(&c.draft.Plan, len(c.draft.Plan.Hazards)) + " --yes")
}

func (c confirm) help() []key.Binding {
	return []key.Binding{theme.Does(c.keys.Yes, "carry it out"), theme.Does(c.keys.No, "decline"), c.keys.Back, c.keys.Quit}
}
