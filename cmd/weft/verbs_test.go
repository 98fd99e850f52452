package main_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestVerbs goes over what is done to containers from outside, on one engine
// and by both command lines: volumes, files, resources.
func TestVerbs(t *testing.T) {
	_, nodes := testLab(t, 1)
	one := nodes[0]
	archive := busyboxArchive(t)
	one.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", archive, "busybox")
	before := mounted(t, one)
	t.Run("volumes", func(t *testing.T) { volumes(t, one) })
	t.Run("service", func(t *testing.T) { serviceMounts(t, one) })
	t.Run("crash", func(t *testing.T) { volumesOverCrash(t, one) })
	if after := mounted(t, one); after != before {
		t.Errorf("mounts leaked\nbefore:\n%s\nafter:\n%s", before, after)
	}
	for _, dir := range []string{"containers", "volumes"} {
		if left, err := os.ReadDir(one.DataDir() + "/" + dir); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v %v", dir, left, err)
		}
	}
}

// mounted gives what is mounted where the engine is.
func mounted(t *testing.T, n node) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(enginePid(t, n)) + "/mountinfo")
	must(t, err)
	var points []string
	for line := range strings.Lines(string(b)) {
		points = append(points, strings.Fields(line)[4])
	}
	return strings.Join(points, "\n")
}

// alike runs both command lines and wants the same of them.
func alike(t *testing.T, n node, args ...string) {
	t.Helper()
	theirs, ours := n.docker(t, args...), n.try(t, args...)
	for _, r := range []*result{&theirs, &ours} {
		r.err = strings.TrimPrefix(strings.TrimPrefix(r.err, "Error: "), "Error response from daemon: ")
	}
	if theirs != ours {
		t.Errorf("%v\ndocker: %v\nweft: %v", args, theirs, ours)
	}
}

func volumes(t *testing.T, n node) {
	n.does(t, "volume", "create", "--label", "a=b", "data")
	alike(t, n, "volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}}")
	alike(t, n, "volume", "inspect", "data")
	alike(t, n, "volume", "inspect", "nope")
	n.does(t, "run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept >/d/file")
	if got := n.does(t, "run", "--rm", "-v", "data:/d:ro", "busybox", "sh", "-c", "cat /d/file; touch /d/x 2>&1 || true"); !strings.HasPrefix(got, "kept\n") || !strings.Contains(got, "Read-only file system") {
		t.Errorf("read-only: %q", got)
	}
	// The image's content comes into an empty volume, with owners and modes.
	n.does(t, "run", "--rm", "-v", "bin:/bin", "-v", "none:/bin2:nocopy", "busybox", "sh", "-c", "ls -l /bin/busybox; exit 0")
	if got := n.does(t, "run", "--rm", "-v", "bin:/b", "busybox", "sh", "-c", "ls /b | wc -l; ls -l /b/sh | wc -l"); !strings.HasSuffix(got, "\n1") || strings.HasPrefix(got, "0") {
		t.Errorf("copied: %q", got)
	}
	// Anonymous ones go with their container, the others stay.
	n.does(t, "run", "-d", "--name", "owner", "-v", "/anon", "-v", "data:/d", "--mount", "type=volume,dst=/mnt", "busybox")
	n.does(t, "exec", "owner", "sh", "-c", "echo lent >/anon/file")
	if got := n.does(t, "run", "--rm", "--volumes-from", "owner:ro", "busybox", "sh", "-c", "cat /anon/file /d/file; touch /anon/x 2>&1 || true"); !strings.HasPrefix(got, "lent\nkept\n") || !strings.Contains(got, "Read-only") {
		t.Errorf("volumes of another: %q", got)
	}
	if r := n.docker(t, "volume", "rm", "data"); r.code != 1 || !strings.Contains(r.err, "volume is in use - [") {
		t.Error(r)
	}
	alike(t, n, "ps", "--format", "{{.Names}} {{.Mounts}}")
	alike(t, n, "inspect", "-f", "{{json .Mounts}}", "owner")
	if got := n.does(t, "volume", "ls", "-q", "--filter", "dangling=false"); len(strings.Fields(got)) != 3 {
		t.Errorf("in use: %q", got)
	}
	n.does(t, "rm", "-f", "-v", "owner")
	if got := n.does(t, "volume", "ls", "-q"); got != "bin\ndata\nnone" {
		t.Errorf("left: %q", got)
	}
	// A volume the image asks for, and one with a file system of its own.
	n.does(t, "import", "-c", "VOLUME /var/own", "-c", `CMD ["sleep","1000"]`, busyboxArchive(t), "owning")
	n.does(t, "run", "--rm", "owning", "touch", "/var/own/file")
	n.does(t, "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "memory")
	n.does(t, "run", "-d", "--name", "first", "-v", "memory:/m", "busybox")
	n.does(t, "exec", "first", "touch", "/m/shared")
	n.does(t, "run", "--rm", "-v", "memory:/m", "busybox", "ls", "/m/shared")
	n.does(t, "rm", "-f", "first")
	if r := n.docker(t, "run", "--rm", "-v", "memory:/m", "busybox", "ls", "/m/shared"); r.code == 0 {
		t.Error("the memory of a volume nobody used was kept")
	}
	if r := n.docker(t, "volume", "create", "-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=192.0.2.1", "far"); r.code != 1 || !strings.Contains(r.err, "no file systems of other machines") {
		t.Error(r)
	}
	if r := n.docker(t, "run", "--rm", "--mount", "type=bind,src=/nowhere/at/all,dst=/x", "busybox", "true"); r.code != 125 || !strings.Contains(r.err, "bind source path does not exist: /nowhere/at/all") {
		t.Error(r)
	}
	n.does(t, "volume", "rm", "memory", "none")
	if got := n.does(t, "volume", "prune", "-a", "-f"); !strings.Contains(got, "bin") || !strings.Contains(got, "data") {
		t.Errorf("pruned: %q", got)
	}
	n.does(t, "rmi", "owning")
}

// serviceMounts gives the tasks of a service something to mount.
func serviceMounts(t *testing.T, n node) {
	n.weft(t, "swarm", "init", "--advertise-addr", n.addr())
	n.weft(t, "service", "create", "--detach", "--name", "mounting", "--mount", "type=volume,src=served,dst=/s", "--mount", "type=volume,dst=/anon",
		"--mount", "type=bind,src="+t.TempDir()+",dst=/b,readonly", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m", "busybox", "sh", "-c", "touch /s/x /anon/x /t/x && ! touch /b/x && sleep 1000")
	awaitReplicas(t, n, "mounting", "1/1")
	await(t, 20*time.Second, func() (bool, string) {
		r := n.docker(t, "run", "--rm", "-v", "served:/s", "busybox", "ls", "/s/x")
		return r.code == 0, r.String()
	})
	if got := n.does(t, "volume", "ls", "-q"); len(strings.Fields(got)) != 2 {
		t.Errorf("volumes of the task: %q", got)
	}
	n.weft(t, "service", "rm", "mounting")
	await(t, 30*time.Second, func() (bool, string) {
		r := n.docker(t, "volume", "ls", "-q")
		return r.out == "served\n", r.String()
	})
	n.does(t, "volume", "rm", "served")
	n.weft(t, "swarm", "leave", "--force")
}

// volumesOverCrash kills the engine while containers have volumes.
func volumesOverCrash(t *testing.T, n node) {
	n.does(t, "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
	n.does(t, "run", "-d", "--name", "keeper", "-v", "memory:/m", "-v", "data:/d", "-v", "/anon", "busybox")
	n.does(t, "exec", "keeper", "sh", "-c", "echo kept | tee /m/file /d/file >/anon/file")
	pid := enginePid(t, n)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	await(t, 30*time.Second, func() (bool, string) {
		r := n.docker(t, "exec", "keeper", "cat", "/m/file", "/d/file", "/anon/file")
		return r.out == "kept\nkept\nkept\n" && enginePid(t, n) != pid, r.String()
	})
	if got := n.does(t, "run", "--rm", "-v", "memory:/m", "busybox", "cat", "/m/file"); got != "kept" {
		t.Errorf("shared after the crash: %q", got)
	}
	if r := n.docker(t, "volume", "rm", "data"); r.code != 1 || !strings.Contains(r.err, "volume is in use") {
		t.Error(r)
	}
	n.does(t, "rm", "-f", "-v", "keeper")
	n.does(t, "volume", "rm", "memory", "data")
}
