package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/engine/lab"
	"weft/engine/testenv"
)

// containerdBoot is lab.EngineBoot for hosts with a containerd on the usual
// socket, which is in a /run of the host's own.
func containerdBoot(tb testing.TB) func(lab.Host) lab.Boot {
	tb.Helper()
	for path, pack := range map[string]string{"/usr/bin/containerd": "containerd", "/usr/sbin/runc": "runc"} {
		if _, err := os.Stat(path); err != nil {
			testenv.Lacks(tb, "%v: apt-get install %s", err, pack)
		}
	}
	engine := lab.EngineBoot(weft(tb))
	return func(h lab.Host) lab.Boot {
		dir := filepath.Join(h.DataDir(), "containerd")
		must(tb, os.MkdirAll(dir, 0o700))
		config := fmt.Sprintf("version = 2\nroot = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n", dir)
		must(tb, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600))
		boot := engine(h)
		// The engine is booted again after its death; containerd goes on.
		boot.Command = append([]string{"/bin/sh", "-c", `
			[ -S /run/containerd/containerd.sock ] || NOTIFY_SOCKET= containerd --config "$0/config.toml" >"$0/log" 2>&1 &
			until [ -S /run/containerd/containerd.sock ]; do sleep 0.1; done
			exec "$@"`, dir}, boot.Command...)
		return boot
	}
}

// TestImagesOnContainerd runs foreign images by a containerd that the engines
// find by themselves.
func TestImagesOnContainerd(t *testing.T) {
	_, nodes := bootLab(t, 2, containerdBoot(t))
	manager := nodes[0]
	if out := manager.weft(t, "info", "--format", "{{.DefaultRuntime}} {{len .Runtimes}} {{.Containerd.Address}}"); out !=
		"io.containerd.runc.v2 2 /run/containerd/containerd.sock" {
		t.Errorf("info says %q", out)
	}
	for _, c := range []struct{ runtime, want string }{
		{"", "io.containerd.runc.v2"}, {"weft", "weft"}, {"io.containerd.runc.v2", "io.containerd.runc.v2"},
	} {
		args := []string{"run", "-d", "--network", "none", "--name", "probe", "weft/probe", "sleep", "1000"}
		if c.runtime != "" {
			args = append([]string{"run", "--runtime", c.runtime}, args[1:]...)
		}
		manager.does(t, args...)
		if out := manager.does(t, "inspect", "-f", "{{.HostConfig.Runtime}} {{.State.Status}}", "probe"); out != c.want+" running" {
			t.Errorf("--runtime %q: %q", c.runtime, out)
		}
		manager.does(t, "rm", "-f", "probe")
	}
	if r := manager.docker(t, "run", "--runtime", "x", "--network", "none", "weft/probe"); r.code != 125 || !strings.Contains(r.err, "unknown or invalid runtime name: x") {
		t.Error(r)
	}
	if out := manager.does(t, "run", "--rm", "--network", "host", "weft/probe", "ip"); !strings.Contains(out, manager.addr()) {
		t.Errorf("on the host's network: %q", out)
	}
	images(t, nodes)
	left, err := os.ReadFile(filepath.Join(manager.DataDir(), "containerd", "log"))
	if err != nil || !strings.Contains(string(left), "containerd successfully booted") {
		t.Errorf("containerd's log: %v\n%s", err, left)
	}
}
