package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"

	"weft/engine/containerd"
	"weft/engine/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a containerd in directories of its own and gives its socket. With
// flags it has namespaces of its own. It runs no container: its shims would
// have their sockets in the machine's /run/containerd.
func start(t *testing.T, flags uintptr) string {
	t.Helper()
	const program = "/usr/bin/containerd"
	if _, err := os.Stat(program); err != nil {
		testenv.Lacks(t, "%v: apt-get install containerd", err)
	}
	dir := t.TempDir()
	address := filepath.Join(dir, "c.sock")
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), address, address+".ttrpc")
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flags}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("unix", address); err == nil {
			_ = conn.Close()
			return address
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("containerd does not listen")
		}
	}
}

func TestUsable(t *testing.T) {
	version, err := containerd.Usable(t.Context(), start(t, 0))
	if err != nil || !strings.HasPrefix(version, "1.") {
		t.Errorf("got %q %v", version, err)
	}
}

func TestNotUsable(t *testing.T) {
	dir := t.TempDir()
	deaf := filepath.Join(dir, "deaf.sock")
	l, err := net.Listen("unix", deaf) // which nobody accepts from
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, address, want string }{
		{"none", filepath.Join(dir, "none"), "no such file or directory"},
		{"no socket", file, "connection refused"},
		{"no answer", deaf, "does not answer"},
		{"elsewhere", start(t, syscall.CLONE_NEWNS), "namespace of its own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := containerd.Usable(t.Context(), c.address)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.address) || !errdefs.IsUnavailable(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestNothingThere asks for what is not there, and deletes it.
func TestNothingThere(t *testing.T) {
	c, err := containerd.Open(containerd.Ref{Address: start(t, 0), Namespace: "weft-test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if ids, err := c.List(ctx); err != nil || len(ids) > 0 {
		t.Errorf("list: %v %v", ids, err)
	}
	for _, p := range []containerd.Process{{Container: "c"}, {Container: "c", Exec: "e"}} {
		if _, err := c.Wait(ctx, p); !errdefs.IsNotFound(err) || containerd.Transient(err) {
			t.Errorf("wait for %v: %v", p, err)
		}
		if _, err := c.Start(ctx, p); !errdefs.IsNotFound(err) {
			t.Errorf("start %v: %v", p, err)
		}
		if err := c.Delete(ctx, p); err != nil {
			t.Errorf("delete %v: %v", p, err)
		}
	}
	if err := c.Purge(ctx, "c"); err != nil {
		t.Errorf("purge: %v", err)
	}
}

func TestExecFailure(t *testing.T) {
	for _, c := range []struct{ err, want string }{
		{
			`containerd: create task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH: unknown`,
			`exec: "nope": executable file not found in $PATH`,
		},
		{
			`containerd: start process: OCI runtime exec failed: exec failed: unable to start container process: exec: "/etc": permission denied: unknown`,
			`exec: "/etc": permission denied`,
		},
		{"containerd: create task: context deadline exceeded", ""},
	} {
		if got := containerd.ExecFailure(errors.New(c.err)); got != c.want {
			t.Errorf("%s: %q, want %q", c.err, got, c.want)
		}
	}
	if got := containerd.ExecFailure(nil); got != "" {
		t.Errorf("no error: %q", got)
	}
}
