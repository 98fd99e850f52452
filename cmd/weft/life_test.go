package main_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRestartAndHealth looks at containers the engine starts again, and at
// those it asks how they are.
func TestRestartAndHealth(t *testing.T) {
	t.Parallel()
	l, nodes := testLab(t, 1)
	swarm(t, nodes)
	n := nodes[0]
	n.does(t, "import", "-c", "STOPSIGNAL KILL", busyboxArchive(t), "busybox")
	inspect := func(name, format string) string { return n.does(t, "inspect", "-f", format, name) }
	becomes := func(name, format, want string) {
		t.Helper()
		await(t, 20*time.Second, func() (bool, string) {
			got := inspect(name, format)
			return got == want, got
		})
	}
	t.Run("restart", func(t *testing.T) {
		n.does(t, "run", "-d", "--name", "fails", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo once; exit 3")
		becomes("fails", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "exited 3 2")
		if got := n.does(t, "logs", "fails"); got != "once\nonce\nonce" {
			t.Errorf("logs of three runs: %q", got)
		}
		n.does(t, "run", "-d", "--name", "keeper", "--restart", "always", "busybox",
			"sh", "-c", "ls /ran || { touch /ran; exit 1; }; sleep 1000") // what it wrote is there the second time
		n.does(t, "run", "-d", "--name", "resting", "--restart", "unless-stopped", "busybox", "sleep", "1000")
		n.does(t, "stop", "resting")
		becomes("keeper", "{{.State.Status}} {{.RestartCount}}", "running 1")

		// An engine that ends stops its containers; the next one starts those
		// that are to run.
		must(t, syscall.Kill(enginePid(t, n), syscall.SIGTERM))
		await(t, 30*time.Second, func() (bool, string) {
			r := n.docker(t, "version")
			return r.code != 0, r.String()
		})
		must(t, errors.Join(l.Kill(t.Context(), n.Name), l.Start(t.Context(), n.Name)))
		becomes("keeper", "{{.State.Status}}", "running")
		if got := inspect("resting", "{{.State.Status}}"); got != "exited" {
			t.Errorf("stopped by hand, and %s", got)
		}
		n.does(t, "rm", "-f", "fails", "keeper", "resting")
	})
	t.Run("health", func(t *testing.T) {
		n.does(t, "run", "-d", "--name", "sick", "--health-cmd", "echo looked; ls /ok", "--health-interval", "200ms", "--health-retries", "2", "busybox", "sleep", "1000")
		becomes("sick", "{{.State.Health.Status}}", "unhealthy")
		if got := n.does(t, "ps", "--filter", "health=unhealthy", "--format", "{{.Names}} {{.Status}}"); !strings.HasPrefix(got, "sick Up") || !strings.HasSuffix(got, "(unhealthy)") {
			t.Errorf("ps: %q", got)
		}
		// Its two streams may come in any order, as in Docker.
		if got := inspect("sick", "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}"); !strings.HasPrefix(got, "1 ") || !strings.Contains(got, "looked\n") || !strings.Contains(got, "ls: /ok") {
			t.Errorf("a check: %q", got)
		}
		n.does(t, "exec", "sick", "touch", "/ok")
		becomes("sick", "{{.State.Health.Status}}", "healthy")
		pid := enginePid(t, n)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		await(t, 30*time.Second, func() (bool, string) {
			r := n.docker(t, "exec", "sick", "rm", "/ok")
			return r.code == 0 && enginePid(t, n) != pid, r.String()
		})
		becomes("sick", "{{.State.Health.Status}}", "unhealthy")
		n.does(t, "rm", "-f", "sick")
	})
	t.Run("service", func(t *testing.T) {
		n.weft(t, "service", "create", "--detach", "--name", "web", "--health-cmd", "ls /ok", "--health-interval", "200ms", "--health-retries", "20",
			"--limit-memory", "64m", "--cap-drop", "ALL", "--host", "printer:192.0.2.9", "--read-only", "--restart-max-attempts", "1", "busybox",
			"sh", "-c", "sleep 1000")
		await(t, 20*time.Second, func() (bool, string) {
			r := n.docker(t, "ps", "-q", "--filter", "label=com.docker.swarm.service.name=web", "--filter", "health=starting")
			return r.out != "", r.String()
		})
		if got := n.weft(t, "service", "ls", "--format", "{{.Replicas}}"); got != "0/1" {
			t.Errorf("replicas of a service that is not healthy yet: %s", got)
		}
		id := n.does(t, "ps", "-q", "--filter", "label=com.docker.swarm.service.name=web")
		if got := n.does(t, "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.CapDrop}} {{.HostConfig.ReadonlyRootfs}}", id); got != "67108864 [ALL] true" {
			t.Errorf("bounds of a task: %q", got)
		}
		if got := n.does(t, "exec", id, "cat", "/etc/hosts"); !strings.Contains(got, "192.0.2.9\tprinter") {
			t.Errorf("/etc/hosts of a task: %q", got)
		}
		await(t, 30*time.Second, func() (bool, string) { // unhealthy, and that fails the task
			r := n.try(t, "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", "web")
			return strings.Contains(r.out, "unhealthy container"), r.String()
		})
		n.weft(t, "service", "rm", "web")
	})
}
