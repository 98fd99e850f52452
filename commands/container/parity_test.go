package container_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/commands"
	"weft/commands/cmdtest"
	"weft/engine/testenv"
)

var update = flag.Bool("update", false, "write anew what docker sends and says, for which docker must be installed")

// recorder is an engine that makes every container and keeps what it was to
// make it from.
type recorder struct {
	host string

	mu     sync.Mutex // guards what follows
	bodies []string
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-rec") // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "api.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{host: "unix://" + socket}
	server := httptest.NewUnstartedServer(r)
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return r
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Api-Version", "1.50") // what docker 28.2 speaks at most
	w.Header().Set("Ostype", "linux")
	w.Header().Set("Content-Type", "application/json")
	body, _ := io.ReadAll(req.Body)
	if strings.HasSuffix(req.URL.Path, "/containers/create") {
		r.mu.Lock()
		r.bodies = append(r.bodies, req.URL.RawQuery+"\n"+string(body))
		r.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id":"c1"}`)
		return
	}
	if !strings.HasSuffix(req.URL.Path, "/_ping") {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"page not found"}`)
	}
}

// take gives what was asked for since the last call.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	bodies := r.bodies
	r.bodies = nil
	return strings.Join(bodies, "\n")
}

// outcome is what a command line came to: what it asked for, as lines, and
// what it said.
type outcome struct {
	asked []string
	code  int
	said  string
}

func (r *recorder) weft(t *testing.T, args []string) outcome {
	t.Helper()
	s := cmdtest.NewSession(t, "", map[string]string{"DOCKER_HOST": r.host})
	code := commands.Run(context.Background(), s.Env, args)
	return outcome{asked: flatten(t, r.take()), code: code, said: s.Err.String()}
}

func (r *recorder) docker(t *testing.T, args []string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+r.host, "DOCKER_CONFIG="+t.TempDir(), "DOCKER_CONTENT_TRUST=", "DOCKER_CLI_HINTS=false")
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{
		asked: flatten(t, r.take()), code: cmd.ProcessState.ExitCode(),
		said: strings.ReplaceAll(said.String(), "docker", "weft"),
	}
}

// flatten gives a request as a line per value: its query, then the body's
// values by their path. Docker keeps variables and binds in no order.
func flatten(t *testing.T, request string) []string {
	t.Helper()
	query, body, ok := strings.Cut(request, "\n")
	if !ok {
		return nil
	}
	var value any
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	lines := map[string]bool{}
	if query != "" {
		lines["?"+query] = true
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, field := range v {
				walk(path+"."+key, field)
			}
			if len(v) == 0 {
				lines[path+"={}"] = true
			}
		case []any:
			data, _ := json.Marshal(inOrder(path, v))
			lines[path+"="+string(data)] = true
		default:
			data, _ := json.Marshal(v)
			lines[path+"="+string(data)] = true
		}
	}
	walk("", value)
	return slices.Sorted(maps.Keys(lines))
}

// inOrder sorts the lists whose order says nothing. Of several variables with
// one name the last counts.
func inOrder(path string, list []any) []any {
	switch path {
	case ".Env":
		last := map[string]any{}
		for _, v := range list {
			name, _, _ := strings.Cut(v.(string), "=")
			last[name] = v
		}
		list = slices.Collect(maps.Values(last))
	case ".HostConfig.Binds", ".HostConfig.Ulimits":
	default:
		return list
	}
	return slices.SortedFunc(slices.Values(list), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

// changes gives what a request has that the plain one has not, and with a minus
// what it lacks.
func (o outcome) changes(plain outcome) []string {
	var out []string
	for _, line := range o.asked {
		if !slices.Contains(plain.asked, line) {
			out = append(out, line)
		}
	}
	for _, line := range plain.asked {
		if !slices.Contains(o.asked, line) {
			out = append(out, "- "+line)
		}
	}
	if len(out) == 0 {
		return []string{"nothing else"}
	}
	return out
}

// plainArgs is the command line that says nothing but the image.
const plainArgs = "create img"

// records is a file of what docker does, in paragraphs: a command line and,
// indented, what came of it.
type records map[string]string

func readRecords(t *testing.T, path string) records {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := records{}
	for paragraph := range strings.SplitSeq(string(data), "\n\n") {
		args, rest, _ := strings.Cut(strings.TrimSpace(paragraph), "\n")
		out[args] = rest
	}
	return out
}

func (r records) write(t *testing.T, path string, order []string) {
	t.Helper()
	var b strings.Builder
	for i, args := range order {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(args + "\n" + r[args] + "\n")
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func indent(lines []string) string { return "  " + strings.Join(lines, "\n  ") }

// words splits a command line; single quotes hold a word together.
func words(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?:'[^']*'|[^\s'])+`).FindAllString(line, -1) {
		out = append(out, strings.ReplaceAll(m, "'", ""))
	}
	return out
}

// client runs a command line.
type client func(t *testing.T, args []string) outcome

// compare runs every command line and holds what weft does to what docker was
// recorded to do, and the record to the docker that is installed.
func compare(t *testing.T, path string, order []string, show func(t *testing.T, run client, args string) string) {
	t.Helper()
	r := newRecorder(t)
	docker, err := exec.LookPath("docker")
	if *update {
		if err != nil {
			t.Fatal(err)
		}
		fresh := records{}
		for _, args := range order {
			fresh[args] = show(t, r.docker, args)
		}
		fresh.write(t, path, order)
	}
	recorded := readRecords(t, path)
	for _, args := range order {
		t.Run(args, func(t *testing.T) {
			want, ok := recorded[args]
			if !ok {
				t.Fatal("not recorded: run this test with -update where docker is installed")
			}
			if got := show(t, r.weft, args); got != want {
				t.Errorf("weft:\n%s\ndocker:\n%s", got, want)
			}
			if *update {
				return
			}
			if docker == "" {
				testenv.Lacks(t, "as it is on record; docker, which is not installed, was not asked: %v", err)
			}
			if got := show(t, r.docker, args); got != want {
				t.Errorf("docker now:\n%s\nrecorded:\n%s", got, want)
			}
		})
	}
}

// TestSameRequest gives weft and docker the same command lines and expects the
// same bodies.
func TestSameRequest(t *testing.T) {
	t.Chdir("testdata")
	var plain outcome // of the same client: this line comes first
	compare(t, "requests.txt", requestLines(), func(t *testing.T, run client, args string) string {
		got := run(t, words(args))
		if got.code != 0 {
			t.Fatalf("%s: exit code %d\n%s", args, got.code, got.said)
		}
		if args == plainArgs {
			plain = got
			return indent(got.asked)
		}
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer(wd, "$PWD", filepath.Dir(wd), "$UP").Replace(indent(got.changes(plain)))
	})
}

// TestSameRefusal gives both the same mistakes and expects the same words and
// exit codes.
func TestSameRefusal(t *testing.T) {
	t.Chdir("testdata")
	compare(t, "refusals.txt", refusalLines(), func(t *testing.T, run client, args string) string {
		got := run(t, words(args))
		if len(got.asked) > 0 {
			t.Errorf("%s: a container was made", args)
		}
		said := slices.DeleteFunc(strings.Split(strings.TrimRight(got.said, "\n"), "\n"), func(line string) bool { return line == "" })
		return indent(append([]string{fmt.Sprint("exit code ", got.code)}, said...))
	})
}
