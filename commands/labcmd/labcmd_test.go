package labcmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"weft/commands"
	"weft/commands/labcmd"
	"weft/engine/netnstest"
)

// TestMain makes the test binary a weft that knows only `lab`.
func TestMain(m *testing.M) {
	if code, ok := labcmd.Entry(os.Args); ok {
		os.Exit(code)
	}
	if os.Args[0] == "weft" {
		os.Exit(commands.Main(os.Args[1:], commands.WithSelf(self(), labcmd.New)))
	}
	os.Exit(m.Run())
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// user is somebody at a command line who keeps labs in one directory.
type user struct {
	t   *testing.T
	dir string
}

func newUser(t *testing.T) *user {
	netnstest.Require(t)
	u := &user{t, t.TempDir()}
	t.Cleanup(func() {
		labs, err := os.ReadDir(u.dir)
		if err != nil {
			t.Error(err)
		}
		for _, l := range labs {
			if out, err := u.command(context.Background(), "down", "--name", l.Name()).CombinedOutput(); err != nil {
				t.Errorf("down: %v\n%s", err, out)
			}
		}
	})
	return u
}

// command gives `weft lab VERB` with the flag for the directory.
func (u *user) command(ctx context.Context, verb string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, self(), append([]string{"lab", verb, "--state-dir", u.dir}, args...)...)
	cmd.Args[0] = "weft"
	return cmd
}

// lab runs `weft lab VERB` and gives what it prints and its exit code.
func (u *user) lab(verb string, args ...string) (out, errOut string, code int) {
	u.t.Helper()
	cmd := u.command(u.t.Context(), verb, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		u.t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// must is lab for a command that has to succeed.
func (u *user) must(verb string, args ...string) string {
	u.t.Helper()
	out, errOut, code := u.lab(verb, args...)
	if code != 0 {
		u.t.Fatalf("weft lab %s %v: exit %d\n%s%s", verb, args, code, out, errOut)
	}
	return out
}

func TestLabFromTheCommandLine(t *testing.T) {
	u := newUser(t)
	out, hint, code := u.lab("up", "--hosts", "2", "--no-engine", "--subnet", "10.1.0.0/24", "--subnet", "fd01::/64")
	if code != 0 {
		t.Fatalf("up: exit %d\n%s", code, hint)
	}
	out = regexp.MustCompile(` \d+ *\n`).ReplaceAllString(out, " PID\n")
	if want := "LAB  HOST   ADDRESS   IPV6 ADDRESS  ENGINE  PID    CUT FROM\n" +
		"lab  host1  10.1.0.1  fd01::1       none    PID\n" +
		"lab  host2  10.1.0.2  fd01::2       none    PID\n"; !sameFields(out, want) {
		t.Errorf("up prints\n%swant\n%s", out, want)
	}
	if want := "weft lab exec --state-dir " + u.dir + " host1 -- weft swarm init --advertise-addr 10.1.0.1\n"; !strings.Contains(hint, want) {
		t.Errorf("up advises\n%s", hint)
	}
	if out := u.must("partition", "host1", "host2"); out != "host1 and host2 are cut off from each other\n" {
		t.Errorf("partition prints %q", out)
	}
	var rows []struct {
		Host, Engine string
		PID          int
		CutFrom      []string `json:"cut_from"`
	}
	if err := json.Unmarshal([]byte(u.must("ls", "--json")), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[1].Host != "host2" || rows[1].PID == 0 || strings.Join(rows[1].CutFrom, " ") != "host1" {
		t.Errorf("ls: %+v", rows)
	}
	if out := u.must("heal"); out != "host1 and host2 reach each other again\n" {
		t.Errorf("heal prints %q", out)
	}
	if out := u.must("kill", "host1", "host2"); out != "host1\nhost2\n" {
		t.Errorf("kill prints %q", out)
	}
	if out := u.must("ls"); strings.Count(out, " off ") != 2 {
		t.Errorf("ls after kill:\n%s", out)
	}
	u.must("start", "host1", "host2")
	if out := u.must("down"); out != "lab\n" {
		t.Errorf("down prints %q", out)
	}
	if out := u.must("ls"); strings.Count(out, "\n") != 1 {
		t.Errorf("ls after down:\n%s", out)
	}
}

func sameFields(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

func TestExecExitCodes(t *testing.T) {
	u := newUser(t)
	u.must("up", "--hosts", "1", "--no-engine")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"host1 -- sh -c :", 0, ""},
		{"host1 hostname", 0, "host1"},
		{"host1 -- ls -d /run/weft", 0, "/run/weft"},
		{"host1 -- false", 1, ""},
		{"host1 -- busybox sh -c exit\t42", 42, ""},
		{"host1 -- busybox sh -c kill\t-9\t$$", 137, ""},
		{"host1 -- no-such-program", 127, "no-such-program: not found"},
		{"host1 -- /etc/passwd", 126, "can't be executed"},
		{"host2 -- true", 1, "lab lab has host1"},
		{"host1", 1, "requires at least 2 arguments"},
		{"host1 --", 1, "requires at least 2 arguments"},
		{"--name other host1 -- true", 1, "no such lab: other; there is lab"},
	} {
		args := strings.Split(tc.args, " ")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\t", " ")
		}
		out, errOut, code := u.lab("exec", args...)
		if code != tc.code || !strings.Contains(out+errOut, tc.says) {
			t.Errorf("exec %s: exit %d\n%s%s", tc.args, code, out, errOut)
		}
	}
}

// A signal for `weft lab exec` is one for the command, which may handle it.
func TestExecPassesSignalsOn(t *testing.T) {
	u := newUser(t)
	u.must("up", "--hosts", "1", "--no-engine")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		cmd := u.command(t.Context(), "exec", "host1", "--", "sh", "-c",
			`trap 'exit 9' TERM INT HUP; echo ready; while :; do sleep 0.05; done`)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 9 {
			t.Errorf("%s: exit %d, want the 9 of the command's handler", sig, code)
		}
	}
}

func TestShellOnATerminal(t *testing.T) {
	u := newUser(t)
	u.must("up", "--hosts", "1", "--no-engine")
	cmd := u.command(t.Context(), "shell", "host1")
	cmd.Env = append(os.Environ(), "TERM=dumb", "HOME="+t.TempDir())
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	shown := make(chan string)
	go func() { // ends when the terminal does
		defer close(shown)
		for buf := make([]byte, 1024); ; {
			n, err := tty.Read(buf)
			if n == 0 || err != nil {
				return
			}
			shown <- string(buf[:n])
		}
	}()
	var seen string
	expect := func(want string) {
		t.Helper()
		limit := time.After(20 * time.Second)
		for !strings.Contains(seen, want) {
			select {
			case text := <-shown:
				seen += text
			case <-limit:
				_ = cmd.Process.Kill()
				t.Fatalf("no %q in\n%s", want, seen)
			}
		}
		_, seen, _ = strings.Cut(seen, want)
	}
	send := func(text string) {
		t.Helper()
		if _, err := tty.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	expect("lab/host1:")
	send("echo $((6*7)) $(hostname)\n")
	expect("42 host1")
	send("busybox sleep 1000\n")
	waitForeground(t)
	send("\x03") // Ctrl-C
	expect("^C")
	send("echo it ended with $?\n")
	expect("it ended with 130")
	send("exit 3\n")
	for range shown { // until the terminal is closed
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit %d, want 3", code)
	}
}

// waitForeground returns when a sleep runs somewhere on the terminal.
func waitForeground(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range lines {
			if line, _ := os.ReadFile(path); string(line) == "busybox\x00sleep\x001000\x00" {
				return
			}
		}
	}
	t.Fatal("the command does not run")
}

func TestUsageErrors(t *testing.T) {
	u := newUser(t)
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"up --hosts 0", 125, "--hosts must be greater than zero"},
		{"up --mtu -1", 125, "--mtu must be greater than zero"},
		{"up --subnet 10.0.0.1", 125, "--subnet \"10.0.0.1\": must be a prefix, as in 192.168.99.0/24"},
		{"up --subnet 10.0.0.1/8", 1, "did you mean 10.0.0.0/8?"},
		{"up --mtu 100", 1, "1280"},
		{"up surplus", 1, "accepts no arguments"},
		{"partition host1", 1, "requires 2 arguments"},
		{"heal host1", 1, "requires 2 arguments"},
		{"kill", 1, "requires at least 1 argument"},
		{"down", 1, "no such lab: lab; make one with `weft lab up`"},
		{"exec host1 -- true", 1, "no such lab: lab"},
	} {
		args := strings.Fields(tc.args)
		out, errOut, code := u.lab(args[0], args[1:]...)
		if code != tc.code || !strings.Contains(errOut, tc.says) || out != "" {
			t.Errorf("%s: exit %d\n%s%s", tc.args, code, out, errOut)
		}
	}
}
