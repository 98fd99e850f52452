package lab_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/engine/lab"
	"weft/engine/netnstest"
)

// upForever is the name under which the test binary is a `weft lab up` that
// does not come to an end.
const upForever = "lab-test-up"

// TestMain makes the test binary what the weft binary is for a lab.
func TestMain(m *testing.M) {
	if code, ours := lab.Dispatch(os.Args); ours {
		os.Exit(code)
	}
	if os.Args[0] == upForever {
		_, err := lab.Up(context.Background(), stuck(os.Args[1]))
		_, _ = os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// stuck is a lab whose hosts never say that they are ready.
func stuck(stateDir string) lab.Config {
	return lab.Config{StateDir: stateDir, Self: self(), Hosts: 2, Boot: func(h lab.Host) lab.Boot {
		return lab.Boot{
			Command: []string{"sh", "-c", "touch " + filepath.Join(h.DataDir(), "booted") + "; exec sleep 1000"},
			Notify:  true,
		}
	}}
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

func up(t *testing.T, cfg lab.Config) *lab.Lab {
	t.Helper()
	netnstest.Require(t)
	cfg.Self = self()
	if cfg.StateDir == "" {
		cfg.StateDir = t.TempDir()
	}
	l, err := lab.Up(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// run runs a shell command in a host and gives what it prints.
func run(t *testing.T, l *lab.Lab, host, script string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := l.Exec(t.Context(), host, lab.Process{Args: []string{"sh", "-c", script}, Out: &out, Err: &out})
	return strings.TrimSpace(out.String()), err
}

func mustRun(t *testing.T, l *lab.Lab, host, script string) string {
	t.Helper()
	out, err := run(t, l, host, script)
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", host, script, err, out)
	}
	return out
}

// reaches sends one ping.
func reaches(t *testing.T, l *lab.Lab, from, to string) bool {
	t.Helper()
	out, err := run(t, l, from, "busybox ping -c 1 -W 1 "+to)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err != nil {
		t.Logf("%s -> %s: %s", from, to, out)
	}
	return err == nil
}

func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
