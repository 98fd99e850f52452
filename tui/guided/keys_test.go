package guided

import (
	"context"
	"errors"
	"strings"
	"testing"

	"weft/wizard"
)

// onPage says that a page of the trail is shown.
func (s *screen) onPage(t *testing.T, name string) {
	t.Helper()
	if !strings.Contains(s.Frame(), "["+name+"]") {
		t.Errorf("want the page %s, have:\n%s", name, s.Frame())
	}
}

func TestWayBack(t *testing.T) {
	s := open(t, 80, 24, &puppet{})
	s.Type("x")
	s.Press("enter", "enter", "enter")
	s.Type("ingress")
	s.Press("enter", "y")
	for _, name := range []string{"Confirm", "Hazards", "Hazards", "Findings", "Plan", "Form"} {
		s.onPage(t, name)
		s.Press("esc")
	}
	if got := s.desk.answers["name"]; got != "x" {
		t.Errorf("back on the form the name is %q, want what was typed", got)
	}
	if got := strings.Join(s.asked, ", "); got != "plan map[name:x]" {
		t.Errorf("asked for: %s", got)
	}
}

// TestLeaving leaves from every page before the run: nothing is started.
func TestLeaving(t *testing.T) {
	for name, keys := range map[string][]string{
		"form": {"ctrl+c"}, "plan": {"enter", "ctrl+c"}, "findings": {"enter", "enter", "ctrl+c"}, "word": {"enter", "enter", "enter", "ctrl+c"},
		"hazard":  {"enter", "enter", "enter", "i", "n", "g", "r", "e", "s", "s", "enter", "n"},
		"confirm": {"enter", "enter", "enter", "i", "n", "g", "r", "e", "s", "s", "enter", "y", "n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 80, 24, &puppet{})
			s.Press(keys...)
			if !s.Quit() {
				t.Errorf("still there:\n%s", s.Frame())
			}
			if s.desk.job != nil || s.desk.ending.Outcome.Result != "" || s.desk.ending.Refused {
				t.Errorf("ending %+v, want nothing started", s.desk.ending)
			}
		})
	}
}

func TestTrouble(t *testing.T) {
	s := open(t, 80, 24, &puppet{failed: errors.New("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")})
	if got := s.Frame(); !strings.Contains(got, "docker daemon running?") || !strings.Contains(got, "a look again") {
		t.Errorf("frame:\n%s", got)
	}
	s.failed = nil
	s.Press("a")
	s.onPage(t, "Form")
	s.failed = errors.New("no quorum")
	s.Press("enter")
	s.onPage(t, "Form")
	if got := s.Frame(); !strings.Contains(got, "no quorum") {
		t.Errorf("frame:\n%s", got)
	}
}

// TestStopAndRollBack stops a run and has it taken back at once.
func TestStopAndRollBack(t *testing.T) {
	s := open(t, 80, 24, &puppet{})
	s.script = play(half(), untilStopped)
	s.agree(len(half()))
	s.Hit("ctrl+c")
	s.Hit("b")
	if !strings.Contains(s.Frame(), "Stopping at a safe place") {
		t.Errorf("frame:\n%s", s.Frame())
	}
	s.script = play(nil, func(context.Context) wizard.Outcome {
		return wizard.Outcome{Run: runID, Result: wizard.ResultRolledBack, Err: errors.New("asked to")}
	})
	s.Settle()
	s.onPage(t, "Report")
	if got := strings.Join(s.asked[1:], ", "); got != "start, rollback "+runID {
		t.Errorf("asked for: %s", got)
	}
	if got := s.desk.ending.Outcome.Result; got != wizard.ResultRolledBack {
		t.Errorf("ended %q", got)
	}
}

// TestGoOnAfterStopping resumes an open run from the report.
func TestGoOnAfterStopping(t *testing.T) {
	s := open(t, 80, 24, &puppet{})
	s.script = play(half(), untilStopped)
	s.agree(len(half()))
	s.Hit("ctrl+c")
	s.Hit("esc") // asked, and thought better of it
	if s.desk.job == nil || strings.Contains(s.Frame(), "Stop here?") {
		t.Fatalf("the run does not go on:\n%s", s.Frame())
	}
	s.Hit("ctrl+c")
	s.Press("ctrl+c")
	s.onPage(t, "Report")
	s.script = play(nil, done)
	s.Press("r")
	if got := strings.Join(s.asked[1:], ", "); got != "start, resume "+runID {
		t.Errorf("asked for: %s", got)
	}
	s.Press("enter")
	if !s.Quit() || s.desk.ending.Outcome.Result != wizard.ResultDone {
		t.Errorf("quit %v, ending %+v", s.Quit(), s.desk.ending)
	}
}

// TestProgramEnds is the terminal going away in the middle of a run.
func TestProgramEnds(t *testing.T) {
	s := open(t, 80, 24, &puppet{})
	s.script = play(half(), untilStopped)
	s.agree(2) // the others are told to nobody
	ending := Model{desk: s.desk}.Finish()
	if ending.Outcome.Result != wizard.ResultOpen || ending.Outcome.Run != runID {
		t.Errorf("ending %+v, want the run open", ending)
	}
}

// TestWithoutForm is a workflow that has nothing to be asked.
func TestWithoutForm(t *testing.T) {
	p := &puppet{draft: wizard.Draft{Plan: plain()}}
	s := open(t, 80, 24, p)
	s.desk.task.Fields = nil
	var pg page
	pg, cmd := newStart(s.desk).ready()
	pg, _ = pg.update(cmd())
	if pg.stage() != stagePlan {
		t.Errorf("stage %d, want the plan", pg.stage())
	}
}
