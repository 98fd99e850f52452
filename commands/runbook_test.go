package commands_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/commands"
	"weft/commands/cmdenv"
	"weft/commands/ingress"
	"weft/commands/swarmtest"
	"weft/wizard"
)

const docs = "../docs"

// block gives the fenced block that follows a marker in a page.
func block(tb testing.TB, page, marker string) (before, text, after string) {
	tb.Helper()
	content, err := os.ReadFile(filepath.Join(docs, page))
	if err != nil {
		tb.Fatal(err)
	}
	head, rest, found := strings.Cut(string(content), "<!-- "+marker+" -->\n```")
	kind, rest, _ := strings.Cut(rest, "\n")
	text, tail, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		tb.Fatalf("%s has no block %s", page, marker)
	}
	return head + "<!-- " + marker + " -->\n```" + kind + "\n", text, "```\n" + tail
}

// keep compares a block with what it should be, or writes it anew.
func keep(t *testing.T, page, marker, want string) {
	t.Helper()
	before, text, after := block(t, page, marker)
	if *update {
		if err := os.WriteFile(filepath.Join(docs, page), []byte(before+want+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text != want {
		t.Errorf("%s, block %s:\n%s\nwant\n%s", page, marker, text, want)
	}
}

// TestRunbookPlan keeps the plan in the runbook equal to what is printed.
func TestRunbookPlan(t *testing.T) {
	o := newOperator(t)
	r := o.want(o.weft(toNew("--dry-run")...), 0)
	keep(t, "runbooks/replace-ingress.md", "plan", strings.TrimSpace(r.out)+"\n")
}

// TestRunbookCommands runs each command of the runbooks with --help: the
// command is there, and its flags are.
func TestRunbookCommands(t *testing.T) {
	for _, page := range []string{"runbooks/replace-ingress.md", "runbooks/ci.md", "workflow-json.md"} {
		content, err := os.ReadFile(filepath.Join(docs, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?m)^ {4,}(weft [^#\n]*)|`(weft [a-z][^`]*)`").FindAllStringSubmatch(string(content), -1) {
			line := strings.TrimSpace(m[1] + m[2])
			words := strings.Fields(line)[1:]
			r := operator{TB: t}.help(words)
			if r.code != 0 || len(words) > 1 && !strings.Contains(r.out, "Usage:  weft "+words[0]+" "+words[1]) {
				t.Errorf("%s: %s: %d %s", page, line, r.code, r.err)
			}
		}
	}
}

// help asks for the help of a command with its flags.
func (o operator) help(words []string) said {
	var out, errOut bytes.Buffer
	env := cmdenv.New(strings.NewReader(""), &out, &errOut, func(string) string { return "" })
	code := commands.Run(o.Context(), env, append(words, "--help"))
	return said{code, out.String(), errOut.String()}
}

// TestWorkflowJSON keeps the page about --json complete, and its example real.
func TestWorkflowJSON(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(docs, "workflow-json.md"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../wizard/event.go")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, m := range regexp.MustCompile(`(?:EventType|Result)? *= "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
		words = append(words, m[1])
	}
	for _, v := range []any{wizard.Event{}, wizard.Plan{}, wizard.Planned{}, wizard.Finding{}, wizard.Hazard{}} {
		for i := range reflect.TypeOf(v).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ",")
			words = append(words, name)
		}
	}
	if len(words) < 30 {
		t.Fatalf("only %d words found", len(words))
	}
	for _, word := range words {
		if word != "refused" && !strings.Contains(string(content), "`"+word+"`") {
			t.Errorf("%s is not described", word)
		}
	}

	o := newOperator(t)
	r := o.want(o.weft(agreed("ingress", "customise", "--name", "my-ingress", "--json")...), 0)
	var lines []string
	for line := range strings.Lines(r.out) {
		if strings.Contains(line, `"type":"plan"`) || len(lines) >= 4 && !strings.Contains(line, `"note"`) && !strings.Contains(line, `"outcome"`) {
			continue
		}
		line = regexp.MustCompile(`[0-9]{8}-[0-9]{6}-[0-9a-f]{4}`).ReplaceAllString(line, "20261123-142901-5f0c")
		line = regexp.MustCompile(`(detach|restore):[a-z0-9]+`).ReplaceAllString(line, "$1:cxz6xv55c3mbek0uknd6b6ob0")
		lines = append(lines, line)
	}
	lines = append(lines[:6:6], lines[len(lines)-1])
	for i, line := range lines { // how long things take is not what the page is about
		line = regexp.MustCompile(`"time":"[^"]*"`).ReplaceAllString(line, fmt.Sprintf(`"time":"2026-11-23T14:29:%02dZ"`, 2*i+1))
		lines[i] = regexp.MustCompile(`at most [0-9a-z.]+`).ReplaceAllString(line, "at most 27.4s")
	}
	keep(t, "workflow-json.md", "events", strings.Join(lines, ""))
}

// hurried is the weft of a process of its own whose swarm is in virtual time:
// waiting is asking so often that as much time passes there, and no port is
// dialed.
func hurried() int {
	env := cmdenv.System()
	env.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }
	socket := strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	api := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	env.Sleep = func(ctx context.Context, d time.Duration) error {
		for ; d > 0; d -= swarmtest.StepLength {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://swarm/_ping", nil)
			if err != nil {
				return err
			}
			resp, err := api.Do(req)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
		}
		return nil
	}
	return commands.Run(context.Background(), env, os.Args[1:], ingress.New)
}

// recipe runs a job of the CI page in a directory.
func recipe(t *testing.T, o operator, dir, job string) (code int, out string) {
	t.Helper()
	_, text, _ := block(t, "runbooks/ci.md", "job: "+job)
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "weft")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "WEFT_HURRY=1", "DOCKER_HOST=" + o.swarm.Host(), "XDG_STATE_HOME=" + o.home}
	said, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(said)
}

// TestRecipe runs the CI page's jobs: the plan is applied by another machine,
// and refused when the swarm has changed in between.
func TestRecipe(t *testing.T) {
	o := newOperator(t)
	dir := t.TempDir()
	if code, out := recipe(t, o, dir, "plan"); code != 0 || !strings.Contains(out, "Replace ingress network ingress") {
		t.Fatalf("plan: %d\n%s", code, out)
	}
	there := o.elsewhere()
	o.swarm.UpdateService("web", func(spec map[string]any) { spec["Labels"] = map[string]any{"deployed": "meanwhile"} })
	services := o.services()
	if code, out := recipe(t, there, dir, "apply"); code != 10 || !strings.Contains(out, "plan again") {
		t.Errorf("apply to another swarm: %d\n%s", code, out)
	}
	if code, out := recipe(t, o, dir, "plan"); code != 0 {
		t.Fatalf("plan: %d\n%s", code, out)
	}
	if code, out := recipe(t, there, dir, "apply"); code != 0 || !strings.Contains(out, "done") {
		t.Fatalf("apply: %d\n%s", code, out)
	}
	there.became("my-ingress", services)
}
