package runtime

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
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

func TestBadSpecs(t *testing.T) {
	good := func() Spec { return Spec{ID: "c", Builtin: true} }
	for _, c := range []struct {
		name string
		edit func(*Spec)
		is   func(error) bool
		want string
	}{
		{"ID with a slash", func(s *Spec) { s.ID = "../x" }, errdefs.IsInvalidArgument, "invalid container ID"},
		{"no ID", func(s *Spec) { s.ID = "" }, errdefs.IsInvalidArgument, "invalid container ID"},
		{"image", func(s *Spec) { s.Builtin = false }, errdefs.IsInvalidArgument, "no root file system"},
		{"long hostname", func(s *Spec) { s.Process.Hostname = strings.Repeat("a", 65) }, errdefs.IsInvalidArgument, "at most 64"},
		{"relative directory", func(s *Spec) { s.Process.Dir = "srv" }, errdefs.IsInvalidArgument, "needs to be an absolute path"},
		{"environment", func(s *Spec) { s.Process.Env = []string{"=x"} }, errdefs.IsInvalidArgument, "invalid environment variable: =x"},
		{"NUL", func(s *Spec) { s.Process.Args = []string{"a\x00b"} }, errdefs.IsInvalidArgument, "NUL"},
		{"namespace", func(s *Spec) { s.NetNS = "net" }, errdefs.IsInvalidArgument, "not an absolute path"},
		{"capability", func(s *Spec) { s.Process.CapAdd = []string{"FLY"} }, errdefs.IsInvalidArgument, `unknown capability: "CAP_FLY"`},
		{"ulimit", func(s *Spec) { s.Process.Ulimits = []model.Ulimit{{Name: "patience"}} }, errdefs.IsInvalidArgument, "invalid ulimit type: patience"},
		{"mount target", func(s *Spec) { s.Process.Mounts = []model.Mount{{Kind: model.MountTmpfs, Target: "tmp"}} }, errdefs.IsInvalidArgument, "must be absolute"},
		{"mount over the root", func(s *Spec) { s.Process.Mounts = []model.Mount{{Kind: model.MountTmpfs, Target: "/"}} }, errdefs.IsInvalidArgument, "place of the root"},
		{"mount source", func(s *Spec) { s.Process.Mounts = []model.Mount{{Kind: model.MountBind, Source: "x", Target: "/x"}} }, errdefs.IsInvalidArgument, "mount source"},
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
