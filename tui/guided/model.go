package guided

import (
	"context"
	"fmt"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/tui/widget"
)

// The smallest screen the pages are made for, in columns and lines.
const (
	minWidth  = 80
	minHeight = 24
)

// Model is the program's model: a frame with one page in it.
type Model struct {
	*desk

	page page
}

// desk is what all pages work with. It outlives them.
type desk struct {
	ctx   context.Context //nolint:containedctx // the program's own: Bubble Tea's methods take none
	task  Task
	theme theme.Theme
	keys  theme.Keys
	tick  func() tea.Cmd // gives a ticked now and then

	width, height int // of the screen

	answers Values // what has been typed
	job     *job   // the run that is going on, or nil
	ending  Ending
}

// page is one screenful. Update gives the page that follows, which usually is
// itself.
type page interface {
	stage() stage
	update(msg tea.Msg) (page, tea.Cmd)
	// view gives the lines between those of the frame, as many as the desk has
	// room for.
	view() []string
	// command is the weft command that does what the page is about.
	command() string
	help() []key.Binding
}

// frameLines is how many lines of the screen are not the page's.
const frameLines = 7

// room gives the columns and lines that a page has.
func (d *desk) room() (width, height int) { return d.width - 2, d.height - frameLines }

// stage is where a page stands on the way.
type stage int

const (
	stageRuns stage = iota
	stageForm
	stagePlan
	stageFindings
	stageHazards
	stageConfirm
	stageRun
	stageReport
)

// New gives the model for a task. What it starts ends with ctx.
func New(ctx context.Context, task Task, t theme.Theme) Model {
	d := &desk{ctx: ctx, task: task, theme: t, keys: theme.NewKeys(), tick: everySecond, answers: Values{}}
	return Model{desk: d, page: newStart(d)}
}

// Init is part of tea.Model.
func (m Model) Init() tea.Cmd { return m.open }

// Update is part of tea.Model.
func (m Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyMsg:
		if key.Matches(msg, m.keys.Quit) && m.page.stage() != stageRun {
			return m, tea.Quit
		}
	}
	var cmd tea.Cmd
	m.page, cmd = m.page.update(msg)
	return m, cmd
}

// View is part of tea.Model.
func (m Model) View() string {
	if m.width == 0 {
		return ""
	}
	if m.width < minWidth || m.height < minHeight {
		return fmt.Sprintf("weft needs %dx%d characters, this is %dx%d.\nMake the window larger, or leave with ctrl+c\nand use --plain.", minWidth, minHeight, m.width, m.height)
	}
	lines := m.head()
	width, height := m.room()
	body := m.page.view()
	for i := range height {
		line := ""
		if i < len(body) {
			line = " " + body[i]
		}
		lines = append(lines, widget.Fit(m.theme, line, width+2))
	}
	return strings.Join(append(lines, m.foot()...), "\n")
}

func (m Model) head() []string {
	return []string{
		widget.Fit(m.theme, " "+m.theme.Title.Render(m.task.Title), m.width),
		widget.Fit(m.theme, " "+m.trail(), m.width),
		m.rule(),
	}
}

// trail shows where on the way the page is.
func (m Model) trail() string {
	names := []string{"Form", "Plan", "Findings", "Hazards", "Confirm", "Run", "Report"}
	at := m.page.stage()
	if at == stageRuns {
		return m.theme.Strong.Render("Open runs")
	}
	if len(m.task.Fields) == 0 {
		names[0] = "Look"
	}
	for i, name := range names {
		if stage(i+1) == at {
			names[i] = m.theme.Strong.Render("[" + name + "]")
		} else {
			names[i] = m.theme.Faint.Render(name)
		}
	}
	return strings.Join(names, " "+m.theme.Glyphs.Between+" ")
}

// foot shows the command that does the same, and the keys. The command has
// two lines.
func (m Model) foot() []string {
	command := widget.Wrap("$ "+m.page.command(), m.width-2, 2)
	if len(command) > 2 {
		command = []string{command[0], command[1] + m.theme.Glyphs.Ellipsis}
	}
	lines := []string{m.rule()}
	for i := range 2 {
		line := ""
		if i < len(command) {
			line = " " + m.theme.Faint.Render(command[i])
		}
		lines = append(lines, widget.Fit(m.theme, line, m.width))
	}
	return append(lines, widget.Help(m.theme, m.page.help(), m.width))
}

func (m Model) rule() string {
	return m.theme.Faint.Render(strings.Repeat(m.theme.Glyphs.Rule, m.width))
}

// Finish waits for a run that is going on to come to rest, and says how the
// person has left. It is called when the program has ended.
func (m Model) Finish() Ending {
	if m.job != nil {
		m.desk.end(m.job.finish())
	}
	return m.ending
}
