package dockerapi

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/compatibility.md")

// upstream reads the endpoints of dockerd from the source of the version this
// module requires.
func upstream(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/docker/docker").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "api/server/router/*/*.go"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	call := regexp.MustCompile(`router\.New(Get|Post|Put|Delete|Head)Route\("([^"]+)"`)
	greedy := regexp.MustCompile(`\{(\w+):\.[*+]\}`)
	var endpoints []string
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(src), -1) {
			path := strings.TrimSuffix(greedy.ReplaceAllString(m[2], "{$1...}"), "/")
			endpoints = append(endpoints, strings.ToUpper(m[1])+" "+path)
		}
	}
	slices.Sort(endpoints)
	return slices.Compact(endpoints)
}

func TestTableIsDockers(t *testing.T) {
	// exec IDs have no slash: one segment is enough, and net/http/pprof's
	// profiles are one route.
	fold := func(s string) string {
		s = strings.Replace(s, "/exec/{id...}", "/exec/{id}", 1)
		s = strings.Replace(s, "/exec/{name...}", "/exec/{name}", 1)
		return regexp.MustCompile(`/debug/pprof/\w+$`).ReplaceAllString(s, "/debug/pprof/{name}")
	}
	var want, got []string
	for _, e := range upstream(t) {
		want = append(want, fold(e))
	}
	for _, r := range routes() {
		got = append(got, r.method+" "+r.pattern)
	}
	slices.Sort(want)
	slices.Sort(got)
	want = slices.Compact(want)
	for _, e := range want {
		if !slices.Contains(got, e) {
			t.Errorf("not in the table: %s", e)
		}
	}
	for _, e := range got {
		if !slices.Contains(want, e) {
			t.Errorf("dockerd does not have: %s", e)
		}
	}
	if len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Error("an endpoint is there twice")
	}
}

func TestTableIsConsistent(t *testing.T) {
	for _, r := range routes() {
		if (r.handle == nil) != (r.support == absent) || (r.support == same) != (r.note == "") {
			t.Errorf("%s %s: %s, note %q, handler there is %v", r.method, r.pattern, r.support, r.note, r.handle != nil)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct{ pattern, path, want string }{
		{"/networks", "/networks/", "map[]"},
		{"/networks/{id...}", "/networks/a/b", "map[id:a/b]"},
		{"/networks/{id...}", "/networks", "no"},
		{"/networks/{id...}/connect", "/networks/a/connect", "map[id:a]"},
		{"/networks/{id...}/connect", "/networks/a/b/connect", "map[id:a/b]"},
		{"/networks/{id...}/connect", "/networks/connect", "no"},
		{"/containers/{name...}/json", "/containers//a/json", "map[name:a]"},
		{"/containers/{name}/checkpoints/{checkpoint}", "/containers/a/checkpoints/b", "map[checkpoint:b name:a]"},
		{"/services/{id}", "/services/a/b", "no"},
		{"/services/{id}/update", "/services/a/logs", "no"},
	} {
		got := "no"
		if vars, ok := match(split(c.pattern), split(c.path)); ok {
			got = fmt.Sprint(vars)
		}
		if got != c.want {
			t.Errorf("%s on %s: %s, want %s", c.pattern, c.path, got, c.want)
		}
	}
}

// compatibility renders the table.
func compatibility() string {
	var b strings.Builder
	count := map[support]int{}
	all := routes()
	for _, r := range all {
		count[r.support]++
	}
	fmt.Fprintf(&b, `# Compatibility with the Docker Engine API

The built-in engine serves versions %s to %s. These are all endpoints of dockerd 28.5.2: %d are the same, %d differ
in what is noted, %d are absent. An absent one answers 501 with the note as its message; a path that is not here answers 404.

Generated from the route table of engine/dockerapi: `+"`go test ./engine/dockerapi -run Compatibility -update`"+`.

| endpoint | support | note |
|---|---|---|
`, MinVersion, MaxVersion, count[same], count[differs], count[absent])
	slices.SortStableFunc(all, func(x, y route) int {
		return strings.Compare(x.pattern+" "+x.method, y.pattern+" "+y.method)
	})
	for _, r := range all {
		fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", r.method, strings.ReplaceAll(r.pattern, "...}", "}"), r.support, r.note)
	}
	return b.String()
}

func TestCompatibilityDocument(t *testing.T) {
	const path = "../../docs/compatibility.md"
	want := compatibility()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the route table says: run with -update", path)
	}
}
