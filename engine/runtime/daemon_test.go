package runtime

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/engine/containerd"
	"weft/engine/testenv"
)

// daemon is a containerd of these tests, in a mount namespace where /run is
// its own: its shims have their sockets below /run/containerd whatever it is
// told.
type daemon struct {
	dir     string
	address string
	log     *os.File

	mu  sync.Mutex
	cmd *exec.Cmd
}

var shared struct {
	mu     sync.Mutex
	daemon *daemon
}

// theDaemon gives the daemon of this run of the tests.
func theDaemon(t *testing.T) *daemon {
	t.Helper()
	for path, pack := range map[string]string{
		"/usr/bin/containerd": "containerd", "/usr/bin/containerd-shim-runc-v2": "containerd", "/usr/sbin/runc": "runc",
	} {
		if _, err := os.Stat(path); err != nil {
			testenv.Lacks(t, "%v: apt-get install %s", err, pack)
		}
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.daemon == nil {
		shared.daemon = newDaemon(t)
	}
	return shared.daemon
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-ctrd-")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{dir: dir, address: filepath.Join(dir, "c.sock")}
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), d.address, d.address+".ttrpc")
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if d.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	d.start(t)
	return d
}

func (d *daemon) start(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	cmd := exec.Command("sh", "-c", `mount --bind "$0/run" /run && exec containerd --config "$0/config.toml"`, d.dir)
	cmd.Stdout, cmd.Stderr = d.log, d.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.cmd = cmd
	c, err := containerd.Open(containerd.Ref{Address: d.address, Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for err = context.Canceled; err != nil && ctx.Err() == nil; {
		_, err = c.List(ctx)
		<-time.After(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("containerd does not answer: %v\n%s", err, d.tail())
	}
}

// kill ends the daemon as a crash would.
func (d *daemon) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

func (d *daemon) tail() string {
	text, _ := os.ReadFile(d.log.Name())
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return !strings.Contains(line, "level=error") })
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// shims gives the PIDs of the daemon's shims in a namespace.
func (d *daemon) shims(namespace string) []int {
	var found []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmd, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if bytes.Contains(cmd, []byte("containerd-shim")) && bytes.Contains(cmd, []byte("\x00"+namespace+"\x00")) {
			var pid int
			_, _ = fmt.Sscan(filepath.Base(dir), &pid)
			found = append(found, pid)
		}
	}
	return found
}

// empty makes sure that nothing of a namespace is left.
func (d *daemon) empty(t *testing.T, namespace string) {
	t.Helper()
	c, err := containerd.Open(containerd.Ref{Address: d.address, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if ids, err := c.List(context.Background()); err != nil || len(ids) > 0 {
		t.Errorf("left in containerd: %v %v", ids, err)
	}
	eventually(t, "containerd's shims to leave", func() bool { return len(d.shims(namespace)) == 0 })
	left, _ := filepath.Glob(filepath.Join(d.dir, "state/io.containerd.runtime.v2.task", namespace, "*"))
	if len(left) > 0 {
		t.Errorf("left in containerd's state: %v", left)
	}
	if t.Failed() {
		t.Logf("end of containerd's log:\n%s", d.tail())
	}
}

func stopDaemon() {
	d := shared.daemon
	if d == nil {
		return
	}
	d.mu.Lock()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
	d.mu.Unlock()
	_ = d.log.Close()
	_ = os.RemoveAll(d.dir)
}
