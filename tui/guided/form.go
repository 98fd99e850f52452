package guided

import (
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"weft/tui/theme"
	"weft/tui/widget"
	"weft/wizard"
)

// Widths of the form's columns.
const (
	labelWidth = 16
	valueWidth = 34
)

// form takes the answers, and judges them at every key.
type form struct {
	*desk

	present Values // what an answer that is left out amounts to
	inputs  []textinput.Model
	at      int
	trial   Trial
	busy    bool // the plan is being made
	failed  error
}

// planned is a plan that was asked for.
type planned struct {
	draft wizard.Draft
	err   error
}

func newForm(d *desk, present Values) form {
	f := form{desk: d, present: present}
	for _, field := range d.task.Fields {
		f.inputs = append(f.inputs, newInput(d.answers[field.Name]))
	}
	f.inputs[0].Focus()
	f.trial = d.task.Driver.Try(d.answers)
	return f
}

// words are those after weft's name that make a plan.
func words(p *wizard.Plan) string { return strings.TrimPrefix(p.Command, "weft ") }

// plan is a command.
func (d *desk) plan() tea.Msg {
	draft, err := d.task.Driver.Plan(d.ctx, d.answers)
	return planned{draft, err}
}

// arrive goes from a page that has asked for a plan to the plan.
func (d *desk) arrive(from start, p planned) (page, tea.Cmd) {
	if p.err != nil {
		from.failed = p.err
		return from, nil
	}
	return newPlan(d, p.draft), nil
}

func (f form) stage() stage { return stageForm }

func (f form) update(msg tea.Msg) (page, tea.Cmd) {
	switch msg := msg.(type) {
	case planned:
		f.busy = false
		if msg.err != nil {
			f.failed = msg.err
			return f, nil
		}
		return newPlan(f.desk, msg.draft), nil
	case tea.KeyMsg:
		if !f.busy {
			return f.press(msg)
		}
	}
	return f, nil
}

func (f form) press(msg tea.KeyMsg) (page, tea.Cmd) {
	f.failed = nil
	switch field := f.task.Fields[f.at]; {
	case key.Matches(msg, f.keys.Forward):
		return f.submit()
	case key.Matches(msg, f.keys.Next):
		return f.focus(f.at + 1), nil
	case key.Matches(msg, f.keys.Previous):
		return f.focus(f.at - 1), nil
	case field.Choices != nil:
		return f.choose(msg, field), nil
	}
	f.inputs = slices.Clone(f.inputs)
	var cmd tea.Cmd
	f.inputs[f.at], cmd = f.inputs[f.at].Update(msg)
	return f.judge(), cmd
}

func (f form) focus(at int) form {
	f.inputs = slices.Clone(f.inputs)
	f.inputs[f.at].Blur()
	f.at = (at + len(f.inputs)) % len(f.inputs)
	f.inputs[f.at].Focus()
	return f
}

// choose goes through the choices of a field. The first is to leave it out.
func (f form) choose(msg tea.KeyMsg, field Field) form {
	step := 0
	switch {
	case key.Matches(msg, f.keys.Right):
		step = 1
	case key.Matches(msg, f.keys.Left):
		step = -1
	}
	n := len(field.Choices)
	i := max(0, slices.Index(field.Choices, f.inputs[f.at].Value()))
	choice := field.Choices[(i+step+n)%n]
	if choice == field.Choices[0] {
		choice = ""
	}
	f.inputs = slices.Clone(f.inputs)
	f.inputs[f.at].SetValue(choice)
	return f.judge()
}

// judge tries what has been typed.
func (f form) judge() form {
	answers := Values{}
	for i, field := range f.task.Fields {
		if value := f.inputs[i].Value(); value != "" {
			answers[field.Name] = value
		}
	}
	f.answers = answers
	f.desk.answers = answers
	f.trial = f.task.Driver.Try(answers)
	return f
}

// submit asks for the plan, unless something is wrong: then it shows where.
func (f form) submit() (page, tea.Cmd) {
	for i, field := range f.task.Fields {
		if f.trial.Remarks[field.Name].Severity == wizard.Blocks {
			return f.focus(i), nil
		}
	}
	if f.trial.Remarks[""].Severity == wizard.Blocks {
		return f, nil
	}
	f.busy = true
	return f, f.plan
}

func (f form) view() []string {
	width, height := f.room()
	lines := []string{""}
	for i, field := range f.task.Fields {
		lines = append(lines, f.row(i, field))
	}
	lines = append(append(lines, ""), f.told(width)...)
	return lines[:min(len(lines), height)]
}

func (f form) row(i int, field Field) string {
	mark, focus, label := " ", " ", widget.Fit(f.theme, field.Label, labelWidth)
	if r, is := f.trial.Remarks[field.Name]; is {
		style, glyph := sign(f.theme, r.Severity)
		mark = style.Render(glyph)
	}
	if i == f.at {
		focus, label = f.theme.Strong.Render(f.theme.Glyphs.Focus), f.theme.Strong.Render(label)
	}
	now := ""
	if is := f.present[field.Name]; is != "" && field.Choices == nil {
		now = f.theme.Faint.Render("now " + is)
	}
	return focus + mark + label + widget.Fit(f.theme, f.value(i, field), valueWidth) + " " + now
}

func (f form) value(i int, field Field) string {
	in := f.inputs[i]
	switch {
	case field.Choices != nil:
		chosen := in.Value()
		if chosen == "" {
			chosen = field.Choices[0]
		}
		if is := f.present[field.Name]; in.Value() == "" && is != "" {
			chosen += " (" + is + ")"
		}
		return "< " + chosen + " >"
	case i == f.at:
		return f.theme.Input(in.Value(), in.Position(), valueWidth)
	case in.Value() == "":
		return f.theme.Faint.Render("as it is")
	default:
		return in.Value()
	}
}

// told is what is to be said about the field one is in, or else about all.
func (f form) told(width int) []string {
	switch {
	case f.busy:
		return []string{"Making the plan" + f.theme.Glyphs.Ellipsis}
	case f.failed != nil:
		return trouble(f.theme, f.failed, width)[1:]
	}
	field := f.task.Fields[f.at]
	for _, name := range []string{field.Name, ""} {
		if r, is := f.trial.Remarks[name]; is {
			return remark(f.theme, r.Severity, r.Text, r.Fix, width)
		}
	}
	return widget.Wrap(field.Help, width, 0)
}

// sign says how a severity is shown.
func sign(t theme.Theme, severity wizard.Severity) (lipgloss.Style, string) {
	switch severity {
	case wizard.Blocks:
		return t.Bad, t.Glyphs.Blocks
	case wizard.Warns:
		return t.Warn, t.Glyphs.Warns
	case wizard.Tells:
	}
	return t.Faint, t.Glyphs.Tells
}

// remark shows something found, and its fix.
func remark(t theme.Theme, severity wizard.Severity, text, fix string, width int) []string {
	style, glyph := sign(t, severity)
	lines := widget.Wrap(glyph+" "+text, width, 2)
	lines[0] = style.Render(glyph) + lines[0][len(glyph):]
	if fix != "" {
		for _, line := range widget.Wrap("Fix: "+fix, width-2, 5) {
			lines = append(lines, "  "+line)
		}
	}
	return lines
}

func (f form) command() string { return f.task.Driver.Carry(f.trial.Words) }

func (f form) help() []key.Binding {
	keys := []key.Binding{theme.Does(f.keys.Next, "next"), theme.Does(f.keys.Previous, "previous")}
	if f.task.Fields[f.at].Choices != nil {
		keys = append(keys, theme.Does(f.keys.Right, "choose"))
	}
	return append(keys, theme.Does(f.keys.Forward, "make the plan"), f.keys.Quit)
}
