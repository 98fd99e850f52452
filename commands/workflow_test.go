package commands_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weft/commands"
	"weft/commands/cmdtest"
	"weft/commands/ingress"
	"weft/commands/swarmtest"
	"weft/commands/workflow"
	"weft/tui/tuitest"
	"weft/wizard"
)

// operator is somebody with a machine of their own, at a swarm in virtual time.
type operator struct {
	testing.TB

	swarm *swarmtest.Swarm
	home  string // has the journals
}

func newOperator(tb testing.TB, options ...swarmtest.Option) operator {
	tb.Helper()
	s := swarmtest.New(tb, append(options, swarmtest.Busy())...)
	s.Settle()
	return operator{tb, s, tb.TempDir()}
}

// elsewhere is the same person at another machine.
func (o operator) elsewhere() operator {
	o.home = o.TempDir()
	return o
}

// session is the world of one command line.
func (o operator) session(in string, vars map[string]string) *cmdtest.Session {
	all := map[string]string{"DOCKER_HOST": o.swarm.Host(), "XDG_STATE_HOME": o.home}
	for key, value := range vars {
		all[key] = value
	}
	s := cmdtest.NewSession(o, in, all)
	s.Env.Now, s.Env.Sleep = o.swarm.Now, o.swarm.Sleep
	s.Env.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		if !o.swarm.Answers(number, "tcp") {
			return nil, errors.New("connection refused")
		}
		near, far := net.Pipe()
		return near, far.Close()
	}
	return s
}

// said is what came of a command line.
type said struct {
	code     int
	out, err string
}

func (o operator) weft(args ...string) said { return o.answering("", args...) }

// answering is weft with something on its standard input, which is no terminal.
func (o operator) answering(in string, args ...string) said {
	o.Helper()
	s := o.session(in, nil)
	code := commands.Run(o.Context(), s.Env, args)
	return said{code, s.Out.String(), s.Err.String()}
}

// want fails unless the command has ended so and said so.
func (o operator) want(r said, code int, texts ...string) said {
	o.Helper()
	if r.code != code {
		o.Fatalf("exit code %d, want %d\n%s\n%s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			o.Errorf("not said: %s\n%s\n%s", text, r.out, r.err)
		}
	}
	return r
}

// services is the swarm's state without the ingress network.
func (o operator) services() string {
	before, after, _ := strings.Cut(o.swarm.State(), "ingress=true")
	head := before[:strings.LastIndex(before, "network ")]
	_, tail, _ := strings.Cut(after, "\n")
	return head + tail
}

// became fails unless the swarm's ingress network is as the flags say and
// everything else as it was.
func (o operator) became(name, services string) {
	o.Helper()
	o.swarm.Settle()
	if got := o.services(); got != services {
		o.Errorf("not as before:\n%s\nwant\n%s", got, services)
	}
	if r := o.weft("network", "ls", "--filter", "name="+name, "--format", "{{.Name}}"); strings.TrimSpace(r.out) != name {
		o.Errorf("network ls says %q, want %s", r.out, name)
	}
	if list := o.swarm.Violations(); len(list) > 0 {
		o.Errorf("what breaks swarms was done: %v", list)
	}
}

// toNew are the flags of the documentation's example.
func toNew(more ...string) []string {
	return append([]string{"ingress", "customise", "--name", "my-ingress", "--subnet", "10.11.0.0/16", "--gateway", "10.11.0.2", "--mtu", "1200"}, more...)
}

func agreed(more ...string) []string {
	return append(more, "--yes", "--accept", "drops-ingress-traffic,restarts-tasks")
}

func TestCustomiseInScripts(t *testing.T) {
	o := newOperator(t)
	before, services := o.swarm.State(), o.services()
	o.want(o.weft(toNew()...), 11, "--accept=drops-ingress-traffic,restarts-tasks", "nothing was changed")
	o.want(o.weft(toNew("--yes")...), 11, "not accepted")
	o.want(o.weft(toNew("--accept", "drops-ingress-traffic,restarts-tasks")...), 11, "no terminal to ask on, and no --yes")
	o.want(o.weft(toNew("--dry-run")...), 0, "Replace ingress network ingress")
	o.want(o.weft("ingress", "customise"), 11)
	o.want(o.weft("ingress", "customise", "--subnet", "nonsense"), 1, "invalid subnet")
	o.want(o.weft("ingress", "customise", "--nonsense"), 125, "unknown flag")
	o.want(o.weft(agreed("ingress", "customise", "--name", "back")...), 10, "name-taken", "choose another --name", "nothing was changed")
	if o.swarm.State() != before {
		t.Fatalf("something was changed:\n%s", o.swarm.State())
	}

	o.want(o.weft(agreed(toNew()...)...), 0, "Done: run ")
	o.became("my-ingress", services)
	id := strings.TrimSpace(o.want(o.weft("workflow", "ls", "-q"), 0).out)
	o.want(o.weft("workflow", "show", id), 0, "Status:   done", "was interrupted for at most")
	o.want(o.weft("workflow", "resume", id), 0, "Done: run "+id) // as after a kill in the very last moment
	o.want(o.weft("workflow", "rollback", id), 1, "is over: done")
	o.want(o.weft("workflow", "rm", id), 0, id)
	o.want(o.weft("workflow", "show", id), 1, "no run "+id)
}

// TestPlanFile makes a plan on one machine and applies it on another.
func TestPlanFile(t *testing.T) {
	o := newOperator(t)
	file := filepath.Join(t.TempDir(), "plan.json")
	o.want(o.weft(toNew("--plan", file)...), 0, "Steps")
	there := o.elsewhere()
	there.want(there.weft("workflow", "apply", file), 11)

	o.swarm.UpdateService("web", func(spec map[string]any) { spec["Labels"] = map[string]any{"changed": "yes"} })
	there.want(there.weft(agreed("workflow", "apply", file)...), 10, "the plan no longer holds", "plan again")
	services := o.services()
	o.want(o.weft(toNew("--plan", file)...), 0)
	there.want(there.weft(agreed("workflow", "apply", file)...), 0, "Done: run ")
	there.became("my-ingress", services)
	if r := o.weft("workflow", "ls", "-q"); r.out != "" {
		t.Errorf("the run is on the machine where the plan was made: %s", r.out)
	}
	there.want(there.weft(agreed("workflow", "apply", file)...), 10, "the plan no longer holds")

	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.want(o.weft("workflow", "apply", bad), 1, "this is not a plan")
}

// TestSecondOperator finds the cluster locked.
func TestSecondOperator(t *testing.T) {
	o := newOperator(t)
	there := o.elsewhere()
	o.swarm.Before(60, func() {
		r := there.want(there.weft(agreed(toNew()...)...), 10, "the cluster is locked by run ", "--take-over ")
		if strings.Contains(r.err, "panic") {
			t.Error(r.err)
		}
	})
	services := o.services()
	o.want(o.weft(agreed(toNew()...)...), 0, "Done: run ")
	o.became("my-ingress", services)
}

// TestEvents reads what --json prints.
func TestEvents(t *testing.T) {
	o := newOperator(t)
	r := o.want(o.weft(agreed(toNew("--json")...)...), 0)
	lines := bufio.NewScanner(bytes.NewReader([]byte(r.out)))
	lines.Buffer(nil, 1<<20)
	var types []string
	var last wizard.Event
	for lines.Scan() {
		last = wizard.Event{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		types = append(types, string(last.Type))
	}
	if types[0] != "plan" || last.Type != wizard.Ends || last.Outcome != wizard.ResultDone || last.Run == "" {
		t.Errorf("begins with %s and ends with %+v", types[0], last)
	}
}

// terminal is a terminal with an operator's weft in it.
type terminal struct {
	*tuitest.Terminal

	code chan int
}

// sit has the operator type a command at a terminal.
func (o operator) sit(width, height int, vars map[string]string, args ...string) terminal {
	o.Helper()
	term, slave := tuitest.Open(o, width, height)
	all := map[string]string{"TERM": "xterm-256color", "LANG": "C.UTF-8"}
	for key, value := range vars {
		all[key] = value
	}
	s := o.session("", all)
	s.Env.In, s.Env.Out, s.Env.Err = slave, slave, slave
	code := make(chan int, 1)
	go func() { code <- commands.Run(o.Context(), s.Env, args, ingress.New, workflow.New) }()
	return terminal{term, code}
}

// want fails unless the command ends so.
func (t terminal) want(o operator, code int) {
	o.Helper()
	if got := <-t.code; got != code {
		o.Errorf("exit code %d, want %d; on the screen:\n%s", got, code, t.Screen())
	}
}

// fill answers the form and goes to the first hazard.
func (t terminal) fill() {
	t.Await("[Form]")
	t.Await("now ingress")
	t.Type("my-ingress" + tuitest.Tab + "10.11.0.0/16" + tuitest.Tab + "10.11.0.2" + tuitest.Tab + tuitest.Tab + tuitest.Tab + "1200" + tuitest.Enter)
	t.Await("[Plan]")
	t.Type(tuitest.Enter)
	t.Await("[Findings]")
	t.Type(tuitest.Enter)
	t.Await("[Hazards]")
}

// agree accepts the hazards.
func (t terminal) agree() {
	t.fill()
	t.Type("ingress" + tuitest.Enter)
	t.Await("Hazard 2 of 2")
	t.Type("y")
	t.Await("Carry out this plan?")
}

func TestWizard(t *testing.T) {
	o := newOperator(t)
	services := o.services()
	term := o.sit(80, 24, nil, "ingress", "customise")
	term.agree()
	term.Await("--yes")
	term.Type("y")
	term.Await("Done: Replace ingress network")
	term.Type(tuitest.Enter)
	term.want(o, 0)
	term.Await("Done: run ") // left behind, after the pages
	o.became("my-ingress", services)
}

func TestWizardDeclined(t *testing.T) {
	o := newOperator(t)
	before := o.swarm.State()
	term := o.sit(120, 40, nil, "ingress", "customise")
	term.agree()
	term.Type("n")
	term.want(o, 11)
	term.Await("nothing was changed")
	if o.swarm.State() != before {
		t.Errorf("declined, and yet:\n%s", o.swarm.State())
	}
	term = o.sit(120, 40, nil, "ingress", "customise")
	term.Await("now ingress")
	term.Type(tuitest.CtrlC)
	term.want(o, 11)
}

// TestWizardInterrupted stops a run in the middle, and takes it up again from
// another wizard.
func TestWizardInterrupted(t *testing.T) {
	for verb, key := range map[string]string{"resume": "r", "rollback": "b"} {
		t.Run(verb, func(t *testing.T) {
			o := newOperator(t)
			before, services := o.swarm.State(), o.services()
			term := o.sit(80, 24, nil, "ingress", "customise")
			term.agree()
			reached, goOn := make(chan struct{}), make(chan struct{})
			o.swarm.Before(1, func() { close(reached); <-goOn }, swarmtest.On("DELETE", "/networks/*"))
			term.Type("y")
			<-reached
			term.Type(tuitest.CtrlC)
			term.Await("Stop here?")
			term.Type("s")
			close(goOn)
			term.Await("is open.")
			term.Await("workflow resume")
			term.Type(tuitest.Enter)
			term.want(o, 13)
			term.Await("Go on with:")

			term = o.sit(80, 24, nil, "ingress", "customise")
			term.Await("Open runs")
			term.Type(key)
			term.Await("[Report]")
			term.Type(tuitest.Enter)
			if verb == "resume" {
				term.want(o, 0)
				o.became("my-ingress", services)
				return
			}
			term.want(o, 12)
			o.swarm.Settle()
			if o.swarm.State() != before {
				t.Errorf("rolled back, and yet:\n%s\nwant\n%s", o.swarm.State(), before)
			}
		})
	}
}

// TestPlain is finished by a script of answers, wrong ones among them.
func TestPlain(t *testing.T) {
	script := []string{"no name!", "my-ingress", "10.11.0.1/16", "10.11.0.0/16", "10.11.0.2", "", "", "100000", "big", "1200", "", "", "y", "", "", "maybe", "detach", "ingress", "y", "y"}
	o := newOperator(t)
	services := o.services()
	r := o.want(o.answering(strings.Join(script, "\n")+"\n", "ingress", "customise", "--plain"), 0, "is no name for a network", "it should be 10.11.0.0/16", "Name [ingress]:", "error: invalid syntax", `error: "y" is neither true nor false`, "neither detach nor scale-to-zero",
		"$ weft ingress customise --name my-ingress --subnet 10.11.0.0/16 --gateway 10.11.0.2 --mtu 1200", "Type ingress to accept", "Done: run ")
	if strings.Contains(r.out, "\x1b") {
		t.Errorf("control sequences in plain output: %q", r.out)
	}
	o.became("my-ingress", services)
}

// TestPlainEnds has the answers end early: nothing is changed.
func TestPlainEnds(t *testing.T) {
	o := newOperator(t)
	before := o.swarm.State()
	script := strings.Repeat("\n", 11) + "ingress\ny\n"
	for n := range strings.Count(script, "\n") {
		in := strings.Join(strings.SplitAfter(script, "\n")[:n], "")
		o.want(o.answering(in, "ingress", "customise", "--plain", "--name=my-ingress"), 11, "nothing was changed")
		o.want(o.answering(in, "ingress", "customise", "--plain"), 11, "nothing was changed")
	}
	if o.swarm.State() != before {
		t.Errorf("something was changed:\n%s", o.swarm.State())
	}
}

// TestDumbTerminal asks line by line where pages can't be shown.
func TestDumbTerminal(t *testing.T) {
	o := newOperator(t)
	services := o.services()
	term := o.sit(80, 24, map[string]string{"TERM": "dumb"}, "ingress", "customise")
	term.AwaitWritten("Name [ingress]: ")
	term.Type("my-ingress\n\n\n\n\n\n\n\n\n\n\n")
	term.AwaitWritten("Type ingress to accept: ")
	term.Type("ingress\ny\ny\n")
	term.want(o, 0)
	term.AwaitWritten("Done: run ")
	if strings.Contains(term.Written(), "\x1b") {
		t.Errorf("control sequences on a dumb terminal: %q", term.Written())
	}
	o.became("my-ingress", services)
}

// halfWay takes the ingress network away by hand, as the documentation says.
func (o operator) halfWay() {
	o.Helper()
	for _, name := range []string{"api", "batch", "chosen", "dns", "mixed", "proxy", "range", "stats", "web"} {
		o.swarm.UpdateService(name, func(spec map[string]any) {
			endpoint := spec["EndpointSpec"].(map[string]any)
			var host []any
			for _, p := range endpoint["Ports"].([]any) {
				if p.(map[string]any)["PublishMode"] == "host" {
					host = append(host, p)
				}
			}
			endpoint["Ports"] = host
		})
	}
	o.swarm.Settle()
	o.want(o.answering("y\n", "network", "rm", "ingress"), 0)
	o.swarm.Settle()
}

func TestRepairInScripts(t *testing.T) {
	o := newOperator(t)
	services := o.services()
	o.want(o.weft("ingress", "repair"), 0, "nothing to repair")
	o.want(o.weft("ingress", "repair", "--mtu", "1200"), 1, "weft ingress customise")
	o.halfWay()
	o.want(o.weft("ingress", "show"), 0, "There is no ingress network", "weft ingress repair")
	o.want(o.weft("ingress", "repair"), 11, "--accept=restores-ports,restarts-tasks")
	o.want(o.weft("ingress", "repair", "--dry-run", "--mtu", "1400"), 0, "Repair: create ingress network ingress (a subnet of the default pool, MTU 1400), mend 9 services")
	o.want(o.weft("ingress", "repair", "--mtu", "1400", "--yes", "--accept", "restores-ports,restarts-tasks"), 0, "Done: run ")
	o.became("ingress", services)
	o.want(o.weft("ingress", "repair"), 0, "nothing to repair")
}

// TestRepairWizard has no form.
func TestRepairWizard(t *testing.T) {
	o := newOperator(t)
	services := o.services()
	o.halfWay()
	term := o.sit(80, 24, nil, "ingress", "repair")
	term.Await("[Plan]")
	term.Type(tuitest.Enter)
	term.Await("[Findings]")
	term.Type(tuitest.Enter)
	term.Await("Hazard 1 of 2: restores-ports")
	term.Type("y")
	term.Await("Hazard 2 of 2")
	term.Type("y")
	term.Await("Carry out this plan?")
	term.Type("y")
	term.Await("Done: Repair")
	term.Type(tuitest.Enter)
	term.want(o, 0)
	o.became("ingress", services)
}

// TestDamagedJournal says what a journal still tells, and how to go on without
// it.
func TestDamagedJournal(t *testing.T) {
	o := newOperator(t)
	services := o.services()
	stop := func() {}
	o.swarm.Before(1, func() { stop = o.swarm.FailAll(swarmtest.ServerError, swarmtest.On("POST", "/networks/create")) }, swarmtest.On("DELETE", "/networks/*"))
	o.want(o.weft(agreed(toNew()...)...), 13, "is open")
	stop()
	id := strings.TrimSpace(o.weft("workflow", "ls", "-q").out)
	path := filepath.Join(o.home, "weft", "runs", id+".journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[7] = strings.Replace(lines[7], `"step"`, `"stop"`, 1)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	o.want(o.weft("workflow", "ls"), 1, "damaged at line 8")
	for _, verb := range []string{"show", "resume", "rollback", "abort", "rm"} {
		o.want(o.weft("workflow", verb, id), 1, "damaged at line 8", "asked for by: weft ingress customise --name my-ingress", "steps done: 3 of",
			`line 1 of the file, member "secret"`, "weft ingress repair --take-over "+id, "weft workflow rm --force "+id)
	}
	o.want(o.weft("ingress", "repair", "--yes", "--accept", "restores-ports,restarts-tasks"), 10, "--take-over "+id)
	o.want(o.weft("ingress", "repair", "--yes", "--accept", "restores-ports,restarts-tasks", "--take-over", id), 0, "Done: run ")
	o.became("ingress", services)
	o.want(o.weft("workflow", "rm", "--force", id), 0, id)
	o.want(o.weft("workflow", "ls"), 0)
}
