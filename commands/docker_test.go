package commands_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/commands"
	"weft/commands/cmdtest"
	"weft/engine/testenv"
)

// spoken is a command line that weft and docker are given alike.
type spoken struct {
	words string // single quotes hold a word together; $DIR is a directory of the test's own
	in    string // typed
	files bool   // the directory has files, and is looked at afterwards

	unordered bool // the requests come in any order
}

// heard is what a command line asked of the engine and what it said, a line
// each: req, out, err, and the exit code.
func heard(t *testing.T, requests, out, errOut, dir string, code int) string {
	t.Helper()
	var b strings.Builder
	for _, part := range []struct{ name, text string }{{"req", requests}, {"out", out}, {"err", errOut}} {
		text := strings.TrimSuffix(strings.ReplaceAll(part.text, dir, "$DIR"), "\n")
		text = regexp.MustCompile(`\x00+`).ReplaceAllString(text, "~") // archives are padded
		if text == "" {
			continue
		}
		for line := range strings.SplitSeq(text, "\n") {
			b.WriteString(strings.TrimRight("  "+part.name+"| "+line, " ") + "\n")
		}
	}
	fmt.Fprintf(&b, "  exit code %d", code)
	return b.String()
}

// tell runs a command line with a client, on an engine of its own.
func (s spoken) tell(t *testing.T, answers func(*cmdtest.Server), client func(t *testing.T, host, in string, args []string) (out, errOut string, code int)) string {
	t.Helper()
	server := cmdtest.New(t)
	server.PingHeader("Api-Version", "1.50") // what docker 28.2 speaks at most
	answers(server)
	dir := t.TempDir()
	if s.files {
		makeFiles(t, dir)
	}
	var args []string
	for _, word := range splitWords(s.words) {
		args = append(args, strings.ReplaceAll(word, "$DIR", dir))
	}
	out, errOut, code := client(t, server.Host(), s.in, args)
	requests := server.Requests()
	if s.unordered {
		lines := strings.Split(requests, "\n")
		slices.Sort(lines)
		requests = strings.Join(lines[1:], "\n")
	}
	text := heard(t, requests, out, errOut, dir, code)
	if s.files {
		text += files(t, dir)
	}
	return text
}

func splitWords(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

func tellWeft(t *testing.T, host, in string, args []string) (out, errOut string, code int) {
	t.Helper()
	s := cmdtest.NewSession(t, in, map[string]string{"DOCKER_HOST": host})
	code = commands.Run(context.Background(), s.Env, args)
	return s.Out.String(), s.Err.String(), code
}

func tellDocker(t *testing.T, host, in string, args []string) (out, errOut string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+host, "DOCKER_CONFIG="+t.TempDir(), "DOCKER_CONTENT_TRUST=", "DOCKER_CLI_HINTS=false")
	cmd.Stdin = strings.NewReader(in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	rename := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), "docker", "weft") }
	return rename(stdout), rename(stderr), cmd.ProcessState.ExitCode()
}

// TestLikeDocker gives weft and docker the same command lines and the same
// engine, and expects the same requests, output and exit codes. What docker
// does is also on record, in testdata/like, for where it is not installed;
// -update writes it anew.
func TestLikeDocker(t *testing.T) {
	for name, suite := range map[string]struct {
		answers func(*cmdtest.Server)
		lines   []spoken
	}{
		"volume": {volumeAnswers, volumeLines()},
		"cp":     {copyAnswers, copyLines()},
		"stats":  {statsAnswers, statsLines()},
		"verbs":  {verbAnswers, verbLines()},
	} {
		t.Run(name, func(t *testing.T) {
			likeDocker(t, filepath.Join("testdata", "like", name+".txt"), suite.answers, suite.lines)
		})
	}
}

func likeDocker(t *testing.T, path string, answers func(*cmdtest.Server), lines []spoken) {
	t.Helper()
	_, err := exec.LookPath("docker")
	installed := err == nil
	if *update && installed {
		var b strings.Builder
		for _, line := range lines {
			fmt.Fprintf(&b, "%s\n%s\n", line.words+typed(line.in), line.tell(t, answers, tellDocker))
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]string{}
	key := ""
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		if !strings.HasPrefix(line, "  ") {
			key = line
			continue
		}
		recorded[key] = strings.TrimPrefix(recorded[key]+"\n"+line, "\n")
	}
	for _, line := range lines {
		t.Run(line.words+typed(line.in), func(t *testing.T) {
			want, ok := recorded[line.words+typed(line.in)]
			if !ok {
				t.Fatal("not recorded: run this test with -update where docker is installed")
			}
			if got := line.tell(t, answers, tellWeft); got != want {
				t.Errorf("weft:\n%s\ndocker:\n%s", got, want)
			}
			if *update {
				return
			}
			if !installed {
				testenv.Lacks(t, "as it is on record; docker, which is not installed, was not asked: %v", err)
			}
			if got := line.tell(t, answers, tellDocker); got != want {
				t.Errorf("docker now:\n%s\nrecorded:\n%s", got, want)
			}
		})
	}
}

// typed shows what is typed behind a command line.
func typed(in string) string {
	switch {
	case in == "":
		return ""
	case strings.Contains(in, "\x00"):
		return " < archive"
	}
	return fmt.Sprintf(" < %q", in)
}
