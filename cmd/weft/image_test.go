package main_test

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// busyboxArchive writes the root file system of a small Linux, made of
// Debian's busybox-static.
func busyboxArchive(t testing.TB) string {
	t.Helper()
	bin, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal("this test needs Debian's busybox-static: ", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, body []byte) {
		h.Size = int64(len(body))
		must(t, w.WriteHeader(&h))
		_, err := w.Write(body)
		must(t, err)
	}
	put(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, bin)
	for _, name := range []string{"sh", "cat", "echo", "sleep", "ip", "ping", "hostname", "id", "stty", "tty", "true", "nc", "touch", "ls", "nslookup", "wget", "wc", "timeout", "rm", "tr"} {
		put(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
	}
	put(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	must(t, w.Close())
	file := filepath.Join(t.TempDir(), "busybox.tar")
	must(t, os.WriteFile(file, b.Bytes(), 0o600))
	return file
}

// docker runs Docker's own command line against the node's engine.
func (n node) docker(tb testing.TB, args ...string) result {
	tb.Helper()
	return run(tb.Context(), tb, []string{"DOCKER_HOST=unix://" + n.Socket(), "HOME=" + tb.TempDir()}, append([]string{"docker"}, args...)...)
}

// does is docker for what must do as asked.
func (n node) does(tb testing.TB, args ...string) string {
	tb.Helper()
	r := n.docker(tb, args...)
	if r.code != 0 {
		tb.Fatalf("%s: docker %s: %v", n.Name, strings.Join(args, " "), r)
	}
	return strings.TrimSpace(r.out)
}

// TestImages brings a foreign image to engines, and runs it there as anybody
// would: by hand, in a terminal, as a service on two hosts.
func TestImages(t *testing.T) {
	_, nodes := testLab(t, 2)
	images(t, nodes)
}

// images is the test of the nodes' engines, whatever their runtimes.
func images(t *testing.T, nodes []node) {
	swarm(t, nodes)
	manager, worker := nodes[0], nodes[1]
	archive := busyboxArchive(t)
	id := manager.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", archive, "busybox")
	saved := filepath.Join(t.TempDir(), "saved.tar")
	manager.does(t, "save", "-o", saved, "busybox")
	if out := worker.does(t, "load", "-i", saved); out != "Loaded image: busybox:latest" {
		t.Errorf("load says %q", out)
	}
	if other := worker.does(t, "image", "inspect", "-f", "{{.Id}}", "busybox"); other != id {
		t.Errorf("the image is %s on one host and %s on the other", id, other)
	}

	t.Run("weft's own commands", func(t *testing.T) { sameCommands(t, manager) })
	t.Run("exit codes and streams", func(t *testing.T) {
		r := manager.docker(t, "run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
		if r.out != "out\n" || r.err != "err\n" || r.code != 3 {
			t.Error(r)
		}
		r = manager.docker(t, "run", "--rm", "--network", "none", "busybox", "nope")
		if r.code != 127 || !strings.Contains(r.err, `exec: "nope": executable file not found in $PATH`) {
			t.Error(r)
		}
	})
	t.Run("service", func(t *testing.T) {
		manager.weft(t, "network", "create", "-d", "overlay", "--attachable", "ov")
		manager.weft(t, "service", "create", "--detach", "--name", "web", "--network", "ov", "--replicas", "4", "busybox")
		awaitReplicas(t, manager, "web", "4/4")
		worker.does(t, "run", "-d", "--name", "target", "--network", "ov", "busybox")
		addr := worker.does(t, "inspect", "-f", "{{.NetworkSettings.Networks.ov.IPAddress}}", "target")
		manager.does(t, "run", "--rm", "--network", "ov", "busybox", "ping", "-c", "1", "-W", "10", addr)
		manager.weft(t, "service", "rm", "web")
	})
	t.Run("terminal", func(t *testing.T) { terminal(t, manager) })
	t.Run("engine killed", func(t *testing.T) { keptOverKill(t, manager) })
	t.Run("files", func(t *testing.T) { files(t, manager) })
	t.Run("stats", func(t *testing.T) { stats(t, manager) })
	t.Run("exec", func(t *testing.T) { sameExec(t, manager) })
	t.Run("remove", func(t *testing.T) {
		r := manager.docker(t, "rmi", "busybox")
		if r.code != 1 || !strings.Contains(r.err, "(must force) - container ") {
			t.Error(r)
		}
		manager.does(t, "rm", "-f", "keeper")
		worker.does(t, "rm", "-f", "target")
		await(t, 20*time.Second, func() (bool, string) {
			r := manager.docker(t, "rmi", "busybox") // until the last task of the service has gone
			return r.code == 0, r.String()
		})
		for _, dir := range []string{"images/content/blobs/sha256", "images/overlayfs/snapshots", "containers"} {
			if left, err := os.ReadDir(filepath.Join(manager.DataDir(), dir)); err != nil || len(left) > 0 {
				t.Errorf("left in %s: %v %v", dir, left, err)
			}
		}
	})
}

// sameCommands asks docker and weft the same of images.
func sameCommands(t *testing.T, n node) {
	for _, args := range [][]string{
		{"images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}"},
		{"images", "-q", "busybox"},
		{"image", "ls", "--no-trunc", "-q"},
		{"history", "-q", "busybox"},
		{"image", "inspect", "-f", "{{.Id}} {{.Config.Cmd}} {{.Config.StopSignal}}", "busybox"},
		{"image", "inspect", "nope"},
		{"rmi", "nope"},
		{"tag", "busybox", "BAD"},
		{"pull", "-q", "weft/probe"},
	} {
		theirs, ours := n.docker(t, args...), n.try(t, args...)
		theirs.err = strings.TrimPrefix(theirs.err, "Error: ") // 20.10's way of saying that nothing was found
		ours.err = strings.TrimPrefix(ours.err, "Error response from daemon: ")
		theirs.err = strings.TrimPrefix(theirs.err, "Error response from daemon: ")
		if theirs != ours {
			t.Errorf("%v\ndocker: %v\nweft: %v", args, theirs, ours)
		}
	}
}

// keptOverKill kills the engine under a container, which keeps what it wrote.
func keptOverKill(t *testing.T, n node) {
	n.does(t, "run", "-d", "--name", "keeper", "--network", "none", "-m", "64m", "busybox")
	n.does(t, "exec", "keeper", "sh", "-c", "echo kept >/file")
	pid := enginePid(t, n)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	await(t, 30*time.Second, func() (bool, string) {
		r := n.docker(t, "exec", "keeper", "cat", "/file")
		return r.out == "kept\n" && enginePid(t, n) != pid, r.String()
	})
	n.does(t, "restart", "keeper")
	if out := n.does(t, "exec", "keeper", "cat", "/file"); out != "kept" {
		t.Errorf("after a restart of the container: %q", out)
	}
}

// sameExec starts further processes by docker and by weft.
func sameExec(t *testing.T, n node) {
	for _, args := range [][]string{
		{"exec", "keeper", "sh", "-c", "echo out; echo err >&2; exit 4"},
		{"exec", "keeper", "nope"},
		{"exec", "nope", "true"},
		{"exec", "-u", "nobody", "keeper", "true"},
		{"exec", "-w", "/bin", "-e", "A=1", "keeper", "sh", "-c", "echo $A; ls busybox"},
	} {
		if theirs, ours := n.docker(t, args...), n.try(t, args...); theirs.out != ours.out || theirs.code != ours.code {
			t.Errorf("%v\ndocker: %v\nweft: %v", args, theirs, ours)
		}
	}
}

// dockerAt is docker's CLI at a terminal.
type dockerAt struct {
	*os.File
	cmd    *exec.Cmd
	read   chan string // closed at the end
	screen string
}

func dockerOnTerminal(t *testing.T, n node, args ...string) *dockerAt {
	t.Helper()
	d := &dockerAt{cmd: exec.CommandContext(t.Context(), "docker", args...), read: make(chan string)}
	d.cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+n.Socket(), "HOME="+t.TempDir())
	var err error
	d.File, err = pty.StartWithSize(d.cmd, &pty.Winsize{Rows: 20, Cols: 90})
	must(t, err)
	go func() { // ends with the command, or the test's context, which kills it
		defer close(d.read)
		buf := make([]byte, 1024)
		for {
			k, err := d.Read(buf)
			if err != nil {
				return
			}
			d.read <- string(buf[:k])
		}
	}()
	return d
}

// expect waits for a text. Meanwhile it says again that the size has changed:
// docker listens to that only some time after it has begun.
func (d *dockerAt) expect(t *testing.T, want string) {
	t.Helper()
	limit, again := time.NewTimer(time.Minute), time.NewTicker(500*time.Millisecond)
	defer limit.Stop()
	defer again.Stop()
	for !strings.Contains(d.screen, want) {
		select {
		case text, ok := <-d.read:
			if !ok {
				t.Fatalf("ended; no %q on the screen:\n%s", want, d.screen)
			}
			d.screen += text
		case <-again.C:
			_ = d.cmd.Process.Signal(syscall.SIGWINCH)
		case <-limit.C:
			t.Fatalf("no %q on the screen:\n%s", want, d.screen)
		}
	}
	d.screen = ""
}

func (d *dockerAt) types(text string) { _, _ = d.WriteString(text) }

// end waits for the command and gives its exit code.
func (d *dockerAt) end() int {
	for range d.read {
	}
	_ = d.cmd.Wait() // docker says how it left
	_ = d.Close()
	return d.cmd.ProcessState.ExitCode()
}

// terminal types at a container, detaches from it and comes back.
func terminal(t *testing.T, n node) {
	d := dockerOnTerminal(t, n, "run", "-it", "--name", "shell", "--network", "none", "busybox", "sh")
	d.expect(t, "/ # ")
	d.types("until stty size | grep 90; do :; done; echo $((6*7))\r")
	d.expect(t, "20 90\r\n42\r\n")
	must(t, pty.Setsize(d.File, &pty.Winsize{Rows: 30, Cols: 100}))
	d.types("until stty size | grep 100; do :; done; echo $((6*8))\r")
	d.expect(t, "30 100\r\n48\r\n")
	d.types("\x10\x11") // ctrl-p, ctrl-q
	if code := d.end(); code != 0 {
		t.Errorf("run exits with %d when it is left", code)
	}
	d = dockerOnTerminal(t, n, "exec", "-it", "--detach-keys", "ctrl-x,q", "shell", "sh")
	d.expect(t, "/ # ")
	must(t, pty.Setsize(d.File, &pty.Winsize{Rows: 40, Cols: 110}))
	d.types("until stty size | grep 110; do :; done; echo $((7*7))\r")
	d.expect(t, "40 110\r\n49\r\n")
	d.types("sleep 1234\r")
	d.expect(t, "sleep 1234\r\n")
	d.types("\x18q")
	d.end()
	if got := n.does(t, "exec", "shell", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"); !strings.Contains(got, "sleep 1234") {
		t.Errorf("what ran in the terminal that was left: %q", got)
	}
	d = dockerOnTerminal(t, n, "attach", "shell")
	d.types("echo still $((5*5))\r")
	d.expect(t, "still 25")
	d.types("exit 9\r")
	if code := d.end(); code != 9 {
		t.Errorf("attach exits with %d, want 9", code)
	}
	n.does(t, "rm", "shell")
}
