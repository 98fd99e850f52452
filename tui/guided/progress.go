package guided

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/tui/widget"
	"weft/wizard"
)

// progress shows a run while it goes on.
type progress struct {
	*desk

	plan  wizard.Plan
	run   string // its ID, once it is known
	verb  string // resume, rollback; empty: it was started here
	steps map[string]stepState
	at    string // ID of the step that is going on
	back  bool
	why   string    // it goes back
	began time.Time // by the first event
	now   time.Time // by the last event or tick

	detail []subject // of the step that is going on
	notes  []wizard.Note
	pager  pager
	follow bool // the step that is going on is kept in sight

	asking bool // whether to stop
	then   string
}

// stepState is how far a step has come.
type stepState struct {
	phase      wizard.Phase
	failed     bool
	since, end time.Time
}

// subject is what was last told of a node, a service or a port.
type subject struct{ name, text string }

// ticked says that time goes on.
type ticked time.Time

// everySecond is a command.
func everySecond() tea.Cmd {
	return tea.Tick(time.Second, func(t time.Time) tea.Msg { return ticked(t) })
}

func newProgress(d *desk, plan wizard.Plan, verb string) progress {
	return progress{desk: d, plan: plan, verb: verb, steps: map[string]stepState{}, back: verb == "rollback", follow: true}
}

// take takes over what a run's journal says.
func (p *progress) take(run *wizard.Run) {
	p.run, p.back = run.ID, p.back || run.Back
	for id, phase := range run.Phases {
		p.steps[id] = stepState{phase: phase}
	}
}

func (p progress) stage() stage { return stageRun }

func (p progress) update(msg tea.Msg) (page, tea.Cmd) {
	switch msg := msg.(type) {
	case happened:
		return p.happen(msg.Event), p.job.next
	case ended:
		p.end(msg)
		if p.then == "rollback" && msg.outcome.Result == wizard.ResultOpen {
			return p.turn()
		}
		return newReport(p, msg), nil
	case ticked:
		if now := time.Time(msg); now.After(p.now) && !p.now.IsZero() {
			p.now = now
		}
		return p, p.tick()
	case tea.KeyMsg:
		return p.press(msg)
	}
	return p, nil
}

// happen takes in an event.
func (p progress) happen(e wizard.Event) progress {
	p.run, p.now = e.Run, e.Time
	if p.began.IsZero() {
		p.began = e.Time
	}
	steps := map[string]stepState{}
	for id, state := range p.steps {
		steps[id] = state
	}
	p.steps = steps
	state := steps[e.Step]
	switch e.Type {
	case wizard.StepBegins:
		state, p.at, p.detail = stepState{phase: wizard.Begun, since: e.Time}, e.Step, nil
	case wizard.StepEnds:
		state.phase, state.end, p.detail = wizard.Ended, e.Time, nil
	case wizard.UndoBegins:
		state, p.at, p.detail = stepState{phase: wizard.UndoBegun, since: e.Time}, e.Step, nil
	case wizard.UndoEnds:
		state.phase, state.end, p.detail = wizard.Undone, e.Time, nil
	case wizard.StepFails, wizard.UndoFails:
		state.failed, state.end = true, e.Time
		p.detail = told(p.detail, "", "failed: "+e.Text)
	case wizard.StepRetry:
		p.detail = told(p.detail, "", "again, after: "+e.Text)
	case wizard.GoesBack:
		p.back, p.why = true, e.Text
	case wizard.Notes:
		p.notes = append(slices.Clip(p.notes), wizard.Note{Subject: e.Subject, Text: e.Text})
	case wizard.Progresses:
		p.detail = told(p.detail, e.Subject, e.Text)
	case wizard.Ends:
	}
	if e.Step != "" {
		steps[e.Step] = state
	}
	return p
}

// told replaces what was told of a subject last. No text: it is settled.
func told(list []subject, name, text string) []subject {
	list = slices.Clone(list)
	i := slices.IndexFunc(list, func(s subject) bool { return s.name == name })
	if i < 0 {
		return append(list, subject{name, text})
	}
	list[i].text = text
	return list
}

func (p progress) press(msg tea.KeyMsg) (page, tea.Cmd) {
	stopping := p.then != ""
	switch {
	case p.asking && key.Matches(msg, p.keys.Stop):
		p.asking, p.then = false, "stop"
		p.job.stop()
	case p.asking && key.Matches(msg, p.keys.Rollback) && !p.back:
		p.asking, p.then = false, "rollback"
		p.job.stop()
	case p.asking && key.Matches(msg, p.keys.Back):
		p.asking = false
	case p.asking:
	case key.Matches(msg, p.keys.Quit) && !stopping:
		p.asking = true
	case key.Matches(msg, p.keys.Back):
		p.follow = true
	default:
		width, height := p.room()
		lines, _ := p.list(width)
		p.pager, p.follow = p.pager.press(p.keys, msg, len(lines), height-p.below()), false
	}
	return p, nil
}

// turn takes back a run that was stopped for it.
func (p progress) turn() (page, tea.Cmd) {
	next := newProgress(p.desk, p.plan, "rollback")
	next.steps, next.run, next.now = p.steps, p.run, p.now
	id := p.run
	return next, p.begin(func(ctx context.Context, report Report) (wizard.Outcome, error) {
		return p.task.Driver.Rollback(ctx, id, report)
	})
}

// below is how many lines the question at the end takes.
func (p progress) below() int {
	if p.asking || p.then != "" {
		return 6
	}
	return 0
}

func (p progress) view() []string {
	width, height := p.room()
	height -= p.below()
	lines, at := p.list(width)
	pager := p.pager
	if p.follow {
		pager = max(0, min(at-2, last(len(lines), height)))
	}
	seen := pager.show(p.theme, lines, height)
	for len(seen) < height {
		seen = append(seen, "")
	}
	return append(seen, p.question(width)...)
}

// list gives the steps, and the line on which the present one is.
func (p progress) list(width int) (lines []string, at pager) {
	lines = append(lines, "")
	if p.back {
		lines = append(append(lines, p.goingBack(width)...), "")
	}
	for _, step := range p.plan.Steps {
		if step.ID == p.at {
			at = pager(len(lines))
		}
		lines = append(lines, p.step(step, width)...)
	}
	return lines, at
}

func (p progress) goingBack(width int) []string {
	text := p.theme.Glyphs.Undone + " Rolling back"
	if p.why != "" {
		text += ": " + p.why
	}
	lines := widget.Wrap(text, width, 2)
	for i := range lines {
		lines[i] = p.theme.Warn.Render(lines[i])
	}
	return lines
}

func (p progress) step(step wizard.Planned, width int) []string {
	state := p.steps[step.ID]
	t, mark := p.theme, p.theme.Faint.Render(p.theme.Glyphs.Todo)
	switch {
	case state.failed:
		mark = t.Bad.Render(t.Glyphs.Failed)
	case state.phase == wizard.Begun, state.phase == wizard.UndoBegun:
		mark = t.Warn.Render(t.Glyphs.Running)
	case state.phase == wizard.Ended:
		mark = t.Good.Render(t.Glyphs.Done)
	case state.phase == wizard.Undone:
		mark = t.Warn.Render(t.Glyphs.Undone)
	}
	title := step.Title
	if state.phase == wizard.UndoBegun || state.phase == wizard.Undone {
		title = "undo: " + title
	}
	line := mark + " " + widget.Fit(t, title, width-10)
	if spent := p.spent(state); spent != "" {
		line += t.Faint.Render(fmt.Sprintf("%8s", spent))
	}
	lines := []string{line}
	if step.ID != p.at {
		return lines
	}
	for _, d := range p.detail {
		text := d.text
		if d.name != "" {
			text = d.name + ": " + text
		}
		for _, l := range widget.Wrap(text, width-6, 2) {
			lines = append(lines, "    "+t.Faint.Render(t.Glyphs.Bar)+" "+l)
		}
	}
	return lines
}

// spent says how long a step has taken.
func (p progress) spent(s stepState) string {
	end := s.end
	switch {
	case s.since.IsZero():
		return ""
	case end.IsZero():
		end = p.now
	}
	d := max(0, end.Sub(s.since))
	return duration(d)
}

func duration(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d:%02d min", int(d.Minutes()), int(d.Seconds())%60)
}

func (p progress) question(width int) []string {
	switch {
	case p.then != "":
		return []string{"", p.theme.Warn.Render("Stopping at a safe place" + p.theme.Glyphs.Ellipsis)}
	case !p.asking:
		return nil
	}
	lines := []string{"", p.theme.Warn.Render(p.theme.Glyphs.Warns) + " " + p.theme.Strong.Render("Stop here?")}
	return append(lines, widget.Wrap("The run stays open: everything stays as it is at this step, and what was taken off stays off, until the run is resumed or rolled back. Until then no other workflow can change this swarm.", width, 0)...)
}

func (p progress) command() string {
	switch {
	case p.run == "":
		return p.task.Driver.Command("workflow ls")
	case p.verb != "":
		return p.task.Driver.Carry("workflow " + p.verb + " " + p.run)
	}
	return p.task.Driver.Command("workflow show " + p.run)
}

func (p progress) help() []key.Binding {
	if p.asking {
		keys := []key.Binding{theme.Does(p.keys.Stop, "stop, leave it open")}
		if !p.back {
			keys = append(keys, theme.Does(p.keys.Rollback, "stop and roll back"))
		}
		return append(keys, theme.Does(p.keys.Back, "go on"))
	}
	return []key.Binding{p.keys.Scroll, theme.Does(p.keys.Back, "follow"), theme.Does(p.keys.Quit, "stop"+p.theme.Glyphs.Ellipsis)}
}
