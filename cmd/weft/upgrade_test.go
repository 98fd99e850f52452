package main_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"weft/engine/lab"
)

// TestUpgrade puts another build in the place of the engine's, whose old
// containers go on with the shims of the old one.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "wl-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	old, installed := weft(t), filepath.Join(dir, "weft")
	must(t, os.Link(old, installed))
	l, err := lab.Up(t.Context(), lab.Config{StateDir: dir, Name: "t", Hosts: 2, Self: old, Boot: lab.EngineBoot(installed)})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			logs(t, l)
		}
		must(t, l.Down(context.Background()))
	})
	hosts, err := l.Hosts()
	must(t, err)
	one, two := node{hosts[0], installed}, node{hosts[1], installed}
	swarm(t, []node{one, two})
	for _, n := range []node{one, two} {
		n.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", busyboxArchive(t), "busybox")
	}
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "mesh")
	one.weft(t, "service", "create", "--detach", "--name", "echo", "--network", "mesh", "busybox", "nc", "-ll", "-p", "7", "-e", "cat")
	awaitReplicas(t, one, "echo", "1/1")
	one.does(t, "network", "create", "lan")
	one.does(t, "run", "-d", "--name", "published", "--network", "lan", "-p", "7007:7", "busybox", "nc", "-ll", "-p", "7", "-e", "cat")
	ticks := []ticker{
		tick(t, two, "by-vip", "mesh", "echo:7"),
		tick(t, one, "by-name", "lan", "published:7"),
		tick(t, two, "by-port", "host", one.addr()+":7007"),
	}

	next := filepath.Join(dir, "next")
	if r := run(t.Context(), t, []string{"CGO_ENABLED=0"}, "go", "build", "-ldflags=-s -w", "-o", next, "."); r.code != 0 {
		t.Fatal(r)
	}
	must(t, os.Rename(next, installed))
	for _, n := range []node{one, two} {
		restart(t, n, func() {})
		running, err := os.Stat(filepath.Join("/proc", strconv.Itoa(enginePid(t, n)), "exe"))
		must(t, err)
		upgraded, err := os.Stat(installed)
		must(t, err)
		if !os.SameFile(running, upgraded) {
			t.Errorf("%s still runs the old build", n.Name)
		}
	}
	for _, k := range ticks {
		k.goesOn(t)
	}
	// The new engine commands what the old one started.
	two.does(t, "exec", "by-vip", "nslookup", "echo")
	if got := two.does(t, "logs", "by-vip"); got != "" {
		t.Errorf("logs: %q", got)
	}
	two.does(t, "stop", "by-vip")
	two.does(t, "start", "by-vip")
	two.does(t, "rm", "-f", "by-vip", "by-port")
	one.does(t, "rm", "-f", "by-name", "published")
	one.weft(t, "service", "rm", "echo")
}
