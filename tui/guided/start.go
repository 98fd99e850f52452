package guided

import (
	"context"
	"fmt"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/tui/widget"
	"weft/wizard"
)

// start looks for what there is: open runs, and the cluster as it is.
type start struct {
	*desk

	failed error
}

// opened are the runs found at the start.
type opened struct {
	runs []wizard.Run
	err  error
}

// looked is what the cluster looks like.
type looked struct {
	present Values
	err     error
}

func newStart(d *desk) start { return start{desk: d} }

// open is a command.
func (d *desk) open() tea.Msg {
	runs, err := d.task.Driver.Open(d.ctx)
	return opened{runs, err}
}

// look is a command.
func (d *desk) look() tea.Msg {
	present, err := d.task.Driver.Look(d.ctx)
	return looked{present, err}
}

func (s start) stage() stage { return stageForm }

func (s start) update(msg tea.Msg) (page, tea.Cmd) {
	switch msg := msg.(type) {
	case opened:
		if msg.err != nil {
			s.failed = msg.err
			return s, nil
		}
		if len(msg.runs) > 0 {
			return newRuns(s.desk, msg.runs), nil
		}
		return s.ready()
	case looked:
		if msg.err != nil {
			s.failed = msg.err
			return s, nil
		}
		return newForm(s.desk, msg.present), nil
	case planned:
		return s.desk.arrive(s, msg)
	case tea.KeyMsg:
		if s.failed != nil && key.Matches(msg, s.keys.Again) {
			return start{desk: s.desk}, s.open
		}
	}
	return s, nil
}

// ready goes to the form, or where there is none to the plan.
func (s start) ready() (page, tea.Cmd) {
	if len(s.task.Fields) == 0 {
		return s, s.plan
	}
	return s, s.look
}

func (s start) view() []string {
	width, _ := s.room()
	if s.failed != nil {
		return trouble(s.theme, s.failed, width)
	}
	return []string{"", "Looking at the swarm" + s.theme.Glyphs.Ellipsis}
}

func (s start) command() string { return s.task.Driver.Carry(s.task.Driver.Try(s.answers).Words) }

func (s start) help() []key.Binding {
	if s.failed != nil {
		return []key.Binding{s.keys.Again, s.keys.Quit}
	}
	return []key.Binding{s.keys.Quit}
}

// trouble shows an error that keeps a page from its work.
func trouble(t theme.Theme, err error, width int) []string {
	lines := []string{"", t.Bad.Render(t.Glyphs.Failed + " This did not work:"), ""}
	return append(lines, widget.Wrap("  "+err.Error(), width, 2)...)
}

// runs offers the open runs.
type runs struct {
	*desk

	list []wizard.Run
	at   int
}

func newRuns(d *desk, list []wizard.Run) runs { return runs{desk: d, list: list} }

func (r runs) stage() stage { return stageRuns }

func (r runs) update(msg tea.Msg) (page, tea.Cmd) {
	pressed, is := msg.(tea.KeyMsg)
	if !is {
		return r, nil
	}
	run := r.list[r.at]
	switch {
	case key.Matches(pressed, r.keys.Up):
		r.at = max(0, r.at-1)
	case key.Matches(pressed, r.keys.Down):
		r.at = min(len(r.list)-1, r.at+1)
	case key.Matches(pressed, r.keys.Resume):
		return goOn(r.desk, &run, "resume")
	case key.Matches(pressed, r.keys.Rollback):
		return goOn(r.desk, &run, "rollback")
	case key.Matches(pressed, r.keys.New):
		return newStart(r.desk).ready()
	}
	return r, nil
}

// goOn takes an open run up.
func goOn(d *desk, run *wizard.Run, verb string) (page, tea.Cmd) {
	do := d.task.Driver.Resume
	if verb == "rollback" {
		do = d.task.Driver.Rollback
	}
	page := newProgress(d, run.Plan, verb)
	page.take(run)
	return page, tea.Batch(d.begin(func(ctx context.Context, report Report) (wizard.Outcome, error) { return do(ctx, run.ID, report) }), d.tick())
}

func (r runs) view() []string {
	width, height := r.room()
	lines := []string{"", r.theme.Warn.Render(r.theme.Glyphs.Warns + " A workflow was begun on this machine and is not over."), ""}
	for i, run := range r.list {
		mark := "  "
		if i == r.at {
			mark = r.theme.Strong.Render(r.theme.Glyphs.Focus) + " "
		}
		way := "going on"
		if run.Back {
			way = "going back"
		}
		lines = append(lines, mark+r.theme.Strong.Render(run.ID)+"  "+run.Plan.Flow+", "+way)
	}
	run := r.list[r.at]
	lines = append(append(lines, ""), widget.Wrap(run.Plan.Title, width, 2)...)
	if run.Reason != "" {
		lines = append(lines, widget.Wrap("It stopped: "+run.Reason, width, 2)...)
	}
	lines = append(lines, fmt.Sprintf("Begun %s UTC; %d of %d steps are done.", run.Started.UTC().Format(time.DateTime), run.InForce(), len(run.Plan.Steps)), "")
	lines = append(lines, widget.Wrap("Resume goes on where it stopped. Rolling back brings back what was before. While it is open, another workflow can't change this swarm.", width, 0)...)
	seen, _ := widget.Window(lines, 0, height)
	return seen
}

func (r runs) command() string {
	verb := "resume"
	if r.list[r.at].Back {
		verb = "rollback"
	}
	return r.task.Driver.Carry("workflow " + verb + " " + r.list[r.at].ID)
}

func (r runs) help() []key.Binding {
	keys := []key.Binding{r.keys.Resume, r.keys.Rollback, theme.Does(r.keys.New, "begin another"), r.keys.Quit}
	if len(r.list) > 1 {
		keys = append([]key.Binding{theme.Does(r.keys.Scroll, "choose")}, keys...)
	}
	return keys
}
