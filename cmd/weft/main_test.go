package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/engine/lab"
)

// binDir holds the binary the tests of this package run.
var binDir string

func TestMain(m *testing.M) {
	if code, ok := lab.Dispatch(os.Args); ok {
		os.Exit(code)
	}
	dir, err := os.MkdirTemp("", "weft-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var build = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(binDir, "weft")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weft: %w\n%s", err, out)
	}
	return bin, nil
})

// weft gives the path of a binary built from this tree.
func weft(tb testing.TB) string {
	tb.Helper()
	bin, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return bin
}

// result is how a command ended.
type result struct {
	out, err string
	code     int
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", r.code, r.out, r.err)
}

// run runs a command on this machine.
func run(ctx context.Context, tb testing.TB, env []string, argv ...string) result {
	tb.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	code := cmd.ProcessState.ExitCode()
	if err != nil && code <= 0 {
		tb.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, errOut.String())
	}
	return result{out.String(), errOut.String(), code}
}

// node is a host of a lab with an engine.
type node struct {
	lab.Host
	bin string
}

// addr is the node's address on the underlay.
func (n node) addr() string { return n.Addr.Addr().String() }

// weft runs the binary against the node's engine, which must do as asked.
func (n node) weft(tb testing.TB, args ...string) string {
	tb.Helper()
	r := n.try(tb, args...)
	if r.code != 0 {
		tb.Fatalf("%s: weft %s: %v", n.Name, strings.Join(args, " "), r)
	}
	return strings.TrimSpace(r.out)
}

// try runs the binary against the node's engine, whatever comes of it.
func (n node) try(tb testing.TB, args ...string) result {
	tb.Helper()
	return run(tb.Context(), tb, nil, append([]string{n.bin, "--host", "unix://" + n.Socket()}, args...)...)
}

// testLab makes a lab with engines, which ends with the test.
func testLab(tb testing.TB, hosts int) (*lab.Lab, []node) {
	tb.Helper()
	return bootLab(tb, hosts, lab.EngineBoot(weft(tb)))
}

// bootLab is testLab with what the hosts run.
func bootLab(tb testing.TB, hosts int, boot func(lab.Host) lab.Boot) (*lab.Lab, []node) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "wl-") // short: sockets live below
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	bin := weft(tb)
	l, err := lab.Up(tb.Context(), lab.Config{StateDir: dir, Name: "t", Hosts: hosts, Self: bin, Boot: boot})
	if err != nil {
		tb.Fatalf("lab up: %v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			logs(tb, l)
		}
		if err := l.Down(context.Background()); err != nil {
			tb.Errorf("lab down: %v", err)
		}
	})
	all, err := l.Hosts()
	if err != nil {
		tb.Fatal(err)
	}
	nodes := make([]node, len(all))
	for i, h := range all {
		nodes[i] = node{h, bin}
	}
	return l, nodes
}

func logs(tb testing.TB, l *lab.Lab) {
	hosts, err := l.Hosts()
	if err != nil {
		tb.Log(err)
	}
	for _, h := range hosts {
		b, err := os.ReadFile(h.LogPath())
		if len(b) > 8000 {
			b = b[len(b)-8000:]
		}
		tb.Logf("log of %s (%v):\n%s", h.Name, err, b)
	}
}

// swarm makes the nodes a swarm with the first as its manager.
func swarm(tb testing.TB, nodes []node) {
	tb.Helper()
	manager := nodes[0]
	manager.weft(tb, "swarm", "init", "--advertise-addr", manager.addr())
	token := manager.weft(tb, "swarm", "join-token", "-q", "worker")
	for _, n := range nodes[1:] {
		n.weft(tb, "swarm", "join", "--token", token, "--advertise-addr", n.addr(), manager.addr()+":2377")
	}
}

// await polls until ok gives true; what it gives besides says what is missing.
func await(tb testing.TB, limit time.Duration, ok func() (bool, string)) {
	tb.Helper()
	awaitEvery(tb, 100*time.Millisecond, limit, ok)
}

// awaitEvery is await with a period of its own.
func awaitEvery(tb testing.TB, period, limit time.Duration, ok func() (bool, string)) {
	tb.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		done, missing := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("not within %v: %s", limit, missing)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// awaitReplicas waits until a service has all its tasks running.
func awaitReplicas(tb testing.TB, n node, service, want string) {
	tb.Helper()
	await(tb, time.Minute, func() (bool, string) {
		r := n.try(tb, "service", "ls", "--filter", "name="+service, "--format", "{{.Replicas}}")
		got := strings.TrimSpace(r.out)
		return got == want, service + " has " + got + ", want " + want + "\n" + n.try(tb, "service", "ps", "--no-trunc", service).out
	})
}
