package labcmd_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/netnstest"
)

// weft gives a real binary: the demonstration needs engines.
func weft(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "weft")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin, "weft/cmd/weft")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build weft: %v\n%s", err, out)
	}
	return bin
}

// stateDir gives a directory whose path leaves room for sockets' names.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil { // not RemoveAll: it has to be empty
			t.Error(err)
		}
	})
	return dir
}

func TestDemo(t *testing.T) {
	netnstest.Require(t)
	bin, dir := weft(t), stateDir(t)

	t.Run("interrupted", func(t *testing.T) {
		for _, how := range []struct {
			name string
			do   func(*exec.Cmd, io.Closer) error
			code int
		}{
			{"SIGINT", func(c *exec.Cmd, _ io.Closer) error { return c.Process.Signal(syscall.SIGINT) }, 130},
			{"SIGHUP", func(c *exec.Cmd, _ io.Closer) error { return c.Process.Signal(syscall.SIGHUP) }, 129},
			{"reader gone", func(_ *exec.Cmd, out io.Closer) error { return out.Close() }, 1},
		} {
			interrupt(t, bin, dir, how.name, how.do, how.code)
		}
	})

	t.Run("to the end", func(t *testing.T) {
		begin := time.Now()
		out, err := exec.CommandContext(t.Context(), bin, "lab", "demo", "--state-dir", dir).CombinedOutput()
		text := string(out)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for _, want := range []string{
			"host2$ weft swarm join",
			"weft network create -d overlay --attachable --subnet 10.20.0.0/16 --gateway 10.20.0.1 my-overlay\n",
			"90 of 90 paths work", // six tasks, three containers and the one that asks
			"$ weft lab kill --name demo host3\n",
			"72 of 72 paths work",
			"nothing is left",
		} {
			before, after, found := strings.Cut(text, want)
			if !found {
				t.Errorf("no %q, in this order, in\n%s", want, out)
				break
			}
			_, text = before, after
		}
		if took := time.Since(begin); took > 90*time.Second {
			t.Errorf("took %s", took)
		}
		nothingLeft(t, dir)
	})
}

// interrupt ends a demonstration in its second scene and looks at what is left.
func interrupt(t *testing.T, bin, dir, name string, do func(*exec.Cmd, io.Closer) error, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "lab", "demo", "--state-dir", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	for buf := make([]byte, 1024); !bytes.Contains(seen, []byte("host1$ ")); {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", name, err, seen, errOut.String())
		}
		seen = append(seen, buf[:n]...)
	}
	if err := do(cmd, out); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("%s: exit %d, want %d\n%s", name, got, code, errOut.String())
	}
	nothingLeft(t, dir)
}

func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the state directory: %v, %v", left, err)
	}
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if line, _ := os.ReadFile(path); strings.Contains(string(line), dir) {
			t.Errorf("left running: %q", line)
		}
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("left mounted, %v:\n%s", err, mounts)
	}
}
