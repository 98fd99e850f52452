package runtime

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weft/engine/model"
)

// report is what a container sees of the world.
type report struct {
	Pids   []string
	Files  []string          // all outside /proc and /sys
	Mounts string            // /proc/self/mountinfo
	Status string            // /proc/self/status
	FDs    []string          // where the descriptors lead
	Tries  map[string]string // what it tried, and the error
	Net    []string          // interfaces
}

// isolation is the applet that makes a report.
func isolation() int {
	var r report
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range pids {
		r.Pids = append(r.Pids, filepath.Base(p))
	}
	_ = filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		if path == "/proc" || path == "/sys" {
			return fs.SkipDir
		}
		if err != nil || !d.IsDir() {
			r.Files = append(r.Files, path)
		}
		return nil
	})
	r.Mounts = file("/proc/self/mountinfo")
	r.Status = file("/proc/self/status")
	links, _ := net.Interfaces()
	for _, l := range links {
		r.Net = append(r.Net, fmt.Sprint(l.Name, " ", l.Flags&net.FlagUp != 0))
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		to, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		r.FDs = append(r.FDs, fd.Name()+" "+to)
	}
	r.Tries = map[string]string{}
	for name, try := range tries() {
		r.Tries[name] = fmt.Sprint(try())
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
	return 0
}

func file(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func write(name string) func() error {
	return func() error { return os.WriteFile(name, []byte("x"), 0o600) }
}

func raw(nr uintptr, args ...uintptr) func() error {
	return func() error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, errno := syscall.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
			return errno
		}
		return nil
	}
}

func tries() map[string]func() error {
	return map[string]func() error{
		"mount":           func() error { return unix.Mount("none", "/etc", "tmpfs", 0, "") },
		"remount root":    func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"unmount":         func() error { return unix.Unmount("/proc", unix.MNT_DETACH) },
		"pivot root":      func() error { return unix.PivotRoot(".", ".") },
		"chroot":          func() error { return unix.Chroot("/") },
		"mknod":           func() error { return unix.Mknod("/dev/shm/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0))) },
		"mknod null":      func() error { return unix.Mknod("/dev/shm/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) },
		"user namespace":  func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"mount namespace": func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		"clone":           raw(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD)),
		"clone3":          raw(unix.SYS_CLONE3, 0, 0),
		"setns":           func() error { return unix.Setns(0, 0) },
		"hostname":        func() error { return unix.Sethostname([]byte("x")) },
		"keyring":         raw(unix.SYS_KEYCTL, 0, 0),
		"bpf":             raw(unix.SYS_BPF, 0, 0, 0),
		"io_uring":        raw(unix.SYS_IO_URING_SETUP, 1, 0),
		"open by handle":  raw(unix.SYS_OPEN_BY_HANDLE_AT, 0, 0, 0),
		"kernel log":      raw(unix.SYS_SYSLOG, 2, 0, 0),
		"reboot":          raw(unix.SYS_REBOOT, 0, 0, 0, 0),
		"x32":             raw(x32Bit | 39),
		"own binary":      write("/probe"),
		"own executable":  write("/proc/self/exe"),
		"etc":             write("/etc/passwd"),
		"new file":        write("/new"),
		"sysctl":          write("/proc/sys/kernel/domainname"),
		"sysrq":           write("/proc/sysrq-trigger"),
		"init's root":     func() error { _, err := os.ReadDir("/proc/1/root/../../home"); return err },
		"interfaces": func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			req, _ := unix.NewIfreq("lo")
			req.SetUint16(0)
			return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
		},
		"abstract socket": func() error { _, err := net.Dial("unix", hostSocket); return err },
		"root again":      func() error { return syscall.Setresuid(0, 0, 0) },

		// What it may do.
		"raw socket":  func() error { c, err := net.ListenPacket("ip4:icmp", "127.0.0.1"); _ = c; return err },
		"ping socket": func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP); return err },
		"low port":    func() error { _, err := net.Listen("tcp", ":80"); return err },
		"shm":         write("/dev/shm/x"),
		"null":        write("/dev/null"),
		"stdout":      func() error { _, err := os.OpenFile("/dev/stdout", os.O_WRONLY, 0); return err },
		"random": func() error {
			f, err := os.Open("/dev/urandom")
			_ = f
			return err
		},
	}
}

const hostSocket = "@weft-runtime-test"

func TestIsolation(t *testing.T) { onBoth(t, testIsolation) }

func testIsolation(t *testing.T, b *bed) {
	l, err := net.Listen("unix", hostSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, c := range []struct {
		user, uid, caps, root, rawSocket string
	}{
		{"", "0", "0000000000002400", "<nil>", "<nil>"},
		{"nobody", "65534", "0000000000000000", "operation not permitted", "listen ip4:icmp 127.0.0.1: socket: operation not permitted"},
	} {
		t.Run("user "+c.user, func(t *testing.T) {
			st, out, errs := b.runSpec(model.ProcessSpec{Args: []string{"isolation"}, User: c.user})
			var r report
			if err := json.Unmarshal([]byte(out), &r); err != nil || st.Code != 0 {
				t.Fatalf("%v %+v %s", err, st, errs)
			}
			checkView(t, r, b.daemon != nil)
			for _, want := range []string{
				"Uid:\t" + strings.Repeat(c.uid+"\t", 4)[:4*len(c.uid)+3] + "\n", "Gid:\t" + c.uid + "\t", "NoNewPrivs:\t1\n", "Seccomp:\t2\n", "Groups:\t" + c.uid + " \n",
				"CapInh:\t0000000000000000\n", "CapPrm:\t" + c.caps, "CapEff:\t" + c.caps, "CapBnd:\t0000000000002400", "CapAmb:\t0000000000000000\n",
			} {
				if !strings.Contains(r.Status, want) {
					t.Errorf("status has no %q:\n%s", want, r.Status)
				}
			}
			allowed := map[string]string{
				"raw socket": c.rawSocket, "ping socket": "<nil>", "low port": "<nil>", "shm": "<nil>", "null": "<nil>",
				"stdout": "<nil>", "random": "<nil>", "root again": c.root,
			}
			for name, got := range r.Tries {
				if want, ok := allowed[name]; ok {
					if got != want {
						t.Errorf("%s: %s, want %s", name, got, want)
					}
				} else if !denial.MatchString(got) {
					t.Errorf("%s: %s", name, got)
				}
			}
		})
	}
}

var denial = regexp.MustCompile(`not permitted|permission denied|read-only file system|text file busy|not implemented|no such file|connection refused`)

// checkView checks that there is nothing of the host in sight.
func checkView(t *testing.T, r report, byRunc bool) {
	t.Helper()
	if !slices.Equal(r.Pids, []string{"1"}) {
		t.Errorf("processes: %v", r.Pids)
	}
	want := []string{
		"/bin/probe", "/dev/fd", "/dev/full", "/dev/null", "/dev/ptmx", "/dev/pts/ptmx", "/dev/random", "/dev/stderr", "/dev/stdin",
		"/dev/stdout", "/dev/tty", "/dev/urandom", "/dev/zero", "/etc/group", "/etc/hostname", "/etc/hosts",
		"/etc/passwd", "/etc/resolv.conf", "/probe",
	}
	if !slices.Equal(r.Files, want) {
		t.Errorf("files: %v", r.Files)
	}
	if !slices.Equal(r.Net, []string{"lo true"}) {
		t.Errorf("interfaces: %v", r.Net)
	}
	for _, line := range strings.Split(strings.TrimSpace(r.Mounts), "\n") {
		f := strings.Fields(line)
		point, options := f[4], f[5]
		if byRunc && (point == "/" || point == "/sys/firmware") && strings.HasPrefix(options, "ro,") {
			continue // no_new_privs has to do; the other is empty
		}
		if !strings.Contains(options, "nosuid") && point != "/proc" && !strings.HasPrefix(point, "/proc/") {
			t.Errorf("mount without nosuid: %s", line)
		}
		if (point == "/" || point == "/probe" || point == "/proc/sys" || point == "/sys" || strings.HasPrefix(point, "/sys/fs/cgroup/")) && !strings.HasPrefix(options, "ro,") {
			t.Errorf("can be written: %s", line)
		}
		if strings.Contains(line, "master:") || strings.Contains(line, "shared:") {
			t.Errorf("mount is tied to the host's: %s", line)
		}
	}
	for _, fd := range r.FDs {
		n, to, _ := strings.Cut(fd, " ")
		if to != "" && n > "2" && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/sys/fs/cgroup/cpu") && !strings.HasPrefix(to, "/proc/1/fd") || strings.Contains(to, "mount") {
			t.Errorf("descriptor %s", fd)
		}
	}
}

func TestSandboxFiles(t *testing.T) { onBoth(t, testSandboxFiles) }

func testSandboxFiles(t *testing.T, b *bed) {
	spec := Spec{
		ID: "files", Builtin: true, Containerd: b.dirs.Containerd, Process: model.ProcessSpec{
			Hostname: "web-1", Dir: "/srv/data", Entrypoint: []string{probePath},
			Args: []string{"cat", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/passwd", "/proc/sys/kernel/hostname"},
		},
		Hosts:   []HostEntry{{Addr: addr("10.20.0.5"), Names: []string{"web-1", "web-1.net"}}},
		Resolve: Resolve{Servers: addrs("127.0.0.11"), Search: []string{"example.org"}, Options: []string{"ndots:0"}},
	}
	if err := b.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	b.start("files")
	b.wait("files")
	out, _ := b.logs("files", LogOptions{Tail: -1})
	want := "web-1\n" + loopbackHosts + "10.20.0.5\tweb-1 web-1.net\n" +
		"nameserver 127.0.0.11\nsearch example.org\noptions ndots:0\n" +
		"root:x:0:0:root:/root:/probe\nnobody:x:65534:65534:nobody:/:/probe\nweb-1\n"
	if out != want {
		t.Errorf("got %q\nwant %q", out, want)
	}
	if _, out, _ := b.runSpec(model.ProcessSpec{Args: []string{"cwd"}, Dir: "/srv/data"}); out != "/srv/data <nil>\n" {
		t.Errorf("cwd %q", out)
	}
}

func TestEnvironment(t *testing.T) { onBoth(t, testEnvironment) }

func testEnvironment(t *testing.T, b *bed) {
	t.Setenv("WEFT_SECRET", "of the engine")
	_, out, _ := b.runSpec(model.ProcessSpec{Args: []string{"env"}, Hostname: "h", User: "nobody", Env: []string{"A=1", "B=x=y", "PATH", "A=2"}})
	if want := "HOSTNAME=h\nA=2\nB=x=y\nHOME=/\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	_, out, _ = b.run("env")
	if want := defaultPath + "\nHOSTNAME=000000000000\nHOME=/root\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestNetworkNamespace(t *testing.T) { onBoth(t, testNetworkNamespace) }

func testNetworkNamespace(t *testing.T, b *bed) {
	ns := newNetNS(t)
	if b.daemon != nil { // which does not see this process's mounts
		fd, err := os.Open(ns.path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = fd.Close() }()
		ns.path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd.Fd())
	}
	if err := b.Create(t.Context(), Spec{ID: "in", NetNS: ns.path, Builtin: true, Containerd: b.dirs.Containerd, Process: probe("netns")}); err != nil {
		t.Fatal(err)
	}
	b.start("in")
	b.wait("in")
	if out, _ := b.logs("in", LogOptions{Tail: -1}); out != ns.name+" <nil>\n" {
		t.Errorf("in %q, want %q", out, ns.name)
	}
	host, _ := os.Readlink("/proc/self/ns/net")
	if _, out, _ := b.run("netns"); strings.Contains(out, host) || strings.Contains(out, ns.name) {
		t.Errorf("without one it is in %s", out)
	}

	if err := b.Create(t.Context(), Spec{ID: "out", NetNS: ns.path + "x", Builtin: true, Containerd: b.dirs.Containerd}); err != nil {
		t.Fatal(err)
	}
	_, err := b.Start(t.Context(), "out")
	if err == nil || !strings.Contains(err.Error(), "network namespace: ") || !strings.Contains(err.Error(), ns.path+"x: no such file or directory") {
		t.Errorf("got %v", err)
	}
}
