package dockerapi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/engine/dockerapi"
)

func TestCLIFiles(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		dir := t.TempDir()
		c.says("run", "-d", "--name", "web", "--network", "none", "weft/probe")
		c.says("cp", "web:/etc/hostname", filepath.Join(dir, "copy"))
		if got, err := os.ReadFile(filepath.Join(dir, "copy")); err != nil || string(got) != "fake\n" {
			t.Errorf("%q %v", got, err)
		}
		c.says("cp", "-a", filepath.Join(dir, "copy"), "web:/etc/other")
		if got, err := c.Written("web"); err != nil || got != (dockerapi.WriteOptions{KeepKind: true, OwnedByUser: true}) {
			t.Errorf("%+v %v", got, err)
		}
		if out, _, _ := c.docker("", "cp", "web:/etc/other", "-"); !strings.HasPrefix(out, "other\x00") || !strings.Contains(out, "fake\n") {
			t.Errorf("%q", out)
		}
		if out, _, _ := c.docker("", "export", "web"); !strings.Contains(out, "etc/hostname\x00") || !strings.Contains(out, "etc/other\x00") {
			t.Errorf("%q", out)
		}
		c.fails(1, "/nope", "cp", "web:/nope", dir) // 20.10 has words of its own
		c.fails(1, "nope", "cp", "nope:/etc/hostname", dir)
		c.fails(1, "No such container: nope", "export", "nope")
		c.fails(1, "extraction point is not a directory", "cp", filepath.Join(dir, "copy"), "web:/etc/hostname/x")
	})
}

func TestArchiveNeedsPath(t *testing.T) {
	b := newBed(t)
	b.refused("GET", "/containers/x/archive?path=/a", "", 404, "No such container: x")
	for _, method := range []string{"GET", "PUT"} {
		b.refused(method, "/containers/x/archive", "", 400, "bad parameter: path cannot be empty")
	}
}
