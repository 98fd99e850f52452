package main_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/engine/lab"
)

// bareLab makes one host without an engine and gives what runs a command in it.
func bareLab(t *testing.T) (bin string, in func(argv ...string) result) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	bin = weft(t)
	l, err := lab.Up(t.Context(), lab.Config{StateDir: dir, Name: "b", Hosts: 1, Self: bin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return bin, func(argv ...string) result {
		t.Helper()
		var out, errOut bytes.Buffer
		err := l.Exec(t.Context(), "host1", lab.Process{Args: argv, Out: &out, Err: &errOut})
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("%v: %v", argv, err)
		}
		code := 0
		if exit != nil {
			code = exit.ExitCode()
		}
		return result{out.String(), errOut.String(), code}
	}
}

// inventory lists what an engine could leave in a host, sorted by kind.
const inventory = `
ip -o link | sed 's/^[0-9]*: /link /; s/ qlen.*//; s/@.*//'
ip -4 route show table all | sed 's/^/route /'
ip -6 route show table all | grep -v -e 'local fe80' -e '^anycast' | sed 's/^/route /; s/ expires [0-9]*sec//' # fe80: the host's own, still tentative at first; anycast: of a host that forwards, which an engine leaves so
nft list tables | sed 's/^/table /'
sed 's/^/mount /' /proc/self/mounts
for p in /proc/[0-9]*; do
	[ "$p" = "/proc/$$" ] || { tr '\0' ' ' <$p/cmdline 2>/dev/null | cut -c1-60 | sed 's/^/process /'; readlink $p/ns/net | sed 's/^/netns /'; }
done 2>/dev/null
`

func TestEngineStopLeavesNothing(t *testing.T) {
	bin, in := bareLab(t)
	dirs := []string{"--data-dir", "/run/weft/data", "--run-dir", "/run/weft/run"}
	host := []string{bin, "--host", "unix:///run/weft/run/engine.sock"}
	must := func(argv ...string) string {
		t.Helper()
		r := in(argv...)
		if r.code != 0 {
			t.Fatalf("%s: %v", strings.Join(argv, " "), r)
		}
		return r.out
	}
	take := func() []string {
		lines := slices.DeleteFunc(strings.Split(must("sh", "-c", inventory), "\n"), func(l string) bool {
			return l == "" || strings.HasPrefix(l, "process sh ") || strings.HasPrefix(l, "process tr ") ||
				strings.HasPrefix(l, "process cut") || strings.HasPrefix(l, "process sed")
		})
		slices.Sort(lines)
		return slices.Compact(lines)
	}
	engine := func(verb string) string { return must(append([]string{bin, "engine", verb}, dirs...)...) }
	docker := func(args ...string) string { return must(append(slices.Clone(host), args...)...) }

	must("ip", "netns", "add", "blue")
	before := take()
	if out := engine("start"); !strings.Contains(out, "is ready") {
		t.Errorf("start says %q", out)
	}
	if out := engine("start"); !strings.Contains(out, "running already") {
		t.Errorf("a second start says %q", out)
	}
	docker("swarm", "init", "--advertise-addr", "192.168.99.1")
	docker("network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/16", "--subnet", "10.21.0.0/16",
		"--ipv6", "--subnet", "fd00:20::/64", "ov")
	docker("service", "create", "--name", "web", "--network", "ov", "--replicas", "3", "weft/probe")
	docker("run", "-d", "--name", "one", "--network", "ov", "weft/probe")
	docker("run", "-d", "--network", "none", "weft/probe", "sleep", "1h")
	docker("network", "create", "lan")
	attach := func() {
		docker("attach", "ov", "--netns", "blue")
		docker("attach", "ov", "--tap", "vm0")
	}
	attach()
	docker("attach", "lan", "--netns", "blue")
	detached := func(when string) {
		t.Helper()
		if out := must("sh", "-c", "ip -n blue -o link; ip netns exec blue nft list tables"); strings.Count(out, "\n") != 1 {
			t.Errorf("the attached namespace after %s:\n%s", when, out)
		}
	}
	if out := must(bin, "engine", "status", "--run-dir", "/run/weft/run"); !strings.Contains(out, "5 running") {
		t.Errorf("status:\n%s", out)
	}
	during := take()
	if len(during) < len(before)+8 {
		t.Errorf("the inventory does not see what the engine makes:\n%s", cmp.Diff(before, during))
	}
	must(bin, "engine", "stop", "--run-dir", "/run/weft/run")
	if diff := cmp.Diff(before, take()); diff != "" {
		t.Errorf("before the start (-) and after the stop (+):\n%s", diff)
	}
	detached("the stop")
	if r := in(bin, "engine", "status", "--run-dir", "/run/weft/run"); r.code != 1 || !strings.Contains(r.err, "weft engine start") {
		t.Errorf("status without an engine: %v", r)
	}

	// Membership is kept: the tasks come back, the stopped containers stay so.
	engine("start")
	docker("service", "scale", "web=2")
	if out := docker("ps", "-a", "--filter", "name=one", "--format", "{{.State}}"); strings.TrimSpace(out) != "exited" {
		t.Errorf("container after the restart: %q", out)
	}
	if out := docker("network", "attachments", "-q"); out != "" {
		t.Errorf("attachments after the restart: %q", out)
	}
	attach()
	docker("swarm", "leave", "--force")
	if out := docker("network", "attachments", "-q"); out != "" {
		t.Errorf("attachments after leaving the swarm: %q", out)
	}
	detached("leaving the swarm")
	must(bin, "engine", "stop", "--run-dir", "/run/weft/run")
	if diff := cmp.Diff(before, take()); diff != "" {
		t.Errorf("before the start (-) and after leave and stop (+):\n%s", diff)
	}
	if out := must(bin, "engine", "logs", "--data-dir", "/run/weft/data", "-n", "1"); !strings.Contains(out, "msg=") {
		t.Errorf("logs -n 1 = %q", out)
	}
}
