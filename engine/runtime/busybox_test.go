package runtime

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"

	"weft/engine/model"
)

// busybox gives the root file system of a small Linux, made of Debian's
// busybox-static.
func busybox(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"bin", "etc", "tmp", "home/web"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	bin, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal("these tests need Debian's busybox-static: ", err)
	}
	for name, text := range map[string]string{
		"bin/busybox": string(bin),
		"etc/passwd":  "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n",
		"etc/group":   "root:x:0:\nweb:x:1000:\nlogs:x:2000:web\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("chroot", root, "/bin/busybox", "--install", "-s", "/bin").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return root
}

// shell makes a container of a root and a shell's command line.
func (b *bed) shell(root, line string, edit func(*Spec)) string {
	b.t.Helper()
	b.next++
	s := Spec{
		ID: testID(b.next), Process: model.ProcessSpec{Args: []string{"sh", "-c", line}},
		Root:       []mount.Mount{{Type: "bind", Source: root, Options: []string{"rbind", "rw"}}},
		Containerd: b.dirs.Containerd,
	}
	if edit != nil {
		edit(&s)
	}
	if err := b.Create(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
	return s.ID
}

// output runs a shell's command line to its end.
func (b *bed) output(root, line string, edit func(*Spec)) (string, string, int) {
	b.t.Helper()
	id := b.shell(root, line, edit)
	b.start(id)
	st := b.wait(id)
	out, errs := b.logs(id, LogOptions{Tail: -1})
	return out, errs, st.Code
}

func TestImagesOfOthers(t *testing.T) { onBoth(t, testImagesOfOthers) }

func testImagesOfOthers(t *testing.T, b *bed) {
	root := busybox(t)
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, line string
		edit       func(*Spec)
		want       string
	}{
		{
			"root", `id; echo $HOME $PATH; pwd; ls -d /bin/sh`, nil,
			"uid=0(root) gid=0(root) groups=0(root)\n/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/\n/bin/sh\n",
		},
		{"user of the image", `id; echo $HOME`, func(s *Spec) { s.Process.User = "web" }, "uid=1000(web) gid=1000(web) groups=1000(web),2000(logs)\n/home/web\n"},
		{"user and group", `id`, func(s *Spec) { s.Process.User, s.Process.Groups = "12:logs", []string{"7"} }, "uid=12 gid=2000(logs) groups=7,2000(logs)\n"},
		{"environment and directory", `echo $A $B; pwd`, func(s *Spec) {
			s.Process.Env, s.Process.Dir = []string{"A=1", "B=2", "B=3"}, "/srv/x"
		}, "1 3\n/srv/x\n"},
		{"files of its own", `cat /etc/hostname; tail -1 /etc/hosts; cat /etc/resolv.conf; hostname`, func(s *Spec) {
			s.Process.Hostname = "web-1"
			s.Hosts = []HostEntry{{addr("10.0.0.2"), []string{"web-1"}}}
			s.Resolve = Resolve{Servers: addrs("127.0.0.11")}
		}, "web-1\n10.0.0.2\tweb-1\nnameserver 127.0.0.11\nweb-1\n"},
		{"bind", `cat /data/file; echo more >>/data/file; cat /one; echo x 2>&1 >/ro/file`, func(s *Spec) {
			s.Process.Mounts = []model.Mount{
				{Kind: model.MountBind, Source: host, Target: "/data"},
				{Kind: model.MountBind, Source: host, Target: "/ro", ReadOnly: true},
				{Kind: model.MountBind, Source: filepath.Join(host, "file"), Target: "/one"},
			}
			s.Process.Entrypoint = []string{"sh", "-c", s.Process.Args[2] + " 2>&1 || true"}
			s.Process.Args = nil
		}, "of the host\nof the host\nmore\nsh: can't create /ro/file: Read-only file system\n"},
		{"tmpfs", `df -k /t | tail -1 | awk '{print $1, $2}'; touch /t/x && echo written`, func(s *Spec) {
			s.Process.Mounts = []model.Mount{{Kind: model.MountTmpfs, Target: "/t", Options: []string{"size=1024k"}}}
		}, "tmpfs 1024\nwritten\n"},
		{"mounts in mounts", `ls /a /a/b`, func(s *Spec) {
			s.Process.Mounts = []model.Mount{
				{Kind: model.MountBind, Source: host, Target: "/a/b"}, {Kind: model.MountTmpfs, Target: "/a"},
			}
		}, "/a:\nb\n\n/a/b:\nfile\n"},
		{"read-only root", `touch /x || touch /tmp/x || echo none; touch /dev/shm/x && echo shm`, func(s *Spec) {
			s.Process.ReadOnlyRoot = true
		}, "none\nshm\n"},
		{"shm", `df -k /dev/shm | tail -1 | awk '{print $2}'`, func(s *Spec) { s.Process.ShmSize = 2 << 20 }, "2048\n"},
		{"ulimits", `ulimit -n; ulimit -Hn; ulimit -c`, func(s *Spec) {
			s.Process.Ulimits = []model.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}, {Name: "core", Soft: 0, Hard: -1}}
		}, "100\n200\n0\n"},
		{"sysctl", `cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax`, func(s *Spec) {
			s.Process.Sysctls = map[string]string{"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}
		}, "1\n4096\n"},
		{"capabilities", `grep CapEff /proc/self/status`, nil, "CapEff:\t00000000a80425fb\n"},
		{"more and less of them", `grep CapEff /proc/self/status`, func(s *Spec) {
			s.Process.CapDrop, s.Process.CapAdd = []string{"ALL"}, []string{"net_admin"}
		}, "CapEff:\t0000000000001000\n"},
		{"no mount", `mount -t tmpfs none /tmp 2>/dev/null || echo none`, nil, "none\n"},
		{"a capability's system calls", `mount -t tmpfs none /tmp && echo mounted`, func(s *Spec) { s.Process.CapAdd = []string{"SYS_ADMIN"} }, "mounted\n"},
		{"privileges", `grep -E 'NoNewPrivs|Seccomp:' /proc/self/status`, nil, "NoNewPrivs:\t0\nSeccomp:\t2\n"},
		{"no new ones", `grep -E 'NoNewPrivs|Seccomp:' /proc/self/status`, func(s *Spec) {
			s.Process.NoNewPrivileges, s.Process.AllSyscalls = true, true
		}, "NoNewPrivs:\t1\nSeccomp:\t0\n"},
		{"limits", `cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null ||
			cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; cat /proc/self/cgroup | grep -v ':/$'`, func(s *Spec) {
			s.Process.Resources = model.Resources{Memory: 64 << 20, PidsLimit: 20, NanoCPUs: 5e8}
		}, "67108864\n20\n50000\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, _ := b.output(root, c.line, c.edit)
			if out != c.want {
				t.Errorf("got %q, want %q (%s)", out, c.want, errs)
			}
		})
	}
}

func TestStartFails(t *testing.T) { onBoth(t, testStartFails) }

func testStartFails(t *testing.T, b *bed) {
	root := busybox(t)
	for _, c := range []struct {
		name string
		edit func(*Spec)
		want string // what runc says instead comes after a bar
	}{
		{"user", func(s *Spec) { s.Process.User = "alice" }, "unable to find user alice: no matching entries in passwd file"},
		{"group", func(s *Spec) { s.Process.User = "0:staff" }, "unable to find group staff: no matching entries in group file"},
		{"command", func(s *Spec) { s.Process.Args = []string{"nope"} }, `exec: "nope": executable file not found in $PATH`},
		{"directory", func(s *Spec) { s.Process.Args = []string{"/etc"} }, "is a directory|permission denied"},
		{"bind", func(s *Spec) {
			s.Process.Mounts = []model.Mount{{Kind: model.MountBind, Source: "/nowhere", Target: "/x"}}
		}, "mount /x: stat /nowhere: no such file or directory|error mounting \"/nowhere\" to rootfs at \"/x\": stat /nowhere: no such file or directory"},
		{"sysctl", func(s *Spec) { s.Process.Sysctls = map[string]string{"net.nope": "1"} }, "sysctl net.nope: this kernel does not have it|open /proc/sys/net/nope: no such file or directory"},
		{"root", func(s *Spec) { s.Root[0].Source = "/nowhere" }, "mount root file system|look into the root file system"},
		{"file over a directory", func(s *Spec) {
			s.Process.Mounts = []model.Mount{{Kind: model.MountBind, Source: "/etc/passwd", Target: "/tmp"}}
		}, "mount /tmp|error mounting \"/etc/passwd\" to rootfs at \"/tmp\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := b.shell(root, "true", c.edit)
			_, err := b.Start(deadline(t), id)
			if err == nil || !slices.ContainsFunc(strings.Split(c.want, "|"), func(s string) bool { return strings.Contains(err.Error(), s) }) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// An image's links lead nowhere outside it, wherever something is mounted.
func TestImageLinks(t *testing.T) { onBoth(t, testImageLinks) }

func testImageLinks(t *testing.T, b *bed) {
	root := busybox(t)
	beside := t.TempDir()
	up := strings.Repeat("../", 20)
	for name, to := range map[string]string{"abs": beside, "rel": up + beside[1:], "loop": "loop", "run": "/var/none/run"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, _ := b.output(root, "head -1 /abs/x/passwd; test -s /rel/y && test -d /var/none/run/lock && pwd", func(s *Spec) {
		s.Process.Mounts = []model.Mount{
			{Kind: model.MountBind, Source: "/etc", Target: "/abs/x", ReadOnly: true},
			{Kind: model.MountBind, Source: "/etc/hostname", Target: "/rel/y", ReadOnly: true},
			{Kind: model.MountTmpfs, Target: "/run/lock"},
		}
		s.Process.Dir = "/abs/work"
	})
	if left, err := os.ReadDir(beside); err != nil || len(left) > 0 {
		t.Errorf("written outside the image: %v %v", left, err)
	}
	if want := "root:x:0:0:root:/root:/bin/bash\n" + beside + "/work\n"; out != want {
		t.Errorf("in the container: %q %s, want %q", out, errs, want)
	}
	loop := b.shell(root, "true", func(s *Spec) { s.Process.Dir = "/loop/x" })
	if _, err := b.Start(deadline(t), loop); err == nil || b.daemon == nil && !strings.Contains(err.Error(), "too many levels of symbolic links") {
		t.Errorf("a link to itself: %v", err)
	}
}

// A container that executes what started it can't write it (CVE-2019-5736).
func TestRuntimeCannotBeOverwritten(t *testing.T) { onBoth(t, testRuntimeCannotBeOverwritten) }

func testRuntimeCannotBeOverwritten(t *testing.T, b *bed) {
	root := busybox(t)
	before, err := os.ReadFile(testSelf)
	if err != nil {
		t.Fatal(err)
	}
	id := b.shell(root, `while :; do
		for p in /proc/[0-9]*; do
			[ "$(readlink $p/exe)" = /bin/busybox ] && continue
			(
				exec 3<$p/exe || exit
				for i in 1 2 3 4 5 6 7 8 9; do echo evil >/proc/self/fd/3 && echo WRITTEN; done
			) 2>/dev/null
		done
	done`, nil)
	b.start(id)
	for range 20 {
		if err := b.Exec(deadline(t), id, "e", model.ExecSpec{Args: []string{"true"}}, AttachOptions{Stdout: io.Discard}); err != nil {
			t.Fatal(err)
		}
	}
	if out, _ := b.logs(id, LogOptions{Tail: -1}); strings.Contains(out, "WRITTEN") {
		t.Errorf("the container says %q", out)
	}
	if after, err := os.ReadFile(testSelf); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the program was overwritten: %v", err)
	}
}

func TestMemoryLimit(t *testing.T) { onBoth(t, testMemoryLimit) }

func testMemoryLimit(t *testing.T, b *bed) {
	id := b.shell(busybox(t), "tail /dev/zero", func(s *Spec) { s.Process.Resources.Memory = 16 << 20 })
	b.start(id)
	if st := b.wait(id); !st.OOMKilled || st.Code != codeKilled {
		t.Errorf("ended %+v", st)
	}
}

func TestTerminal(t *testing.T) { onBoth(t, testTerminal) }

func testTerminal(t *testing.T, b *bed) {
	id := b.shell(busybox(t), `tty; test -t 0 && test -t 1 && test -t 2 && echo terminal; read x; echo "got $x"; stty size; ls /dev/console`, func(s *Spec) {
		s.Process.TTY, s.Process.OpenStdin = true, true
	})
	in, keys := io.Pipe()
	var screen buffer
	attached := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- b.Attach(deadline(t), id, AttachOptions{Stdin: in, Stdout: &screen, Attached: func() error { close(attached); return nil }})
	}()
	<-attached
	b.start(id)
	eventually(t, "the shell", func() bool { return strings.Contains(screen.String(), "terminal") })
	if err := b.Resize(t.Context(), id, "", 24, 100); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(keys, "hello\r")
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = keys.Close()
	want := "/dev/pts/0\r\nterminal\r\nhello\r\ngot hello\r\n24 100\r\n/dev/console\r\n"
	if screen.String() != want {
		t.Errorf("screen %q, want %q", screen.String(), want)
	}
}

func TestExec(t *testing.T) { onBoth(t, testExec) }

func testExec(t *testing.T, b *bed) {
	id := b.shell(busybox(t), `echo $$ >/tmp/first; exec sleep 1000`, func(s *Spec) {
		s.Process.Env, s.Process.Hostname = []string{"A=1"}, "web-1"
	})
	b.start(id)
	for i, c := range []struct {
		name string
		spec model.ExecSpec
		in   string
		want string
		code int
	}{
		{"streams", model.ExecSpec{Args: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}}, "", "out\n|err\n", 7},
		{"input", model.ExecSpec{Args: []string{"cat"}, Stdin: true}, "hello", "hello|", 0},
		{"environment", model.ExecSpec{Args: []string{"sh", "-c", "echo $A $B; hostname; cat /tmp/first; pwd"}, Env: []string{"B=2"}, Dir: "/tmp"}, "", "1 2\nweb-1\n1\n/tmp\n|", 0},
		{"user", model.ExecSpec{Args: []string{"sh", "-c", "id -un; echo $HOME"}, User: "web"}, "", "web\n/home/web\n|", 0},
		{
			"isolation",
			model.ExecSpec{Args: []string{"sh", "-c", "grep -E 'CapBnd|Seccomp:' /proc/self/status; pidof sleep; ls /proc/self/fd | wc -l"}},
			"",
			"CapBnd:\t00000000a80425fb\nSeccomp:\t2\n1\n4\n|", 0,
		},
		{"all capabilities", model.ExecSpec{Args: []string{"sh", "-c", "ip link set lo mtu 1000 && echo set"}, AllCaps: true}, "", "set\n|", 0},
		{"no more than the container's", model.ExecSpec{Args: []string{"sh", "-c", "ip link set lo mtu 1001 2>/dev/null || echo refused"}}, "", "refused\n|", 0},
		{"terminal", model.ExecSpec{Args: []string{"sh", "-c", "tty; stty size"}, TTY: true, Rows: 30, Cols: 90}, "", "/dev/pts/0\r\n30 90\r\n|", 0},
		{"no such command", model.ExecSpec{Args: []string{"nope"}}, "", "|OCI runtime exec failed: exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH\r\n", 127},
		{"no such directory", model.ExecSpec{Args: []string{"true"}, Dir: "/nope"}, "", "|OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd (\"/nope\"): no such file or directory\r\n", 126},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs buffer
			opts := AttachOptions{Stdout: &out, Stderr: &errs}
			if c.spec.Stdin {
				opts.Stdin = strings.NewReader(c.in)
			}
			exec := fmt.Sprint("exec", i)
			if err := b.Exec(deadline(t), id, exec, c.spec, opts); err != nil {
				t.Fatal(err)
			}
			// runc has more words for a directory that is not there.
			if got := strings.Replace(out.String()+"|"+errs.String(), " set in config.json failed", "", 1); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if st, err := b.WaitExec(deadline(t), id, exec); err != nil || st.Code != c.code {
				t.Errorf("ended %+v %v", st, err)
			}
		})
	}
	if err := b.Exec(deadline(t), id, "d", model.ExecSpec{Args: []string{"nope"}, Detached: true}, AttachOptions{}); !isExec(err, 0) || !strings.Contains(err.Error(), "not found") {
		t.Errorf("detached, no such command: %v", err)
	}
	if err := b.Exec(deadline(t), id, "d2", model.ExecSpec{Args: []string{"touch", "/tmp/was-here"}, Detached: true}, AttachOptions{}); err != nil {
		t.Error(err)
	}
	if st, err := b.WaitExec(deadline(t), id, "d2"); err != nil || st.Code != 0 {
		t.Errorf("detached: %+v %v", st, err)
	}
	if err := b.Exec(deadline(t), id, "d3", model.ExecSpec{Args: []string{"sleep", "1000"}, Detached: true}, AttachOptions{}); err != nil {
		t.Error(err)
	}
	if err := b.SignalExec(deadline(t), id, "d3", 9); err != nil {
		t.Error(err)
	}
	if st, err := b.WaitExec(deadline(t), id, "d3"); err != nil || st.Code != codeKilled {
		t.Errorf("killed: %+v %v", st, err)
	}
	if _, err := b.WaitExec(deadline(t), id, "never"); !errdefs.IsNotFound(err) {
		t.Errorf("never started: %v", err)
	}
	// The end of the container is the end of what else runs in it.
	ended := make(chan error, 1)
	go func() {
		ended <- b.Exec(context.Background(), id, "long", model.ExecSpec{Args: []string{"sh", "-c", "echo on; sleep 1000"}}, AttachOptions{Stdout: io.Discard})
	}()
	if err := b.Signal(deadline(t), id, 9); err != nil {
		t.Error(err)
	}
	b.wait(id)
	if err := <-ended; err != nil && !errdefs.IsConflict(err) {
		t.Error(err)
	}
	if err := b.Exec(deadline(t), id, "late", model.ExecSpec{Args: []string{"true"}}, AttachOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("not running: %v", err)
	}
}
