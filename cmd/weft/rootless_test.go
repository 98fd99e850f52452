package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine"
	"weft/engine/kernel"
	"weft/engine/netnstest"
	"weft/engine/testenv"
)

// ordinaryUser is a UID and GID no system gives to anybody.
const ordinaryUser = 64123

// person is an ordinary user of a machine: one made of a network namespace.
type person struct {
	machine, neighbor *netnstest.Host
	dir               string // everything below is the user's
	bin               string
	wrap              []string // what the user's commands are run by
	sys               *syscall.SysProcAttr
}

// unprivileged gives a user with nothing; what the user leaves is an error.
func unprivileged(t *testing.T) *person {
	t.Helper()
	netnstest.Require(t)
	machine, neighbor := netnstest.TwoHosts(t)
	dir, err := os.MkdirTemp("", "wr-") // short: sockets live below
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	p := &person{machine: machine, neighbor: neighbor, dir: dir, bin: filepath.Join(dir, "weft")}
	t.Cleanup(func() {
		left := p.processes(t)
		for _, pid := range left {
			t.Errorf("left behind: process %d", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		await(t, 10*time.Second, func() (bool, string) { return len(p.processes(t)) == 0, "processes that don't end" })
		must(t, os.RemoveAll(dir))
	})
	b, err := os.ReadFile(weft(t))
	must(t, err)
	must(t, os.WriteFile(p.bin, b, 0o755))
	for _, name := range []string{"home", "run"} {
		must(t, os.Mkdir(p.path(name), 0o700))
		must(t, os.Chown(p.path(name), ordinaryUser, ordinaryUser))
	}
	if r := p.try(t, "/bin/sh", "-c", "unshare -Ur true"); r.code != 0 {
		testenv.Lacks(t, "no user namespaces for ordinary users: %v", r)
	}
	return p
}

func (p *person) path(name string) string { return filepath.Join(p.dir, name) }

func (p *person) runDir() string { return p.path("run/weft") }

// processes gives the user's processes.
func (p *person) processes(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	must(t, err)
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		status, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "status")) // it may have ended
		if strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", ordinaryUser)) && !strings.Contains(string(status), "\nState:\tZ") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// try runs a command on the user's machine as the user.
func (p *person) try(t *testing.T, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute) // cleanups run commands, too
	defer cancel()
	argv = slices.Concat(p.wrap, []string{"setpriv", "--reuid", strconv.Itoa(ordinaryUser), "--regid", strconv.Itoa(ordinaryUser), "--clear-groups", "--"}, argv)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.SysProcAttr = "/", p.sys
	cmd.Env = p.environ()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	must(t, kernel.Do(p.machine.NS, cmd.Start))
	err := cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	if err != nil && code <= 0 {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, errOut.String())
	}
	return result{out.String(), errOut.String(), code}
}

// weft runs the binary, which must do as asked.
func (p *person) weft(t *testing.T, args ...string) string {
	t.Helper()
	r := p.try(t, append([]string{p.bin}, args...)...)
	if r.code != 0 {
		t.Fatalf("weft %s: %v\n%s", strings.Join(args, " "), r, tail(p.try(t, p.bin, "engine", "logs").out, 20))
	}
	return strings.TrimSpace(r.out)
}

// fetch asks an HTTP server as the namespace sees it.
func fetch(t *testing.T, ns *kernel.Namespace, url string) (string, error) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = kernel.Do(ns, func() error {
			c, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}}
	resp, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// answers waits until a probe answers at an address of the user's machine, as
// its neighbor sees it.
func (p *person) answers(t *testing.T, port int) {
	t.Helper()
	url := fmt.Sprintf("http://%s/", net.JoinHostPort(p.machine.Addr.String(), strconv.Itoa(port)))
	await(t, 15*time.Second, func() (bool, string) {
		text, err := fetch(t, p.neighbor.NS, url)
		return err == nil && strings.Contains(text, `"hostname"`), fmt.Sprintf("%s: %q, %v", url, text, err)
	})
}

// engine gives what runs as the user's engine.
func (p *person) engine(t *testing.T) engine.Instance {
	t.Helper()
	in, running, err := engine.Running(p.runDir())
	if err != nil || !running {
		t.Fatalf("no engine runs: %v", err)
	}
	return in
}

// killed kills a process and waits until no engine runs.
func (p *person) killed(t *testing.T, pid int) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	await(t, 10*time.Second, func() (bool, string) {
		_, running, err := engine.Running(p.runDir())
		return err == nil && !running, "an engine that runs"
	})
}

// inner gives the PID of the engine itself, whose parent is the holder.
func (p *person) inner(t *testing.T) int {
	t.Helper()
	front := p.engine(t).Pid
	for _, pid := range p.processes(t) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		if pid != front && strings.Contains(string(cmdline), "\x00engine\x00run\x00") {
			return pid
		}
	}
	t.Fatal("the engine itself is not found")
	return 0
}

// state gives what must be the same before and after a crash.
func (p *person) state(t *testing.T, name string) string {
	t.Helper()
	return p.weft(t, "inspect", name, "--format", "{{.State.Pid}} {{.State.StartedAt}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}")
}

// files gives what is in the engine's run directory.
func (p *person) files(t *testing.T) []string {
	t.Helper()
	var files []string
	must(t, filepath.WalkDir(p.path("run"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	return files
}

// TestRootlessEngine is the life of an engine that an ordinary user starts.
func TestRootlessEngine(t *testing.T) {
	p := unprivileged(t)
	foreign := p.path("foreign")
	must(t, p.neighbor.NS.Bind(foreign))
	t.Cleanup(func() { must(t, kernel.Remove(foreign)) })
	if r := p.try(t, p.bin, "engine", "start"); r.code != 0 || !strings.Contains(r.out, "is ready: unix://"+p.runDir()+"/engine.sock") ||
		!strings.Contains(r.err, "/etc/subuid") {
		t.Fatalf("start: %v", r)
	}
	t.Cleanup(func() { p.try(t, p.bin, "engine", "stop") })
	if out := p.weft(t, "info", "--format", "{{.SecurityOptions}} {{.CgroupDriver}}"); out != "[name=seccomp,profile=builtin name=rootless] none" {
		t.Errorf("security options: %s", out)
	}
	archive, err := os.ReadFile(busyboxArchive(t))
	must(t, err)
	must(t, os.WriteFile(p.path("busybox.tar"), archive, 0o644))
	p.weft(t, "import", p.path("busybox.tar"), "busybox:latest")
	p.ownContainer(t)

	p.weft(t, "swarm", "init")
	p.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/16", "ov")
	if r := p.try(t, p.bin, "attach", "ov", "--netns", foreign); r.code != 1 || !strings.Contains(r.err, "only an engine that runs as root can attach") {
		t.Errorf("attaching root's namespace: %v", r)
	}
	p.weft(t, "service", "create", "--quiet", "--name", "web", "--network", "ov", "--replicas", "2", "-p", "8080:80", "weft/probe")
	p.weft(t, "run", "-d", "--name", "site", "-p", "8081:80", "weft/probe")
	p.weft(t, "run", "-d", "--name", "inside", "--stop-timeout", "1", "--network", "ov", "busybox", "sleep", "1h")
	p.weft(t, "cp", p.path("busybox.tar"), "inside:/etc/copy")
	if out := p.weft(t, "exec", "inside", "ls", "-ln", "/etc/copy"); !strings.HasPrefix(out, "-rw-r--r--    1 0        0 ") {
		t.Errorf("a file that was copied: %s", out)
	}
	if out := p.weft(t, "exec", "inside", "nslookup", "tasks.web"); strings.Count(out, "Address: 10.20.") != 2 {
		t.Errorf("names of the tasks:\n%s", out)
	}
	p.reachEachOther(t)
	p.answers(t, 8080)
	p.answers(t, 8081)

	before := p.state(t, "site") + p.state(t, "inside")
	for _, kill := range []func(*testing.T) int{p.inner, func(t *testing.T) int { return p.engine(t).Pid }} {
		p.killed(t, kill(t))
		p.weft(t, "engine", "start")
		if now := p.state(t, "site") + p.state(t, "inside"); now != before {
			t.Errorf("containers before and after the crash:\n%s\n%s", before, now)
		}
		p.answers(t, 8081)
		p.answers(t, 8080)
		p.reachEachOther(t)
	}

	p.weft(t, "engine", "stop")
	if left := p.processes(t); len(left) > 0 {
		t.Errorf("processes after the stop: %v", left)
	}
	if files := p.files(t); len(files) != 1 || filepath.Base(files[0]) != "engine.json" {
		t.Errorf("files after the stop: %v", files)
	}
}

// ownContainer looks at a container of a user who has no other user to give.
func (p *person) ownContainer(t *testing.T) {
	t.Helper()
	out := p.weft(t, "run", "--rm", "busybox", "sh", "-c", "id -u; touch /file && ls -ln /file; ls /proc | grep -c '^[0-9]'; cat /proc/self/status")
	for _, want := range []string{"0\n-rw-r--r--    1 0        0 ", "\nSeccomp:\t2\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("a container has no %q:\n%s", want, out)
		}
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"uidmap", []string{"run", "--rm", "--user", "33", "busybox", "id"}},
		{"limits of the container", []string{"run", "--rm", "--memory", "32m", "busybox", "id"}},
		{"ip_unprivileged_port_start", []string{"run", "--rm", "-p", "80:80", "busybox", "id"}},
	} {
		if r := p.try(t, append([]string{p.bin}, c.args...)...); r.code < 125 || !strings.Contains(r.err, c.want) {
			t.Errorf("weft %s: %v, want %q", strings.Join(c.args, " "), r, c.want)
		}
	}
}

// reachEachOther asks the service by its name until both its tasks answered.
func (p *person) reachEachOther(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	await(t, 15*time.Second, func() (bool, string) {
		r := p.try(t, p.bin, "exec", "inside", "timeout", "3", "wget", "-qO-", "http://web/")
		var a struct{ Hostname string }
		if json.Unmarshal([]byte(r.out), &a) == nil {
			seen[a.Hostname] = true
		}
		return len(seen) == 2, fmt.Sprintf("answers of both tasks: %v, last %v", seen, r)
	})
}

// TestRootlessHolderKilled cuts the power of a user's namespaces: everything in
// them ends, and the next engine knows.
func TestRootlessHolderKilled(t *testing.T) {
	p := unprivileged(t)
	p.weft(t, "engine", "start")
	t.Cleanup(func() { p.try(t, p.bin, "engine", "stop") })
	p.weft(t, "run", "-d", "--name", "site", "--restart", "always", "-p", "8081:80", "weft/probe")
	p.weft(t, "run", "-d", "--name", "other", "weft/probe")
	for _, pid := range p.processes(t) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		if strings.HasPrefix(string(cmdline), "weft-holder\x00") {
			must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	await(t, 10*time.Second, func() (bool, string) { return len(p.processes(t)) == 0, "processes of a holder that was killed" })
	p.weft(t, "engine", "start")
	p.answers(t, 8081)
	if out := p.weft(t, "ps", "-a", "--filter", "name=other", "--format", "{{.State}}"); out != "exited" {
		t.Errorf("a container after that: %s", out)
	}
}

// TestRootlessUsersAndWayOut is for a system with the packages uidmap and
// slirp4netns, and a user with a range of subordinate IDs.
func TestRootlessUsersAndWayOut(t *testing.T) {
	for _, program := range []string{"newuidmap", "slirp4netns"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal("this test needs Debian's uidmap and slirp4netns: ", err)
		}
	}
	p := unprivileged(t)
	id := strconv.Itoa(ordinaryUser)
	for name, text := range map[string]string{"passwd": "ann:x:" + id + ":" + id + "::/:/bin/sh\n", "subuid": "ann:300000:65536\n", "subgid": id + ":400000:65536\n"} {
		must(t, os.WriteFile(p.path(name), []byte(text), 0o644))
	}
	p.wrap = []string{"unshare", "--mount", "--propagation", "private", "sh", "-ec", `
		for file in passwd subuid subgid; do mount --bind ` + p.dir + `/$file /etc/$file; done
		mount -t tmpfs tmpfs /dev/net
		mknod -m 666 /dev/net/tun c 10 200
		exec "$@"`, "sh"}
	if r := p.try(t, p.bin, "engine", "start"); r.code != 0 || r.err != "" {
		t.Fatalf("start: %v", r)
	}
	t.Cleanup(func() { p.try(t, p.bin, "engine", "stop") })
	p.wrap = nil

	archive, err := os.ReadFile(busyboxArchive(t))
	must(t, err)
	must(t, os.WriteFile(p.path("busybox.tar"), archive, 0o644))
	p.weft(t, "import", p.path("busybox.tar"), "busybox:latest")
	p.weft(t, "run", "-d", "--name", "one", "--stop-timeout", "1", "--user", "33:44", "-v", "vol:/v", "busybox", "sleep", "1h")
	if out := p.weft(t, "exec", "one", "sh", "-c", "id; cat /proc/self/uid_map"); !strings.HasPrefix(out, "uid=33 gid=44") || !strings.Contains(out, "300000") {
		t.Errorf("a container of another user: %s", out)
	}
	p.weft(t, "exec", "--user", "0", "one", "sh", "-c", "touch /v/file && busybox chown 65534:7 /v/file")
	var st syscall.Stat_t
	must(t, syscall.Stat(p.path("home/.local/share/weft/volumes/vol/_data/file"), &st))
	if st.Uid != 300000+65533 || st.Gid != 400006 {
		t.Errorf("the volume's file is of %d:%d outside", st.Uid, st.Gid)
	}

	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "from "+r.RemoteAddr) })}
	var l net.Listener
	must(t, kernel.Do(p.neighbor.NS, func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(p.neighbor.Addr.String(), "80"))
		return err
	}))
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	await(t, 15*time.Second, func() (bool, string) {
		r := p.try(t, p.bin, "exec", "one", "timeout", "3", "wget", "-qO-", "http://"+p.neighbor.Addr.String()+"/")
		return strings.HasPrefix(r.out, "from "+p.machine.Addr.String()+":"), r.String()
	})
	must(t, server.Close())
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	p.weft(t, "engine", "stop")
	if left := p.processes(t); len(left) > 0 {
		t.Errorf("processes after the stop: %v", left)
	}
}

// TestNoUserNamespaces wants the administrator's part named.
func TestNoUserNamespaces(t *testing.T) {
	p := unprivileged(t)
	// The limit counts per user namespace: in one for the test it does no harm.
	all := []syscall.SysProcIDMap{{Size: 1 << 17}}
	p.sys = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true}
	p.wrap = []string{"sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"`, "sh"}
	for _, args := range [][]string{{"engine", "start"}, {"engine", "run"}} {
		if r := p.try(t, append([]string{p.bin}, args...)...); r.code != 1 || !strings.Contains(r.err, "sysctl user.max_user_namespaces") {
			t.Errorf("weft %s: %v", strings.Join(args, " "), r)
		}
	}
	if files := p.files(t); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}
