// Package dockerdtest gives tests real Docker daemons: several on this machine,
// each on a host of a lab (weft/engine/lab) with an underlay between them.
//
// A daemon has its own network, mount, PID and UTS namespace, its own /run,
// data root and exec root, and a parent of its own for cgroups. All of it ends
// with the test: killing a host's PID 1 kills daemon, containerd, shims and
// containers at once, and the cgroups, which outlive them, are removed.
//
// The package needs root and Debian's docker.io; without, tests skip on a
// fault.Unsupported error, or fail when CI=true. The TestMain of a package that
// uses it must begin with lab.Dispatch. It is for tests only and fails them
// through testing.TB.
package dockerdtest

import (
	"archive/tar"
	"bytes"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/engine/fault"
	"weft/engine/lab"
	"weft/engine/netnstest"
	"weft/engine/testenv"
)

// Image is what every daemon has: the tree of busybox-static.
const Image = "busybox:latest"

// socketName is the API's socket in a host's run directory.
const socketName = "docker.sock"

// Options say which daemons a test wants. The zero value is one of them.
type Options struct {
	Hosts int // 0: one
	MTU   int // of the underlay; 0: 1500

	Daemon []string // more flags for every dockerd
	Client string   // the docker client; empty: Debian's
}

// Bed is a set of hosts on one underlay. A test may add hosts of another kind
// to Lab, as one with lab.EngineBoot: they reach the daemons by Addr.
type Bed struct {
	Lab   *lab.Lab
	Hosts []*Host
}

// Host is a machine with a Docker daemon.
type Host struct {
	Name   string
	Addr   netip.Addr
	Addr6  netip.Addr
	Socket string // path of the API's socket, outside the host

	tb     testing.TB
	lab    *lab.Lab
	client string
}

// Available is nil where Start works, and otherwise a fault.Unsupported that
// says what is missing.
func Available() error {
	for _, need := range []struct{ path, pack string }{
		{"/usr/sbin/dockerd", "docker.io"}, {debianClient, "docker.io"}, {busybox, "busybox-static"},
	} {
		if _, err := os.Stat(need.path); err != nil {
			return fault.Unsupported("%s is missing: apt-get install %s: %w", need.path, need.pack, err)
		}
	}
	return nil
}

const (
	debianClient = "/usr/bin/docker"
	busybox      = "/bin/busybox"
)

// Require ends the test where Start can't work (testenv.Lacks).
func Require(tb testing.TB) {
	tb.Helper()
	netnstest.Require(tb)
	if err := Available(); err != nil {
		testenv.Lacks(tb, "%v", err)
	}
}

// Start gives daemons that are ready and have Image. They end with the test.
func Start(tb testing.TB, o Options) *Bed {
	tb.Helper()
	Require(tb)
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	if os.Args[0] == lab.HostName {
		panic("TestMain does not begin with lab.Dispatch, and this process should be PID 1 of a host")
	}
	if o.Client == "" {
		o.Client = debianClient
	}
	dir, err := os.MkdirTemp("", "dockerds-") //nolint:usetesting // short: sockets live below
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("clean up after dockerd: %v", err)
		}
	})
	l, err := lab.Up(tb.Context(), lab.Config{
		StateDir: dir, Name: "d", Hosts: max(o.Hosts, 1), MTU: o.MTU, Self: self,
		Boot: func(h lab.Host) lab.Boot { return boot(h, o.Daemon) },
	})
	if err != nil {
		tb.Fatalf("start dockerd: %v", err)
	}
	b := &Bed{Lab: l}
	tb.Cleanup(func() {
		b.logOnFailure(tb)
		if err := l.Down(context.Background()); err != nil {
			tb.Errorf("stop dockerd: %v", err)
		}
	})
	hosts, err := l.Hosts()
	if err != nil {
		tb.Fatal(err)
	}
	image := tree(tb)
	for _, h := range hosts {
		host := &Host{
			Name: h.Name, Addr: h.Addr.Addr(), Addr6: h.Addr6.Addr(), Socket: h.Socket(),
			tb: tb, lab: l, client: o.Client,
		}
		host.Import(Image, image)
		b.Hosts = append(b.Hosts, host)
	}
	return b
}

func boot(h lab.Host, more []string) lab.Boot {
	socket := filepath.Join(lab.RunDir, socketName)
	return lab.Boot{
		Command: slices.Concat([]string{
			"/usr/sbin/dockerd", "--host", "unix://" + socket, "--data-root", h.DataDir(),
			"--exec-root", "/run/docker", "--pidfile", "/run/docker.pid",
			// systemd, where it runs, knows nothing of our cgroups.
			"--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", h.Cgroup(),
		}, more),
		Env:    []string{"DOCKER_HOST=unix://" + socket},
		Notify: true,
		Socket: socketName,
	}
}

// noise is what most lines of a daemon's log are, and nothing in them.
func noise() []string {
	return []string{"module=grpc", "net.ipv4.vs.", "shim disconnected", "dead shim", "after shim", "cleanup warnings", "ignoring event", "transient state"}
}

// logOnFailure shows the end of each daemon's log where a test failed.
func (b *Bed) logOnFailure(tb testing.TB) {
	tb.Helper()
	const most = 12 // what the test said should stay in sight
	hosts, err := b.Lab.Hosts()
	if !tb.Failed() || err != nil {
		return
	}
	for _, h := range hosts {
		log, err := os.ReadFile(h.LogPath())
		if err != nil {
			continue
		}
		lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(log)), "\n"), func(line string) bool {
			return slices.ContainsFunc(noise(), func(s string) bool { return strings.Contains(line, s) })
		})
		tb.Logf("end of the log of %s:\n%s", h.Name, strings.Join(lines[max(0, len(lines)-most):], "\n"))
	}
}

// Try runs the docker client against the daemon and gives what it prints, on
// both streams.
func (h *Host) Try(args ...string) (string, error) {
	h.tb.Helper()
	return h.docker(nil, args)
}

// Docker runs the docker client against the daemon and gives what it prints;
// the test fails when the client does.
func (h *Host) Docker(args ...string) string {
	h.tb.Helper()
	out, err := h.docker(nil, args)
	if err != nil {
		h.tb.Fatalf("%s: docker %s: %v\n%s", h.Name, strings.Join(args, " "), err, out)
	}
	return out
}

// Import makes an image of a tar archive of a file system. The changes are
// instructions as in a Dockerfile.
func (h *Host) Import(name string, archive []byte, changes ...string) {
	h.tb.Helper()
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	if out, err := h.docker(archive, append(args, "-", name)); err != nil {
		h.tb.Fatalf("%s: import %s: %v\n%s", h.Name, name, err, out)
	}
}

func (h *Host) docker(in []byte, args []string) (string, error) {
	cmd := exec.CommandContext(h.tb.Context(), h.client, append([]string{"--host", "unix://" + h.Socket}, args...)...)
	cmd.Env = append(lab.HostEnv(os.Environ()), "DOCKER_CONFIG="+filepath.Dir(h.Socket))
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Exec runs a command on the host, in all its namespaces, and gives what it
// prints; the test fails when the command does.
func (h *Host) Exec(args ...string) string {
	h.tb.Helper()
	var out bytes.Buffer
	err := h.lab.Exec(h.tb.Context(), h.Name, lab.Process{Args: args, Out: &out, Err: &out})
	if err != nil {
		h.tb.Fatalf("%s: %s: %v\n%s", h.Name, strings.Join(args, " "), err, out.String())
	}
	return strings.TrimSpace(out.String())
}

// tree gives a file system with busybox and its names in /bin, as tar.
func tree(tb testing.TB) []byte {
	tb.Helper()
	program, err := os.ReadFile(busybox)
	if err != nil {
		tb.Fatal(err)
	}
	names, err := exec.CommandContext(tb.Context(), busybox, "--list").Output()
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			tb.Fatal(err)
		}
	}
	for _, dir := range []string{"bin/", "etc/", "proc/", "sys/", "dev/", "tmp/"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, program)
	for name := range strings.FieldsSeq(string(names)) {
		if name != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox"}, nil)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}
