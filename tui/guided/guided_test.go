package guided

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"weft/tui/theme"
	"weft/tui/tuitest"
	"weft/wizard"
)

var update = flag.Bool("update", false, "write golden files") //nolint:gochecknoglobals // as go test's own flags

// puppet is a Driver that does what the test has set.
type puppet struct {
	runs    []wizard.Run
	present Values
	draft   wizard.Draft
	failed  error // of Open, Look and Plan
	color   bool
	script  func(ctx context.Context, report Report) (wizard.Outcome, error)
	asked   []string // what was called
}

func (p *puppet) Open(context.Context) ([]wizard.Run, error) { return p.runs, p.failed }

func (p *puppet) Look(context.Context) (Values, error) { return p.present, p.failed }

func (p *puppet) Try(v Values) Trial {
	t := Trial{Words: "ingress customise", Remarks: map[string]Remark{}}
	for _, f := range fields() {
		if v[f.Name] != "" {
			t.Words += " --" + f.Name + " " + v[f.Name]
		}
	}
	if v["gateway"] == "10.12.0.1" {
		t.Remarks["gateway"] = Remark{Severity: wizard.Blocks, Text: "gateway 10.12.0.1 is not inside subnet 10.11.0.0/16"}
	}
	if v["mtu"] == "9000" {
		t.Remarks["mtu"] = Remark{Severity: wizard.Warns, Text: "MTU 9000 is large", Fix: "give --mtu 1450 or less"}
	}
	return t
}

func (p *puppet) Plan(_ context.Context, v Values) (wizard.Draft, error) {
	p.asked = append(p.asked, fmt.Sprint("plan ", v))
	return p.draft, p.failed
}

func (p *puppet) Start(ctx context.Context, _ wizard.Draft, report Report) (wizard.Outcome, error) {
	return p.play(ctx, "start", report)
}

func (p *puppet) Resume(ctx context.Context, run string, report Report) (wizard.Outcome, error) {
	return p.play(ctx, "resume "+run, report)
}

func (p *puppet) Rollback(ctx context.Context, run string, report Report) (wizard.Outcome, error) {
	return p.play(ctx, "rollback "+run, report)
}

func (p *puppet) play(ctx context.Context, what string, report Report) (wizard.Outcome, error) {
	p.asked = append(p.asked, what)
	return p.script(ctx, report)
}

func (*puppet) Command(words string) string { return "weft " + words }
func (*puppet) Carry(words string) string   { return "weft " + words }

func fields() []Field {
	return []Field{
		{Name: "name", Label: "Name", Help: "Name of the new network."},
		{Name: "subnet", Label: "Subnet", Help: "Subnet in CIDR form, such as 10.11.0.0/16."},
		{Name: "gateway", Label: "Gateway", Help: "Address inside the subnet."},
		{Name: "mtu", Label: "MTU", Help: "Largest packet inside the network, in bytes."},
		{Name: "ipv6", Label: "IPv6", Choices: []string{"as it is", "true", "false"}, Help: "Whether tasks get IPv6 addresses."},
	}
}

const runID = "20261123-120000-abcd"

func plain() wizard.Plan {
	p := wizard.Plan{
		Flow: "ingress-customise", Title: "Replace ingress network ingress (10.0.0.0/24 gateway 10.0.0.1) by my-ingress (10.11.0.0/16 gateway 10.11.0.2, MTU 1200)",
		Command: "weft ingress customise --name my-ingress --subnet 10.11.0.0/16 --gateway 10.11.0.2 --mtu 1200",
		Losses:  []string{"`service rollback` of the services leads back to a state within this workflow, and no longer to the one before it"},
		Notes:   []string{"every node is asked whether it has let go of the old network"},
		Hazards: []wizard.Hazard{
			{Name: "drops-ingress-traffic", Word: "ingress", Text: "3 published ports of 2 services answer nowhere until the new network is in place"},
			{Name: "restarts-tasks", Text: "the tasks of these services are replaced twice, as by two updates of the service"},
		},
	}
	step := func(id, title, interrupts string) {
		p.Steps = append(p.Steps, wizard.Planned{ID: id, Title: title, Interrupts: interrupts})
	}
	step("services", "Check that the services are as planned", "")
	step("detach:1", "Take 8080/tcp, 8443/tcp off service web", "the ports answer nowhere, and the tasks are replaced")
	step("detach:2", "Take 53/udp off service dns", "the ports answer nowhere, and the tasks are replaced")
	step("drain", "Wait until no task holds an endpoint of ingress", "")
	step("remove", "Remove network ingress", "")
	step("gone", "Wait until every node has let go of ingress", "")
	step("create", "Create network my-ingress (10.11.0.0/16 gateway 10.11.0.2, MTU 1200)", "")
	step("join", "Wait until every node has joined my-ingress", "")
	step("restore:1", "Put 8080/tcp, 8443/tcp back on service web", "the tasks are replaced")
	step("restore:2", "Put 53/udp back on service dns", "the tasks are replaced")
	step("converge", "Wait until the services run as before", "")
	step("verify", "Verify specs, network and ports against what was before", "")
	return p
}

func at(seconds float64) time.Time {
	return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// play gives a script that tells events and then waits for what to do next.
func play(events []wizard.Event, end func(ctx context.Context) wizard.Outcome) func(context.Context, Report) (wizard.Outcome, error) {
	return func(ctx context.Context, report Report) (wizard.Outcome, error) {
		for _, e := range events {
			e.Run = runID
			report(e)
		}
		return end(ctx), nil
	}
}

func half() []wizard.Event {
	var list []wizard.Event
	tell := func(s float64, t wizard.EventType, step, subject, text string) {
		list = append(list, wizard.Event{Time: at(s), Type: t, Step: step, Subject: subject, Text: text})
	}
	for i, id := range []string{"services", "detach:1", "detach:2"} {
		tell(float64(i), wizard.StepBegins, id, "", "")
		tell(float64(i)+0.4, wizard.StepEnds, id, "", "")
	}
	tell(3, wizard.StepBegins, "drain", "", "")
	tell(4, wizard.Progresses, "drain", "web", "a task on host1 is running")
	tell(5, wizard.Progresses, "drain", "dns", "a task on host2 is running")
	tell(7.5, wizard.Progresses, "drain", "web", "a task on host1 is shutting down")
	return list
}

// untilStopped ends when the run is interrupted.
func untilStopped(ctx context.Context) wizard.Outcome {
	<-ctx.Done()
	return wizard.Outcome{Run: runID, Result: wizard.ResultOpen, Err: errors.New("interrupted"), Step: "drain"}
}

type screen struct {
	*tuitest.Screen
	*puppet

	desk *desk
}

func open(t *testing.T, width, height int, p *puppet) *screen {
	t.Helper()
	if p.draft.Plan.Title == "" {
		p.draft.Plan = plain()
	}
	p.present = Values{"name": "ingress", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "ipv6": "false"}
	task := Task{Title: "Replace the ingress network", Fields: fields(), Driver: p}
	m := New(t.Context(), task, theme.Fixed(p.color, true))
	m.tick = func() tea.Cmd { return nil }
	s := &screen{tuitest.New(t, m, width, height), p, m.desk}
	t.Cleanup(func() { m.Finish() })
	s.Settle()
	return s
}

// hear takes in n events of the run.
func (s *screen) hear(n int) {
	for range n {
		s.Step()
	}
}

// agree goes from the form to the run, which has told n events.
func (s *screen) agree(n int) {
	s.Press("enter", "enter", "enter")
	s.Type("ingress")
	s.Press("enter", "y")
	s.Hit("y")
	s.hear(n)
}

// scenes are the ways to the frames that are kept.
func scenes() map[string]func(*screen) {
	return map[string]func(*screen){
		"form": func(*screen) {},
		"form-wrong": func(s *screen) {
			s.Press("tab")
			s.Type("10.11.0.0/16")
			s.Press("tab")
			s.Type("10.12.0.1")
		},
		"form-warning": func(s *screen) {
			s.Press("tab", "tab", "tab", "tab", "right", "shift+tab")
			s.Type("9000")
		},
		"plan":        func(s *screen) { s.Press("enter") },
		"plan-below":  func(s *screen) { s.Press("enter", "pgdown", "pgdown", "pgdown") },
		"findings":    func(s *screen) { s.Press("enter", "enter") },
		"hazard-word": func(s *screen) { s.Press("enter", "enter", "enter"); s.Type("ingr") },
		"hazard-wrong": func(s *screen) {
			s.Press("enter", "enter", "enter")
			s.Type("nonsense")
			s.Press("enter")
		},
		"hazard-yes": func(s *screen) { s.Press("enter", "enter", "enter"); s.Type("ingress"); s.Press("enter") },
		"confirm":    func(s *screen) { s.Press("enter", "enter", "enter"); s.Type("ingress"); s.Press("enter", "y") },
		"run": func(s *screen) {
			s.script = play(half(), untilStopped)
			s.agree(len(half()))
		},
		"run-asking": func(s *screen) {
			s.script = play(half(), untilStopped)
			s.agree(len(half()))
			s.Hit("ctrl+c")
		},
		"run-failing": func(s *screen) { s.failing(); s.hear(4) },
		"report-open": func(s *screen) {
			s.script = play(half(), untilStopped)
			s.agree(len(half()))
			s.Hit("ctrl+c")
			s.Press("s")
		},
		"report-back":     func(s *screen) { s.failing(); s.Settle() },
		"report-done":     func(s *screen) { s.script = play(half(), done); s.agree(0); s.Settle() },
		"report-declined": func(s *screen) { s.script = play(nil, refused); s.agree(0); s.Settle() },
	}
}

func done(context.Context) wizard.Outcome {
	return wizard.Outcome{Run: runID, Result: wizard.ResultDone, Notes: []wizard.Note{
		{Subject: "web", Text: "was interrupted for at most 27.3s"}, {Subject: "dns", Text: "53/udp is unverifiable: it did not answer before either"},
	}}
}

func refused(context.Context) wizard.Outcome {
	return wizard.Outcome{Result: wizard.ResultRefused, Err: errors.New("the cluster has changed since the plan was made: plan again")}
}

// failing starts a run whose fourth step fails and that is taken back.
func (s *screen) failing() {
	events := append(half(),
		wizard.Event{Time: at(60), Type: wizard.StepFails, Step: "drain", Text: "waited 5m0s for tasks to give up their endpoints"},
		wizard.Event{Time: at(60), Type: wizard.GoesBack, Text: "Wait until no task holds an endpoint of ingress: waited 5m0s for tasks to give up their endpoints"},
		wizard.Event{Time: at(61), Type: wizard.UndoBegins, Step: "detach:2"},
		wizard.Event{Time: at(61), Type: wizard.Progresses, Step: "detach:2", Subject: "dns", Text: "getting its ports back"},
	)
	s.script = play(events, func(context.Context) wizard.Outcome {
		return wizard.Outcome{Run: runID, Result: wizard.ResultRolledBack, Err: errors.New("Wait until no task holds an endpoint of ingress: waited 5m0s")}
	})
	s.agree(len(half()))
}

func TestFrames(t *testing.T) {
	for _, size := range []struct{ width, height int }{{80, 24}, {120, 40}} {
		for name, lead := range scenes() {
			t.Run(fmt.Sprintf("%dx%d/%s", size.width, size.height, name), func(t *testing.T) {
				s := open(t, size.width, size.height, &puppet{})
				lead(s)
				frame := s.Frame()
				checkSize(t, frame, size.width, size.height)
				tuitest.Golden(t, *update, "testdata/"+t.Name()[len("TestFrames/"):]+".golden", frame)
			})
		}
	}
}

// TestPictures keeps the pictures of the docs equal to what the pages look
// like.
func TestPictures(t *testing.T) {
	for _, name := range []string{"form-wrong", "plan", "hazard-word", "run", "run-failing", "report-done"} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 80, 24, &puppet{color: true})
			scenes()[name](s)
			tuitest.Golden(t, *update, "../../docs/pictures/wizard-"+name+".svg", tuitest.SVG(s.View(), 80, 24))
		})
	}
}

// checkSize says that a frame fits the screen exactly.
func checkSize(t *testing.T, frame string, width, height int) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
	if len(lines) != height {
		t.Errorf("the frame has %d lines, want %d", len(lines), height)
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > width {
			t.Errorf("a line has %d columns: %q", n, line)
		}
	}
}

func TestOpenRunsFrames(t *testing.T) {
	run := wizard.Run{
		ID: runID, Plan: plain(), Started: at(0), Reason: "Remove network ingress: permission denied", Result: wizard.ResultOpen,
		Phases: map[string]wizard.Phase{"services": wizard.Ended, "detach:1": wizard.Ended, "detach:2": wizard.Begun},
	}
	back := run
	back.ID, back.Back = "20261122-080000-0001", true
	s := open(t, 80, 24, &puppet{runs: []wizard.Run{back, run}})
	tuitest.Golden(t, *update, "testdata/80x24/runs.golden", s.Frame())
	s.Press("down")
	s.script = play(nil, done)
	s.Press("r")
	if got := strings.Join(s.asked, ", "); got != "resume "+runID {
		t.Errorf("r on the second run asked for: %s", got)
	}
	tuitest.Golden(t, *update, "testdata/80x24/runs-resumed.golden", s.Frame())
}

func TestFindingsFrame(t *testing.T) {
	p := plain()
	p.Findings = []wizard.Finding{
		{Code: "subnet-overlap", Severity: wizard.Blocks, Text: "subnet 10.11.0.0/16 overlaps 10.11.3.0/24 of network core", Fix: "choose another --subnet"},
		{Code: "engine-versions", Severity: wizard.Warns, Text: "the nodes run several engine versions (20.10.24, 28.5.2); Docker warns that the removal may then not be effective, and the function of ingress networks made later be impaired", Fix: "finish the upgrade of the nodes first"},
	}
	s := open(t, 80, 24, &puppet{draft: wizard.Draft{Plan: p}})
	s.Press("enter", "enter")
	tuitest.Golden(t, *update, "testdata/80x24/findings-blocked.golden", s.Frame())
	s.Press("enter")
	if !strings.Contains(s.Frame(), "[Findings]") {
		t.Errorf("a blocked plan can be gone on with:\n%s", s.Frame())
	}
	s.Press("ctrl+c")
	if !s.Quit() || !s.desk.ending.Refused {
		t.Errorf("quit %v, ending %+v; want a refusal", s.Quit(), s.desk.ending)
	}
}

// TestWithoutUnicode looks at the pages where the locale has no more than
// ASCII.
func TestWithoutUnicode(t *testing.T) {
	p := &puppet{draft: wizard.Draft{Plan: plain()}, script: play(half(), untilStopped)}
	m := New(t.Context(), Task{Title: "Replace the ingress network", Fields: fields(), Driver: p}, theme.Fixed(false, false))
	m.tick = func() tea.Cmd { return nil }
	s := &screen{tuitest.New(t, m, 80, 24), p, m.desk}
	t.Cleanup(func() { m.Finish() })
	s.Settle()
	s.agree(len(half()))
	for _, r := range s.Frame() {
		if r > 127 {
			t.Errorf("%q is not ASCII in:\n%s", r, s.Frame())
		}
	}
	tuitest.Golden(t, *update, "testdata/80x24/run-ascii.golden", s.Frame())
}

func TestTooSmall(t *testing.T) {
	s := open(t, 79, 24, &puppet{})
	if got := s.Frame(); !strings.Contains(got, "weft needs 80x24 characters, this is 79x24") {
		t.Errorf("frame:\n%s", got)
	}
	s.Send(tea.WindowSizeMsg{Width: 80, Height: 24})
	if got := s.Frame(); !strings.Contains(got, "[Form]") {
		t.Errorf("after enlarging:\n%s", got)
	}
}
