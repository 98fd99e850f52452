package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive"
)

// header is a tar archive that ends after one header.
func header(t testing.TB, h tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBombs(t *testing.T) {
	many := func() []byte {
		var b bytes.Buffer
		for range 20 {
			b.Write(header(t, tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o600}))
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		name    string
		archive []byte
		limit   limit
		fails   string
	}{
		{"file larger than the layer may be", header(t, tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: 1 << 40}), limit{bytes: maxSmall}, "a bomb"},
		{"larger than the disk", header(t, tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: 1 << 40}), limit{bytes: 1 << 20, room: true}, "no space left"},
		{"sum of sizes overflows", append(header(t, tar.Header{Name: "d/", Typeflag: tar.TypeDir}),
			header(t, tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: 1<<63 - 1, Format: tar.FormatPAX})...), limit{bytes: maxSmall}, "a bomb"},
		{"endless archive", many(), limit{bytes: 4000}, "a bomb"},
		{"endless entries", many(), limit{bytes: maxSmall, entries: maxEntries - 10}, "entries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := c.limit
			err := extract(t.Context(), []mount.Mount{{Type: "bind", Source: dir}}, l.reader(bytes.NewReader(c.archive)), archive.WithFilter(l.filter))
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("error %v, want %q", err, c.fails)
			}
		})
	}
}

// FuzzUnpack writes whatever it is given into a directory, and looks at what
// is beside that.
func FuzzUnpack(f *testing.F) {
	for _, e := range hostile {
		f.Add(root(f, e...))
	}
	f.Fuzz(func(t *testing.T, data []byte) { unpackBeside(t, data) })
}

// FuzzEntries does so with archives of whatever entries: a byte of random
// change leaves of an archive nothing but a wrong sum. A line is a type, a name
// and, after a tab, where a link leads.
func FuzzEntries(f *testing.F) {
	for _, e := range hostile {
		var script strings.Builder
		for _, h := range e {
			fmt.Fprintf(&script, "%c%s\t%s\n", cmp.Or(h.Typeflag, tar.TypeReg), h.Name, h.Linkname)
		}
		f.Add(script.String())
	}
	f.Fuzz(func(t *testing.T, script string) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for line := range strings.Lines(script) {
			if line = strings.TrimSuffix(line, "\n"); line == "" {
				continue
			}
			h := tar.Header{Typeflag: line[0], Mode: 0o755, Format: tar.FormatPAX}
			h.Name, h.Linkname, _ = strings.Cut(line[1:], "\t")
			if h.Typeflag == tar.TypeReg {
				h.Size = 1
			}
			if w.WriteHeader(&h) != nil {
				return
			}
			_, _ = w.Write([]byte("x")) // of those that have content
		}
		_ = w.Close()
		unpackBeside(t, b.Bytes())
	})
}

// hostile are entries somebody might try.
var hostile = [][]tar.Header{
	{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/f"}},
	{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../beside"}, {Name: "l"}, {Name: "l/x"}},
	{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/etc/passwd"}},
	{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/beside"}, {Name: "h"}},
	{{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "b"}, {Name: "b", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "a/beside"}, {Name: "a/.wh.beside"}},
	{{Name: "../x"}, {Name: "/y"}, {Name: "a/../../z"}},
	{{Name: "f"}, {Name: ".wh.f"}, {Name: ".wh..wh..opq"}, {Name: ".wh.."}, {Name: ".wh..."}},
	{{Name: "n", Typeflag: tar.TypeFifo}, {Name: "n"}, {Name: "n/x"}, {Name: "c", Typeflag: tar.TypeChar}},
	{{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}},
}

// unpackBeside unpacks an archive in a directory that has a neighbor.
func unpackBeside(t *testing.T, data []byte) {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "root")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "beside"), []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := limit{bytes: 1 << 20}
	_ = extract(context.Background(), []mount.Mount{{Type: "bind", Source: dir}}, l.reader(bytes.NewReader(data)), archive.WithFilter(l.filter))
	beside, err := os.ReadFile(filepath.Join(base, "beside"))
	if entries, e := os.ReadDir(base); e != nil || err != nil || len(entries) != 2 || string(beside) != "untouched" {
		t.Errorf("beside the root: %v %v, %q %v", entries, e, beside, err)
	}
	if st, err := os.Stat(filepath.Join(base, "beside")); err != nil || st.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Errorf("a link to what is beside the root: %+v %v", st, err)
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&(fs.ModeDevice|fs.ModeCharDevice) != 0 {
			t.Errorf("a device: %s", name)
		}
		return nil
	})
}
