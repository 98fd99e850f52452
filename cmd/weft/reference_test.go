package main_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/cli anew")

// TestReference compares docs/cli with what every command says of itself: one
// page for each command that has others below it, and README.md for the rest.
func TestReference(t *testing.T) {
	r := &reference{t: t, bin: weft(t), pages: map[string]*bytes.Buffer{}}
	r.describe(nil, "README.md")
	dir := filepath.Join("..", "..", "docs", "cli")
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range r.pages {
			if err := os.WriteFile(filepath.Join(dir, name), text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	var have []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("%v: run `make docs`", err)
	}
	for _, e := range entries {
		have = append(have, e.Name())
	}
	for name, want := range r.pages {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%v: run `make docs`", err)
			continue
		}
		if diff := cmp.Diff(string(got), want.String()); diff != "" {
			t.Errorf("docs/cli/%s differs from what the commands say (+): run `make docs`\n%s", name, diff)
		}
		have = slices.DeleteFunc(have, func(h string) bool { return h == name })
	}
	if len(have) > 0 {
		t.Errorf("docs/cli has pages of no command: %v: run `make docs`", have)
	}
}

// reference collects pages.
type reference struct {
	t     *testing.T
	bin   string
	pages map[string]*bytes.Buffer
}

// describe adds a command's help to a page, then those below it.
func (r *reference) describe(path []string, page string) {
	r.t.Helper()
	help := r.help(path)
	below := subcommands(help)
	if len(path) == 1 && len(below) > 0 {
		page = path[0] + ".md"
	}
	b := r.pages[page]
	if b == nil {
		b = &bytes.Buffer{}
		r.pages[page] = b
		title := strings.Join(append([]string{"weft"}, path...), " ")
		fmt.Fprintf(b, "# %s\n\nWritten by `make docs` from the commands' help.\n", title)
	}
	if len(path) > 1 || page == "README.md" && len(path) > 0 {
		fmt.Fprintf(b, "\n## weft %s\n", strings.Join(path, " "))
	}
	fmt.Fprintf(b, "\n```\n%s```\n", help)
	for _, name := range below {
		r.describe(append(slices.Clone(path), name), page)
	}
}

func (r *reference) help(path []string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.bin, append(slices.Clone(path), "--help")...)
	cmd.Env = []string{"HOME=/root", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("weft %s --help: %v\n%s", strings.Join(path, " "), err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Join(lines, "\n") + "\n"
}

// subcommands reads the names in a help text's sections of commands.
func subcommands(help string) []string {
	var names []string
	inside := false
	for line := range strings.Lines(help) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasSuffix(line, "Commands:") && !strings.HasPrefix(line, " "):
			inside = true
		case !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "   "):
			inside = false
		case inside:
			names = append(names, strings.Fields(line)[0])
		}
	}
	slices.Sort(names)
	return names
}
