package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"

	"weft/engine/model"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("these tests need root: run them with sudo")
	}
	s, err := Open(t.Context(), dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// root makes a tar archive of files; a nil header's worth of defaults applies.
func root(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		body := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			body = "content of " + h.Name
			h.Size = int64(len(body))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (s *Store) mustImport(t *testing.T, name string, archive []byte, changes ...string) string {
	t.Helper()
	id, err := s.Import(t.Context(), bytes.NewReader(archive), model.ImportOptions{Name: name, Changes: changes, Created: time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func names(t *testing.T, s *Store) []string {
	t.Helper()
	list, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range list {
		if !i.Builtin {
			out = append(out, strings.Join(i.Names, "+"))
		}
	}
	slices.Sort(out)
	return out
}

// blobs counts what is kept of content and snapshots.
func blobs(t *testing.T, s *Store) (content, snapshots int) {
	t.Helper()
	c, err := filepath.Glob(filepath.Join(s.dir, "content/blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := filepath.Glob(filepath.Join(s.dir, "overlayfs/snapshots/*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(c), len(n)
}

func TestImportRunsThrough(t *testing.T) {
	s := open(t, t.TempDir())
	id := s.mustImport(t, "web:1", root(t, tar.Header{Name: "etc/", Typeflag: tar.TypeDir}, tar.Header{Name: "etc/motd"}),
		`CMD ["serve","-v"]`, "ENV A=b C=d", "WORKDIR /srv", "EXPOSE 80 53/udp", "USER web", "LABEL x=y")
	for _, ref := range []string{"web:1", "docker.io/library/web:1", id, strings.TrimPrefix(id, "sha256:")[:12]} {
		img, err := s.Get(t.Context(), ref)
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
		c := img.Config
		if img.ID != id || !slices.Equal(img.Names, []string{"web:1"}) || !slices.Equal(c.Cmd, []string{"serve", "-v"}) ||
			!slices.Equal(c.Env, []string{"A=b", "C=d"}) || c.WorkingDir != "/srv" || c.User != "web" || c.Labels["x"] != "y" || len(c.ExposedPorts) != 2 || img.Size == 0 {
			t.Errorf("%s: %+v", ref, img)
		}
	}
	if _, err := s.Get(t.Context(), "web"); !errdefs.IsNotFound(err) || err.Error() != "No such image: web:latest" {
		t.Errorf("web:latest: %v", err)
	}
}

func TestPrepareMountsTheImage(t *testing.T) {
	s := open(t, t.TempDir())
	s.mustImport(t, "web", root(t, tar.Header{Name: "motd"}))
	if _, err := s.Prepare(t.Context(), "c1", "web"); err != nil {
		t.Fatal(err)
	}
	look := func(f func(dir string)) {
		mounts, err := s.Mounts(t.Context(), "c1")
		if err != nil {
			t.Fatal(err)
		}
		if err := mount.WithTempMount(t.Context(), mounts, func(dir string) error { f(dir); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	look(func(dir string) {
		if b, err := os.ReadFile(filepath.Join(dir, "motd")); err != nil || string(b) != "content of motd" {
			t.Errorf("motd: %q %v", b, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "own"), []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
	})
	look(func(dir string) {
		if _, err := os.Stat(filepath.Join(dir, "own")); err != nil {
			t.Error("what a container wrote is not there the next time")
		}
	})
	if err := s.Sweep(t.Context(), map[string]bool{"c1": true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mounts(t.Context(), "c1"); err != nil {
		t.Errorf("swept, though it is to be kept: %v", err)
	}
	if err := s.Sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mounts(t.Context(), "c1"); err == nil {
		t.Error("not swept")
	}
}

func TestSaveAndLoad(t *testing.T) {
	s := open(t, t.TempDir())
	id := s.mustImport(t, "web:1", root(t, tar.Header{Name: "motd"}))
	if _, err := s.Tag(t.Context(), "web:1", "reg.example:5000/team/web:2"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		refs []string
		want []string
	}{
		{[]string{"web:1"}, []string{"web:1"}},
		{[]string{"web:1", "reg.example:5000/team/web"}, []string{"reg.example:5000/team/web:2+web:1"}},
		{[]string{id}, []string{""}},
	} {
		var b bytes.Buffer
		if err := s.Save(t.Context(), &b, c.refs); err != nil {
			t.Fatal(err)
		}
		other := open(t, t.TempDir())
		got, err := other.Load(t.Context(), &b)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].ID != id {
			t.Errorf("%v: ID %s, want %s", c.refs, got[0].ID, id)
		}
		if n := names(t, other); !slices.Equal(n, c.want) {
			t.Errorf("%v: loaded %q, want %q", c.refs, n, c.want)
		}
	}
}

// A cut or changed archive leaves nothing behind.
func TestLoadDamaged(t *testing.T) {
	s := open(t, t.TempDir())
	s.mustImport(t, "web:1", root(t, tar.Header{Name: "motd"}))
	var b bytes.Buffer
	if err := s.Save(t.Context(), &b, []string{"web:1"}); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	at := bytes.Index(whole, []byte("content of motd"))
	flipped := slices.Clone(whole)
	flipped[at] ^= 1
	other := open(t, t.TempDir())
	for name, damaged := range map[string][]byte{
		"empty": {}, "cut": whole[:at+3], "flipped": flipped, "no archive": []byte(strings.Repeat("nonsense", 200)),
		"another tar": root(t, tar.Header{Name: "motd"}),
	} {
		_, err := other.Load(t.Context(), bytes.NewReader(damaged))
		if err == nil || !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
		if n := names(t, other); len(n) != 0 {
			t.Errorf("%s: left images %q", name, n)
		}
		other.clean(t.Context())
		if c, n := blobs(t, other); c != 0 || n != 0 {
			t.Errorf("%s: left %d blobs, %d snapshots (%v)", name, c, n, err)
		}
	}
}

func TestRemove(t *testing.T) {
	none := func(string) []model.ImageUser { return nil }
	running := func(string) []model.ImageUser { return []model.ImageUser{{ID: "abcdefabcdefabcdef", Running: true}} }
	stopped := func(string) []model.ImageUser { return []model.ImageUser{{ID: "abcdefabcdefabcdef"}} }
	for _, c := range []struct {
		name  string
		ref   string // ID stands for the ID
		extra bool   // a second name
		force bool
		users func(string) []model.ImageUser
		fails string
		left  []string
	}{
		{"by name", "web:1", false, false, none, "", nil},
		{"by ID", "ID", false, false, none, "", nil},
		{"one of two names", "web:1", true, false, running, "", []string{"other:1"}},
		{"ID of two names", "ID", true, false, none, "referenced in multiple repositories", []string{"other:1+web:1"}},
		{"ID of two names, forced", "ID", true, true, none, "", nil},
		{"used by name", "web:1", false, false, stopped, "(must force) - container abcdefabcdef is using its referenced image", []string{"web:1"}},
		{"used, forced", "web:1", false, true, stopped, "", []string{""}},
		{"running by ID forced", "ID", false, true, running, "(cannot be forced) - image is being used by running container abcdefabcdef", []string{"web:1"}},
		{"unknown", "nope", false, false, none, "No such image: nope:latest", []string{"web:1"}},
		{"built in", "weft/probe", false, true, none, "built into the engine", []string{"web:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			id := s.mustImport(t, "web:1", root(t, tar.Header{Name: "motd"}))
			if c.extra {
				if _, err := s.Tag(t.Context(), "web:1", "other:1"); err != nil {
					t.Fatal(err)
				}
			}
			ref := strings.Replace(c.ref, "ID", id, 1)
			_, err := s.Remove(t.Context(), ref, c.force, c.users)
			if (c.fails == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("error %v, want %q", err, c.fails)
			}
			if n := names(t, s); !slices.Equal(n, c.left) {
				t.Errorf("left %q, want %q", n, c.left)
			}
			if len(c.left) == 0 {
				if b, n := blobs(t, s); b != 0 || n != 0 {
					t.Errorf("left %d blobs, %d snapshots", b, n)
				}
			}
		})
	}
}

// A name that moves leaves its image dangling, and prune takes that.
func TestRenameAndPrune(t *testing.T) {
	s := open(t, t.TempDir())
	first := s.mustImport(t, "web:1", root(t, tar.Header{Name: "a"}))
	s.mustImport(t, "web:1", root(t, tar.Header{Name: "b"}))
	if n := names(t, s); !slices.Equal(n, []string{"", "web:1"}) {
		t.Fatalf("images %q", n)
	}
	all := func(string) bool { return true }
	gone, freed, err := s.Prune(t.Context(), false, all, func(string) []model.ImageUser { return nil })
	if err != nil || freed == 0 || !slices.Equal(gone, []model.ImageRemoval{{Deleted: first}}) {
		t.Errorf("pruned %v, %d bytes, %v", gone, freed, err)
	}
	if n := names(t, s); !slices.Equal(n, []string{"web:1"}) {
		t.Errorf("images %q", n)
	}
}

// What an engine that was killed held is free after the next start.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.mustImport(t, "web:1", root(t, tar.Header{Name: "a"}))
	ctx, _, err := s.client.WithLease(s.in(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.writeLayer(ctx, bytes.NewReader(root(t, tar.Header{Name: "half"}))); err != nil {
		t.Fatal(err)
	}
	s.clean(t.Context())
	if b, _ := blobs(t, s); b != 4 {
		t.Fatalf("%d blobs, want 3 and the leased one", b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	s.clean(t.Context())
	if b, _ := blobs(t, s); b != 3 {
		t.Errorf("%d blobs, want 3", b)
	}
	if n := names(t, s); !slices.Equal(n, []string{"web:1"}) {
		t.Errorf("images %q", n)
	}
}

var errNotRefused = errors.New("not refused")

func TestHostileLayers(t *testing.T) {
	for _, c := range []struct {
		name    string
		archive []byte
		fails   string
	}{
		{"parent path", root(t, tar.Header{Name: "../../escape"}), "leads out of the image"},
		{"hidden parent path", root(t, tar.Header{Name: "a/../../escape"}), "leads out of the image"},
		{"absolute hard link", root(t, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "not a path inside the image"},
		{"hard link out", root(t, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}), "not a path inside the image"},
		{"character device", root(t, tar.Header{Name: "mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1}), "is a device"},
		{"block device", root(t, tar.Header{Name: "sda", Typeflag: tar.TypeBlock, Devmajor: 8}), "is a device"},
		{"overlay attribute", root(t, tar.Header{Name: "d", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/etc"}}), "the kernel's own"},
		{"endless path", root(t, tar.Header{Name: strings.Repeat("d/", 3000), Typeflag: tar.TypeDir}), "longer than"},
		{"not an archive", []byte(strings.Repeat("x", 2048)), "no tar archive"},
		{"empty", nil, "empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			_, err := s.Import(t.Context(), bytes.NewReader(c.archive), model.ImportOptions{Name: "bad", Created: time.Unix(1e9, 0)})
			if err == nil {
				err = errNotRefused
			}
			if !strings.Contains(err.Error(), c.fails) || !errdefs.IsInvalidArgument(err) {
				t.Errorf("%v, want %q", err, c.fails)
			}
			if b, n := blobs(t, s); b != 0 || n != 0 {
				t.Errorf("left %d blobs, %d snapshots", b, n)
			}
		})
	}
}

// Nothing is written through a symbolic link that leads out.
func TestLinksStayInside(t *testing.T) {
	outside := t.TempDir()
	s := open(t, t.TempDir())
	s.mustImport(t, "links", root(t,
		tar.Header{Name: "abs", Typeflag: tar.TypeSymlink, Linkname: outside},
		tar.Header{Name: "rel", Typeflag: tar.TypeSymlink, Linkname: "../../../../../.." + outside},
		tar.Header{Name: "abs/file"}, tar.Header{Name: "rel/file2"}, tar.Header{Name: "/rooted"},
	))
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("written outside: %v %v", left, err)
	}
	if _, err := s.Prepare(context.Background(), "c1", "links"); err != nil {
		t.Fatal(err)
	}
}
