package main_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"weft/engine/kernel"
)

// TestRootlessLab is the life of a lab that an ordinary user makes.
func TestRootlessLab(t *testing.T) {
	p := unprivileged(t)
	if out := p.weft(t, "lab", "up", "--hosts", "2"); strings.Count(out, "ready") != 2 {
		t.Errorf("up:\n%s", out)
	}
	t.Cleanup(func() { p.try(t, p.bin, "lab", "down") })
	in := func(host string, args ...string) string {
		t.Helper()
		return p.weft(t, append([]string{"lab", "exec", host, "--", "weft"}, args...)...)
	}
	in("host1", "swarm", "init", "--advertise-addr", "192.168.99.1")
	in("host2", "swarm", "join", "--token", in("host1", "swarm", "join-token", "-q", "worker"), "192.168.99.1:2377")
	in("host1", "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/16", "ov")
	in("host1", "service", "create", "--quiet", "--name", "web", "--network", "ov", "--mode", "global", "weft/probe")
	var tasks []string
	await(t, 10*time.Second, func() (bool, string) {
		out := in("host2", "run", "--rm", "--network", "ov", "weft/probe", "dig", "tasks.web")
		tasks = nil
		for line := range strings.Lines(out) {
			if _, addr, ok := strings.Cut(line, "\tA\t"); ok {
				tasks = append(tasks, strings.TrimSpace(addr))
			}
		}
		return len(tasks) == 2, out
	})
	out := in("host2", append([]string{"run", "--rm", "--network", "ov", "weft/probe", "matrix"}, tasks...)...)
	if !strings.Contains(out, "6 of 6 paths work") {
		t.Errorf("between containers across the hosts:\n%s", out)
	}

	p.weft(t, "lab", "partition", "host1", "host2")
	if out := p.weft(t, "lab", "ls"); strings.Count(out, "host") != 4 {
		t.Errorf("a partition:\n%s", out)
	}
	p.weft(t, "lab", "heal")
	p.weft(t, "lab", "kill", "host2")
	if out := p.weft(t, "lab", "ls"); strings.Count(out, "off") != 1 {
		t.Errorf("a host without power:\n%s", out)
	}
	p.weft(t, "lab", "start", "host2")
	if r := p.try(t, p.bin, "lab", "exec", "host2", "--", "sh", "-c", "hostname; exit 5"); r.code != 5 || r.out != "host2\n" {
		t.Errorf("a command in a host: %v", r)
	}
	p.shell(t)

	p.weft(t, "lab", "down")
	if left := p.processes(t); len(left) > 0 {
		t.Errorf("processes after the end of the lab: %v", left)
	}
	if files := p.files(t); len(files) > 0 {
		t.Errorf("files after the end of the lab: %v", files)
	}
	if left, err := os.ReadDir(p.path("home/.local/share/weft/lab")); err != nil || len(left) > 0 {
		t.Errorf("state after the end of the lab: %v, %v", left, err)
	}
}

// shell uses a shell on a host as from a terminal.
func (p *person) shell(t *testing.T) {
	t.Helper()
	id := strconv.Itoa(ordinaryUser)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // a terminal's reads have no deadline
	defer cancel()
	cmd := exec.CommandContext(ctx, "setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--", p.bin, "lab", "shell", "host1")
	cmd.Dir, cmd.Env = "/", append(p.environ(), "TERM=dumb")
	var terminal *os.File
	must(t, kernel.Do(p.machine.NS, func() (err error) {
		terminal, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 77})
		return err
	}))
	defer terminal.Close()
	said, buf := "", make([]byte, 4096)
	typed := false
	for {
		n, err := terminal.Read(buf)
		if said += string(buf[:n]); !typed && strings.Contains(said, "lab/host1:") {
			typed = true
			_, err := terminal.WriteString("stty size; set -m && echo jobs-$((1 + 1)); exit 3\n")
			must(t, err)
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 || !strings.Contains(said, "33 77") || !strings.Contains(said, "jobs-2") || strings.Contains(said, "no job control") {
		t.Errorf("a shell on a host: %v, %q", err, said)
	}
}

// environ is the environment of the user's commands.
func (p *person) environ() []string {
	return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + p.path("home"), "XDG_RUNTIME_DIR=" + filepath.Join(p.dir, "run")}
}
