package main_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/engine/lab"
)

// roughLab is a lab of one host whose engine is started by a shell after it
// has run setup; $DATA is the engine's data directory.
func roughLab(t *testing.T, setup string) node {
	t.Helper()
	dir, err := os.MkdirTemp("", "wl-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	bin := weft(t)
	boot := lab.EngineBoot(bin)
	l, err := lab.Up(t.Context(), lab.Config{StateDir: dir, Name: "t", Hosts: 1, Self: bin, Boot: func(h lab.Host) lab.Boot {
		b := boot(h)
		script := "set -e; DATA=" + h.DataDir() + "; " + setup + `; exec "$@"`
		b.Command = append([]string{"/bin/sh", "-c", script, "sh"}, b.Command...)
		return b
	}})
	must(t, err)
	t.Cleanup(func() { must(t, l.Down(context.Background())) })
	hosts, err := l.Hosts()
	must(t, err)
	return node{hosts[0], bin}
}

// TestTwoHundredAtOnce starts containers faster than a machine can, takes some
// of their shims away, and wants nothing left of them in the end.
func TestTwoHundredAtOnce(t *testing.T) {
	_, nodes := testLab(t, 1)
	n := nodes[0]
	n.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", busyboxArchive(t), "busybox")
	n.does(t, "network", "create", "--subnet", "10.62.0.0/16", "lan")
	// One container comes and goes first: what stays for good is there then.
	n.does(t, "run", "--rm", "--network", "lan", "-p", "80", "busybox", "true")
	before := leavings(t, n)
	const many = 200
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			r := n.docker(t, "run", "-d", "--name", fmt.Sprint("c", i), "--network", "lan", "-p", "80", "busybox")
			if r.code != 0 {
				t.Errorf("container %d: %v", i, r)
			}
		})
	}
	wg.Wait()
	if got := strings.Count(n.does(t, "ps", "-q"), "\n") + 1; got != many {
		t.Fatalf("%d containers run, want %d", got, many)
	}
	n.does(t, "exec", "c7", "ping", "-c", "1", "-W", "5", "c150")

	shims := shimsOf(t, n)
	if len(shims) != many {
		t.Fatalf("%d shims, want %d", len(shims), many)
	}
	const killed = 20
	for _, pid := range shims[:killed] {
		must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	await(t, 30*time.Second, func() (bool, string) {
		r := n.docker(t, "ps", "-aq", "--filter", "status=exited")
		return len(strings.Fields(r.out)) == killed, r.String()
	})
	if got := len(strings.Fields(n.does(t, "ps", "-q"))); got != many-killed {
		t.Errorf("%d containers run, want %d", got, many-killed)
	}
	id := strings.Fields(n.does(t, "ps", "-aq", "--filter", "status=exited"))[0]
	if got := n.does(t, "inspect", "-f", "{{.State.ExitCode}} {{.State.Error}}", id); strings.HasPrefix(got, "0") {
		t.Errorf("a container whose shim was killed ended with %q", got)
	}
	n.does(t, append([]string{"rm", "-f"}, strings.Fields(n.does(t, "ps", "-aq"))...)...)
	await(t, 20*time.Second, func() (bool, string) {
		after := leavings(t, n)
		return after == before, fmt.Sprintf("before:\n%s\nafter:\n%s", before, after)
	})
}

// shimsOf gives the PIDs of a node's shims.
func shimsOf(t *testing.T, n node) []int {
	t.Helper()
	var out []int
	for _, dir := range processesOf(t, n) {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // it may have ended
		if name, _, _ := strings.Cut(string(line), "\x00"); name == "weft-shim" {
			var pid int
			_, err := fmt.Sscan(filepath.Base(dir), &pid)
			must(t, err)
			out = append(out, pid)
		}
	}
	return out
}

// processesOf gives the /proc directories of the processes in a node's network
// namespace.
func processesOf(t *testing.T, n node) []string {
	t.Helper()
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", enginePid(t, n)))
	must(t, err)
	all, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	var out []string
	for _, dir := range all {
		if ns, err := os.Readlink(filepath.Join(dir, "ns/mnt")); err == nil && ns == own {
			out = append(out, dir)
		}
	}
	return out
}

// leavings counts what containers have of a node: devices, rules, mounts,
// namespaces, sockets, snapshots and processes.
func leavings(t *testing.T, n node) string {
	t.Helper()
	engine := fmt.Sprintf("/proc/%d", enginePid(t, n))
	mounts, err := os.ReadFile(engine + "/mountinfo")
	must(t, err)
	count := func(dir string) int {
		entries, _ := os.ReadDir(filepath.Join(engine, "root", dir))
		return len(entries)
	}
	links := n.does(t, "run", "--rm", "--network", "host", "busybox", "ip", "-o", "link")
	return fmt.Sprintf("%d devices, %d mounts, %d namespaces, %d run directories, %d bundles, %d shims",
		strings.Count(links, "\n"), bytes.Count(mounts, []byte("\n")), count("run/weft/netns"), count("run/weft/shim"),
		count(filepath.Join(n.DataDir(), "containers")), len(shimsOf(t, n)))
}

// TestFullDisk fills the engine's disk with an image, and then with what a
// container writes. Both are told, and room makes everything work again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	n := roughLab(t, "mount -t tmpfs -o size=48m tmpfs $DATA")
	archive := busyboxArchive(t)
	n.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", archive, "busybox")
	n.does(t, "run", "-d", "--name", "bystander", "--network", "none", "busybox")
	large := largeArchive(t, 64<<20)
	if r := n.docker(t, "import", large, "large"); r.code == 0 || !strings.Contains(r.err, "no space left for it") {
		t.Errorf("an image larger than the disk: %v", r)
	}
	if got := n.does(t, "images", "--format", "{{.Repository}}"); strings.Contains(got, "large") {
		t.Errorf("images after it: %q", got)
	}
	r := n.docker(t, "run", "--name", "fills", "--network", "none", "busybox", "sh", "-c", "cat /dev/zero >/file")
	if r.code == 0 || !strings.Contains(r.err, "No space left on device") {
		t.Errorf("a container that fills the disk: %v", r)
	}
	if r := n.docker(t, "run", "--name", "late", "--network", "none", "busybox", "true"); r.code == 0 || !strings.Contains(r.err, "no space left on device") {
		t.Errorf("a container on a full disk: %v", r)
	}
	n.does(t, "exec", "bystander", "true")
	n.does(t, "rm", "fills")
	n.does(t, "run", "--rm", "--network", "none", "busybox", "true")
	n.does(t, "rm", "-f", "bystander")
	if got := n.does(t, "ps", "-aq"); got != "" && n.docker(t, "rm", "late").code != 0 {
		t.Errorf("left: %s", n.does(t, "ps", "-a"))
	}
}

// largeArchive is a root file system of one file that does not compress.
func largeArchive(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large.tar")
	f, err := os.Create(path)
	must(t, err)
	w := tar.NewWriter(f)
	must(t, w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: size}))
	block := bytes.Repeat([]byte("weft"), 1<<18)
	for range size / int64(len(block)) {
		_, err := w.Write(block)
		must(t, err)
	}
	must(t, w.Close())
	must(t, f.Close())
	return path
}

// TestNoCgroups is a host whose cgroups are nobody's to make: containers run
// there, but not within limits.
func TestNoCgroups(t *testing.T) {
	t.Parallel()
	n := roughLab(t, "umount -l /sys/fs/cgroup 2>/dev/null || true; mount -t tmpfs -o ro tmpfs /sys/fs/cgroup")
	n.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", busyboxArchive(t), "busybox")
	n.does(t, "run", "--rm", "--network", "none", "busybox", "true")
	r := n.docker(t, "run", "--rm", "--network", "none", "-m", "64m", "busybox", "true")
	if r.code != 125 || !strings.Contains(r.err, "the limits of the container can't be set") {
		t.Errorf("a container with a limit: %v", r)
	}
	if got := n.does(t, "ps", "-aq"); got != "" {
		t.Errorf("left: %s", got)
	}
}
