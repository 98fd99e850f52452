package commands_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"weft/commands/cmdtest"
)

// makeFiles fills a directory with something to copy, and to copy over.
func makeFiles(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"tree/sub", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"file": "hello", "tree/a": "A", "tree/sub/b": "BB", "a:b": "colon"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"tolink": "file", "todir": "tree", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
}

// files gives what a directory holds that makeFiles did not put there.
func files(t *testing.T, dir string) string {
	t.Helper()
	before := t.TempDir()
	makeFiles(t, before)
	known := listing(t, before)
	var b strings.Builder
	for line := range strings.SplitSeq(listing(t, dir), "\n") {
		if line != "" && !strings.Contains("\n"+known, "\n"+line+"\n") {
			b.WriteString("\n  got| " + line)
		}
	}
	return b.String()
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s", info.Mode(), name)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", bytes.ReplaceAll(data, []byte{0}, nil))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			b.WriteString(" -> " + target)
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pathStat is the header in which the API describes a path.
func pathStat(s container.PathStat) map[string]string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // a test's own value
	}
	return map[string]string{"X-Docker-Container-Path-Stat": base64.StdEncoding.EncodeToString(data)}
}

// packed is an entry of an archive.
type packed struct{ name, text string }

func entry(name, text string) packed { return packed{name, text} }

func tarOf(entries ...packed) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		head := tar.Header{Name: e.name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(e.text))}
		if strings.HasSuffix(e.name, "/") {
			head.Typeflag, head.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(&head); err != nil {
			panic(err) // a test's own value
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// copyAnswers are containers of which each has one path that counts.
func copyAnswers(s *cmdtest.Server) {
	gone := cmdtest.Answer{Status: 404, Body: `{"message":"Could not find the file /x in container"}`}
	for name, c := range map[string]struct {
		stat    container.PathStat
		archive string
	}{
		"file": {container.PathStat{Name: "f", Mode: 0o644}, tarOf(entry("f", "inside"))},
		"dir":  {container.PathStat{Name: "d", Mode: os.ModeDir | 0o755}, tarOf(entry("d/", ""), entry("d/x", "X"), entry("d/sub/", ""), entry("d/sub/y", "Y"))},
		"link": {container.PathStat{Name: "l", Mode: os.ModeSymlink | 0o777, LinkTarget: "real"}, tarOf(entry("real", "target"))},
		"dev":  {container.PathStat{Name: "z", Mode: os.ModeDevice | 0o666}, ""},
		"evil": {container.PathStat{Name: "d", Mode: os.ModeDir | 0o755}, tarOf(entry("d/", ""), entry("d/../../up", "up"))},
	} {
		head := pathStat(c.stat)
		s.AnswerWith("HEAD /containers/"+name+"/archive", cmdtest.Answer{Status: 200, Header: head})
		s.AnswerWith("GET /containers/"+name+"/archive", cmdtest.Answer{Status: 200, Header: head, Body: c.archive})
		s.Answer("PUT /containers/"+name+"/archive", 200, "")
	}
	s.AnswerWith("HEAD /containers/none/archive", gone)
	s.AnswerWith("GET /containers/none/archive", gone)
	s.Answer("PUT /containers/none/archive", 200, "")
	s.Answer("PUT /containers/full/archive", 500, `{"message":"no space left on device"}`)
	s.AnswerWith("HEAD /containers/full/archive", cmdtest.Answer{Status: 200, Header: pathStat(container.PathStat{Mode: os.ModeDir | 0o755})})
}

func copyLines() []spoken {
	var lines []spoken
	for _, words := range []string{
		// Out of a container.
		"cp file:/a/f $DIR/new", "cp file:/a/f $DIR", "cp file:/a/f $DIR/empty/", "cp file:/a/f $DIR/file",
		"cp file:/a/f $DIR/new/", "cp file:/a/f $DIR/no/such/f", "cp file:/a/f $DIR/tolink", "cp file:/a/f $DIR/todir", "cp file:/a/f $DIR/dangling",
		"cp file:/a/f /dev/null", "cp file:/a/f $DIR/file/x",
		"cp dir:/a/d $DIR/new", "cp dir:/a/d $DIR/empty", "cp dir:/a/d/. $DIR/empty", "cp dir:/a/d $DIR/file", "cp dir:/a/d/ $DIR/new/",
		"cp link:/a/l $DIR/new", "cp -L link:/a/l $DIR/new", "cp -L link:/a/l $DIR/empty", "cp -L file:/a/f $DIR/new", "cp -a file:/a/f $DIR/new",
		"cp none:/x $DIR/new", "cp -L none:/x $DIR/new", "cp -q=false file:/a/f $DIR/new", "cp -q file:/a/f $DIR/new",
		"cp evil:/a/d $DIR/empty", "container cp file:/a/f $DIR/new",
		// Into a container.
		"cp $DIR/file none:/new", "cp $DIR/file file:/a/f", "cp $DIR/file dir:/a/d", "cp $DIR/file dir:/a/d/",
		"cp $DIR/file link:/a/l", "cp $DIR/file dev:/dev/z",
		"cp $DIR/tree none:/new", "cp $DIR/tree dir:/a/d", "cp $DIR/tree/. dir:/a/d", "cp $DIR/tree/ none:/new/",
		"cp $DIR/tolink dir:/d", "cp -L $DIR/tolink dir:/d", "cp -L $DIR/todir dir:/d", "cp $DIR/todir/ dir:/d", "cp -L $DIR/dangling dir:/d",
		"cp $DIR/missing dir:/d", "cp $DIR/file/ dir:/d", "cp -a $DIR/file dir:/d", "cp -q=false $DIR/file dir:/d", "cp $DIR/file full:/d",
		"cp $DIR/a:b dir:/d",
		// Neither.
		"cp dir:/a file:/b", "cp $DIR/file $DIR/x", "cp '' dir:/a", "cp dir:/a ''", "cp x", "cp ./a:b ./c",
	} {
		lines = append(lines, spoken{words: words, files: true})
	}
	archive := tarOf(entry("one", "1"), entry("two/", ""))
	return append(lines,
		spoken{words: "cp file:/a/f -"},
		spoken{words: "cp none:/a/f -"},
		spoken{words: "cp - dir:/d", in: archive},
		spoken{words: "cp -a -q=false - dir:/d", in: archive},
		spoken{words: "cp - file:/d", in: archive},
		spoken{words: "cp - none:/d", in: archive},
	)
}
