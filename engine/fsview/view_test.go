package fsview_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"weft/engine/fsview"
	"weft/engine/model"
	"weft/engine/testenv"
)

// root makes a container's root of two layers, and a file of the host beside
// it which the container must not get at.
func root(t *testing.T) (view fsview.View, upper, host string) {
	t.Helper()
	if os.Getuid() != 0 {
		testenv.Lacks(t, "this test needs root")
	}
	dir := t.TempDir()
	host = filepath.Join(dir, "secret")
	for name, text := range map[string]string{
		"secret": "of the host", "lower/etc/passwd": "root:x:0:0::/:\nweb:x:1000:1001::/:\n", "lower/srv/page": "lower", "upper/srv/more": "upper",
		"volume/data": "of the volume",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	for _, d := range []string{"work", "view", "lower/data", "lower/tmp"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for link, to := range map[string]string{"out": host, "up": strings.Repeat("../", 20) + host[1:], "web": "srv", "gone": "/nowhere/x", "updir": filepath.Dir(host)} {
		must(t, os.Symlink(to, filepath.Join(dir, "lower", link)))
	}
	must(t, os.Link(filepath.Join(dir, "lower/srv/page"), filepath.Join(dir, "lower/srv/same")))
	return fsview.View{
		Root: []fsview.Layer{{Type: "overlay", Source: "overlay", Options: []string{
			"lowerdir=" + filepath.Join(dir, "lower"), "upperdir=" + filepath.Join(dir, "upper"), "workdir=" + filepath.Join(dir, "work"),
		}}},
		Mounts: []model.Mount{{Kind: model.MountVolume, Source: filepath.Join(dir, "volume"), Target: "/data"}},
		Dir:    filepath.Join(dir, "view"),
	}, filepath.Join(dir, "upper"), host
}

func write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// contents gives the entries of an archive as "name" or "name=text", or with
// where a link leads.
func contents(t *testing.T, archive io.Reader) []string {
	t.Helper()
	var out []string
	for r := tar.NewReader(archive); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(out)
			return out
		}
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, err)
		switch head.Typeflag {
		case tar.TypeReg:
			out = append(out, head.Name+"="+string(text))
		case tar.TypeDir:
			out = append(out, head.Name)
		default:
			out = append(out, head.Name+"->"+head.Linkname)
		}
	}
}

func packed(t *testing.T, v fsview.View, path string) ([]string, error) {
	t.Helper()
	var b bytes.Buffer
	err := v.Pack(path, func(fs.FileInfo, string) io.Writer { return &b })
	return contents(t, &b), err
}

func TestPack(t *testing.T) {
	v, _, host := root(t)
	for _, c := range []struct {
		path string
		want []string
	}{
		{"/srv", []string{"srv/", "srv/more=upper", "srv/page=lower", "srv/same->srv/page"}},
		{"srv/.", []string{"./", "./more=upper", "./page=lower", "./same->./page"}},
		{"/srv/page", []string{"page=lower"}},
		{"/data", []string{"data/", "data/data=of the volume"}},
		{"/web", []string{"web->srv"}},
		{"/web/more", []string{"more=upper"}},
		{"/out", []string{"out->" + host}},
		{"/../../../srv/more", []string{"more=upper"}},
	} {
		got, err := packed(t, v, c.path)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q %v, want %q", c.path, got, err, c.want)
		}
	}
	for _, path := range []string{"/nope", "/out/", "/up/.", "/updir/secret", host} {
		if got, err := packed(t, v, path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %q %v", path, got, err)
		}
	}
	var b bytes.Buffer
	must(t, v.PackAll(func() io.Writer { return &b }))
	all := contents(t, &b)
	for _, want := range []string{"srv/more=upper", "web->srv", "gone->/nowhere/x"} {
		if !slices.Contains(all, want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
}

func TestPackEndsWithItsReader(t *testing.T) {
	v, _, _ := root(t)
	failed := errors.New("the client is gone")
	err := v.Pack("/srv", func(fs.FileInfo, string) io.Writer { return broken{failed} })
	if !errors.Is(err, failed) {
		t.Error(err)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestStat(t *testing.T) {
	v, _, host := root(t)
	for path, want := range map[string]string{
		"/srv": "drwxr-xr-x ", "/srv/page": "-rw-r--r-- ", "/web": "Lrwxrwxrwx /srv", "/out": "Lrwxrwxrwx " + host, "/gone": "Lrwxrwxrwx /nowhere/x", "/web/page": "-rw-r--r-- ",
	} {
		info, target, err := v.Stat(path)
		if err != nil || info.Mode().String()+" "+target != want {
			t.Errorf("%s: %v %s %v, want %s", path, info, target, err, want)
		}
	}
}

func archiveOf(t *testing.T, heads ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range heads {
		text := ""
		if h.Typeflag == tar.TypeReg {
			text = "new"
		}
		h.Size, h.Mode = int64(len(text)), 0o755
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, text)
		must(t, err)
	}
	must(t, w.Close())
	return &b
}

func TestUnpack(t *testing.T) {
	v, upper, host := root(t)
	free := fsview.UnpackOptions{Writable: func(string) error { return nil }}
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Uid: 7, Gid: 8} }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	must(t, v.Unpack("/web", archiveOf(t, file("added"), file("page")), free))
	owned := free
	owned.Owner = "web"
	must(t, v.Unpack("/tmp", archiveOf(t, file("owned")), owned))
	for name, owner := range map[string]uint32{"srv/added": 7, "srv/page": 7, "tmp/owned": 1000} {
		st, err := os.Stat(filepath.Join(upper, name))
		if err != nil || st.Sys().(*syscall.Stat_t).Uid != owner {
			t.Errorf("%s: %+v %v, want owner %d", name, st, err, owner)
		}
	}
	kept := free
	kept.KeepKind = true
	if err := v.Unpack("/", archiveOf(t, file("srv")), kept); err == nil {
		t.Error("a file took a directory's place")
	}
	for where, want := range map[string]func(error) bool{
		"/srv/page": errdefs.IsInvalidArgument, "/nope": isNotExist, "/updir": isNotExist,
	} {
		if err := v.Unpack(where, archiveOf(t, file("x")), free); !want(err) {
			t.Errorf("%s: %v", where, err)
		}
	}
	forbidden := errors.New("read-only")
	if err := v.Unpack("/web", archiveOf(t, file("x")), fsview.UnpackOptions{Writable: func(dir string) error {
		if dir != "/srv" {
			t.Errorf("asked for %s", dir)
		}
		return forbidden
	}}); !errors.Is(err, forbidden) {
		t.Error(err)
	}
	// Wherever an archive's own paths and links lead, it is in the container.
	for _, heads := range [][]tar.Header{
		{file("../../../../.." + host)},
		{link("l", host), file("l")},
		{link("d", filepath.Dir(host)), file("d/secret")},
		{file("/../.." + host)},
		{{Name: "h", Typeflag: tar.TypeLink, Linkname: strings.Repeat("../", 20) + host[1:]}, file("h")},
	} {
		_ = v.Unpack("/srv", archiveOf(t, heads...), free)
	}
	if got, err := os.ReadFile(host); err != nil || string(got) != "of the host" {
		t.Errorf("the host's file: %q %v", got, err)
	}
	if err := v.Unpack("/srv", strings.NewReader("no archive"), free); err == nil {
		t.Error("unpacked what is no archive")
	}
}

func isNotExist(err error) bool { return errors.Is(err, os.ErrNotExist) }

// A process with a mount namespace of its own is looked at as it sees itself.
func TestRunning(t *testing.T) {
	_, _, host := root(t)
	cmd := exec.Command("sh", "-c", `mount -t tmpfs none /mnt && echo hidden >/mnt/file && echo ready && read end`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	v := fsview.View{Pid: cmd.Process.Pid, Still: func() bool { return true }}
	if got, err := packed(t, v, "/mnt/file"); err != nil || !slices.Equal(got, []string{"file=hidden\n"}) {
		t.Errorf("%q %v", got, err)
	}
	v.Bare = true
	if got, err := packed(t, v, "/mnt/file"); !isNotExist(err) {
		t.Errorf("without its mounts: %q %v", got, err)
	}
	v.Still = func() bool { return false }
	if _, _, err := v.Stat(host); !errdefs.IsConflict(err) {
		t.Errorf("a process of somebody else's was looked into: %v", err)
	}
}
