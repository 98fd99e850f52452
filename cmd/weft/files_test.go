package main_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files copies into containers and out of them, with docker's command line and
// with weft's, while they run and while they don't.
func files(t *testing.T, n node) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "tree/sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "tree/sub/page"), []byte("from outside"), 0o640))
	must(t, os.Symlink("sub/page", filepath.Join(dir, "tree/link")))
	must(t, os.WriteFile(filepath.Join(dir, "beside"), []byte("the host's"), 0o600))
	n.does(t, "run", "-d", "--name", "holder", "--network", "none", "-v", "kept:/kept", "-v", "kept:/locked:ro", "--tmpfs", "/tmp", "busybox")
	n.does(t, "exec", "holder", "sh", "-c", "echo inside >/file; echo of the tmpfs >/tmp/t; ln -s "+filepath.Join(dir, "beside")+" /out; ln -s "+dir+" /outdir")
	for state, commands := range map[string]func(args ...string) result{
		"docker, while it runs": func(args ...string) result { return n.docker(t, args...) },
		"weft, while it runs":   func(args ...string) result { return n.try(t, args...) },
	} {
		copies(t, n, state, dir, commands)
	}
	if r := n.docker(t, "cp", "holder:/tmp/t", filepath.Join(dir, "t")); r.code != 0 {
		t.Errorf("from a tmpfs: %v", r)
	}
	n.does(t, "stop", "holder")
	copies(t, n, "docker, stopped", dir, func(args ...string) result { return n.docker(t, args...) })
	exported := filepath.Join(dir, "exported.tar")
	n.does(t, "export", "-o", exported, "holder")
	names := tarNames(t, exported)
	if !names["file"] || !names["bin/busybox"] || names["kept/tree/sub/page"] {
		t.Errorf("exported: %v", names)
	}
	// What was copied while it was stopped is there when it runs.
	n.does(t, "start", "holder")
	if got := n.does(t, "exec", "holder", "cat", "/kept/tree/sub/page", "/new/link"); got != "from outsidefrom outside" {
		t.Errorf("copied in: %q", got)
	}
	n.does(t, "rm", "-f", "holder")
	n.does(t, "run", "-d", "--name", "sealed", "--network", "none", "--read-only", "busybox")
	if r := n.docker(t, "cp", filepath.Join(dir, "beside"), "sealed:/"); r.code != 1 || !strings.Contains(r.err, "container rootfs is marked read-only") {
		t.Errorf("into a read-only root: %v", r)
	}
	n.does(t, "rm", "-f", "sealed")
	n.does(t, "volume", "rm", "kept")
}

func copies(t *testing.T, n node, state, dir string, command func(args ...string) result) {
	t.Helper()
	for _, c := range []struct {
		args []string
		want string // in an error; empty: none
	}{
		{[]string{"cp", filepath.Join(dir, "tree"), "holder:/new"}, ""},
		{[]string{"cp", filepath.Join(dir, "tree"), "holder:/kept"}, ""},
		{[]string{"cp", filepath.Join(dir, "tree"), "holder:/locked"}, "mounted volume is marked read-only"},
		{[]string{"cp", "holder:/nope", dir}, "Could not find the file /nope in container holder"},
		{[]string{"cp", "-L", "holder:/out", filepath.Join(dir, "stolen")}, "Could not find the file"},
		{[]string{"cp", "holder:/outdir/beside", filepath.Join(dir, "stolen")}, "Could not find the file"},
		{[]string{"cp", filepath.Join(dir, "tree/sub/page"), "holder:/outdir/beside"}, "Could not find the file"},
		{[]string{"cp", "holder:/file", filepath.Join(dir, "copy")}, ""},
		{[]string{"cp", "holder:/kept/tree/sub", filepath.Join(dir, "copied")}, ""},
	} {
		r := command(c.args...)
		if (r.code == 0) != (c.want == "") || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: %v: %v", state, c.args, r)
		}
	}
	for name, want := range map[string]string{"copy": "inside\n", "copied/page": "from outside", "beside": "the host's"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %s: %q %v", state, name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "stolen")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: a file of the host's came out of a container: %v", state, err)
	}
	for _, name := range []string{"copy", "copied"} {
		must(t, os.RemoveAll(filepath.Join(dir, name)))
	}
}

func tarNames(t *testing.T, archive string) map[string]bool {
	t.Helper()
	f, err := os.Open(archive)
	must(t, err)
	defer func() { _ = f.Close() }()
	out := map[string]bool{}
	for r := tar.NewReader(f); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		must(t, err)
		out[head.Name] = true
	}
}
