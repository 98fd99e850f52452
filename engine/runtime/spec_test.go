package runtime

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"weft/engine/model"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func addrs(s ...string) (all []netip.Addr) {
	for _, a := range s {
		all = append(all, addr(a))
	}
	return all
}

type netNS struct{ path, name string }

// newNetNS makes a network namespace that a file keeps.
func newNetNS(t *testing.T) netNS {
	t.Helper()
	ns := netNS{path: filepath.Join(t.TempDir(), "net")}
	if err := os.WriteFile(ns.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	made := make(chan error)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			ns.name, err = os.Readlink("/proc/thread-self/ns/net")
		}
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", ns.path, "", unix.MS_BIND, "")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(ns.path, 0); err != nil {
			t.Error(err)
		}
	})
	return ns
}

func TestResolveImage(t *testing.T) {
	r := &Runtime{}
	for _, name := range []string{"weft/probe", "weft/probe:latest", "docker.io/weft/probe", "docker.io/weft/probe:latest", "index.docker.io/weft/probe"} {
		img, err := r.ResolveImage(name)
		if err != nil || img.Name != "weft/probe:latest" || !slices.Equal(img.Entrypoint, []string{"/probe"}) || len(img.ID) != 71 {
			t.Errorf("%s: %+v %v", name, img, err)
		}
	}
	for name, want := range map[string]string{
		"nginx":               "No such image: nginx:latest",
		"weft/probe:2":        "No such image: weft/probe:2",
		"weft/probe@sha256:0": "No such image: weft/probe@sha256:0",
		"weft/probe:":         "No such image: weft/probe:",
		"probe":               "No such image: probe:latest",
		"":                    "No such image: :latest",
		"quay.io/weft/probe":  "No such image: quay.io/weft/probe:latest",
	} {
		if _, err := r.ResolveImage(name); !errdefs.IsNotFound(err) || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommand(t *testing.T) {
	img := Image{Entrypoint: []string{"/probe"}, Cmd: []string{"serve"}}
	for _, c := range []struct{ entry, args, want string }{
		{"", "", "/probe serve"},
		{"", "ping x", "/probe ping x"},
		{"/bin/probe", "", "/bin/probe"},
		{"/bin/probe -v", "dig", "/bin/probe -v dig"},
	} {
		got := command(img, model.ProcessSpec{Entrypoint: strings.Fields(c.entry), Args: strings.Fields(c.args)})
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q %q: %q", c.entry, c.args, got)
		}
	}
}

func TestBadSpecs(t *testing.T) {
	good := func() Spec { return Spec{ID: "c", Process: model.ProcessSpec{Image: "weft/probe"}} }
	for _, c := range []struct {
		name string
		edit func(*Spec)
		is   func(error) bool
		want string
	}{
		{"ID with a slash", func(s *Spec) { s.ID = "../x" }, errdefs.IsInvalidArgument, "invalid container ID"},
		{"no ID", func(s *Spec) { s.ID = "" }, errdefs.IsInvalidArgument, "invalid container ID"},
		{"image", func(s *Spec) { s.Process.Image = "nginx" }, errdefs.IsNotFound, "No such image: nginx:latest"},
		{"long hostname", func(s *Spec) { s.Process.Hostname = strings.Repeat("a", 65) }, errdefs.IsInvalidArgument, "at most 64"},
		{"terminal", func(s *Spec) { s.Process.TTY = true }, errdefs.IsNotImplemented, "leave out -t"},
		{"relative directory", func(s *Spec) { s.Process.Dir = "srv" }, errdefs.IsInvalidArgument, "needs to be an absolute path"},
		{"environment", func(s *Spec) { s.Process.Env = []string{"=x"} }, errdefs.IsInvalidArgument, "invalid environment variable: =x"},
		{"NUL", func(s *Spec) { s.Process.Args = []string{"a\x00b"} }, errdefs.IsInvalidArgument, "NUL"},
		{"namespace", func(s *Spec) { s.NetNS = "net" }, errdefs.IsInvalidArgument, "not an absolute path"},
		{"user", func(s *Spec) { s.Process.User = "alice" }, errdefs.IsInvalidArgument, "unable to find user alice: no matching entries in passwd file"},
		{"group", func(s *Spec) { s.Process.User = "0:staff" }, errdefs.IsInvalidArgument, "unable to find group staff"},
		{"high user", func(s *Spec) { s.Process.User = "4294967295" }, errdefs.IsInvalidArgument, "unable to find user"},
		{"hosts", func(s *Spec) { s.Hosts = []HostEntry{{Names: []string{"a"}}} }, errdefs.IsInvalidArgument, "invalid hosts entry"},
		{"search", func(s *Spec) { s.Resolve.Search = []string{"a\nnameserver 1.2.3.4"} }, errdefs.IsInvalidArgument, "DNS search"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			s := good()
			c.edit(&s)
			if err := b.Create(t.Context(), s); !c.is(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if left, _ := os.ReadDir(b.dirs.Dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestUsers(t *testing.T) {
	for user, want := range map[string]account{
		"":             {0, 0, "/root"},
		"root":         {0, 0, "/root"},
		"nobody":       {65534, 65534, "/"},
		"65534":        {65534, 65534, "/"},
		"1000":         {1000, 0, "/"},
		"1000:1000":    {1000, 1000, "/"},
		"root:nogroup": {0, 65534, "/root"},
	} {
		if got, err := findAccount(user); err != nil || got != want {
			t.Errorf("%q: %+v %v", user, got, err)
		}
	}
}

func TestDynamicBinaryIsRefused(t *testing.T) {
	path, err := exec.LookPath("ip") // which Debian links dynamically
	if err != nil {
		t.Fatal(err)
	}
	if err := checkStatic(path); !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("got %v", err)
	}
	if err := checkStatic("/etc/passwd"); err == nil {
		t.Error("a text file passes")
	}
}
