package main_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/engine/dockerdtest"
)

// TestParity runs one script of commands on a real dockerd and on the engine,
// with weft and with the official client. Each client must not see a
// difference between the two.
func TestParity(t *testing.T) {
	dockerdtest.Require(t)
	bin := weft(t)
	bed := dockerdtest.Start(t, dockerdtest.Options{Hosts: 1})
	bed.Hosts[0].Import("weft/probe:latest", probeTree(t, bin), `ENTRYPOINT ["/probe"]`, `CMD ["serve"]`)
	_, nodes := testLab(t, 1)
	engines := map[string]struct{ socket, addr string }{
		"dockerd": {bed.Hosts[0].Socket, bed.Hosts[0].Addr.String()},
		"engine":  {nodes[0].Socket(), nodes[0].addr()},
	}
	for _, client := range []string{"/usr/bin/docker", bin} {
		t.Run(filepath.Base(client), func(t *testing.T) {
			docker := transcript(t, client, engines["dockerd"].socket, engines["dockerd"].addr)
			ours := transcript(t, client, engines["engine"].socket, engines["engine"].addr)
			if diff := cmp.Diff(docker, ours); diff != "" {
				t.Errorf("dockerd (-) and the engine (+) differ:\n%s", diff)
			}
		})
	}
}

// probeTree is the file system of the image weft/probe for a real dockerd: the
// same binary under the same name.
func probeTree(tb testing.TB, bin string) []byte {
	tb.Helper()
	program, err := os.ReadFile(bin)
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range []string{"etc/", "proc/", "sys/", "dev/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "probe", Mode: 0o755, Size: int64(len(program))}); err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// step is one command of the script and what came of it.
type step struct {
	Command  string
	Code     int
	Out, Err []string
}

func transcript(t *testing.T, client, socket, addr string) []step {
	t.Helper()
	f, err := os.Open("testdata/parity.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var steps []step
	for in := bufio.NewScanner(f); in.Scan(); {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		command := func(line string) result {
			argv := []string{client, "--host", "unix://" + socket}
			return run(t.Context(), t, []string{"DOCKER_CONFIG=" + t.TempDir()},
				append(argv, split(strings.ReplaceAll(line, "ADDR", addr))...)...)
		}
		if want, rest, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(want, "until ") {
			want = strings.TrimPrefix(strings.TrimPrefix(want, "until "), "gone")
			await(t, time.Minute, func() (bool, string) {
				r := command(rest)
				return strings.TrimSpace(r.out) == want, rest + ": " + r.String()
			})
			continue
		}
		r := command(line)
		steps = append(steps, step{line, r.code, normal(r.out, addr), normal(r.err, addr)})
	}
	return steps
}

// split cuts a command at its spaces, but not inside a template.
func split(line string) []string {
	var words []string
	depth, from := 0, 0
	for i, c := range line + " " {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		case ' ':
			if depth == 0 {
				words = append(words, (line + " ")[from:i])
				from = i + 1
			}
		}
	}
	return words
}

// variable is what differs from one run to the next.
var variable = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`SWMTKN-1-[a-z0-9]{50}-[a-z0-9]{25}`), "TOKEN"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "HEX"},
	{regexp.MustCompile(`\b[a-z0-9]{25}\b`), "ID"},
	{regexp.MustCompile(`\b[a-z0-9]{12}\b`), "ID"},
	{regexp.MustCompile(`time=[0-9.]+ ms|= [0-9./]+ ms|time [0-9]+ms`), "MS"},
	{regexp.MustCompile(`^host1/|^d-host1/`), "HOST/"},
	// docker's CLI says this, or ends before it can, when it couldn't start a container.
	{regexp.MustCompile(`^time="[^"]*" level=error msg="error waiting for container: context canceled"$`), ""},
	// dockerd 20.10 says less than 28 about the same failures, and its client
	// wraps what the daemon says differently.
	{regexp.MustCompile(`failed to set up container networking: `), ""},
	{regexp.MustCompile(`Invalid filter`), "invalid filter"},
}

func normal(text, addr string) []string {
	text = strings.ReplaceAll(text, addr, "ADDR")
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		for _, v := range variable {
			line = v.form.ReplaceAllString(line, v.as)
		}
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
