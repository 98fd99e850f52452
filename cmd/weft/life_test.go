package main_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/lab"
)

// TestRestartAndHealth looks at containers the engine starts again, and at
// those it asks how they are.
func TestRestartAndHealth(t *testing.T) {
	t.Parallel()
	l, nodes := testLab(t, 1)
	swarm(t, nodes)
	n := nodes[0]
	n.does(t, "import", "-c", "STOPSIGNAL KILL", busyboxArchive(t), "busybox")
	t.Run("restart", func(t *testing.T) { restartPolicies(t, l, n) })
	t.Run("health", func(t *testing.T) { healthChecks(t, n) })
	t.Run("service", func(t *testing.T) { unhealthyTask(t, n) })
}

// inspected gives what docker says of a container.
func (n node) inspected(t *testing.T, container, format string) string {
	t.Helper()
	return n.does(t, "inspect", "-f", format, container)
}

// becomes waits until docker says something of a container.
func (n node) becomes(t *testing.T, container, format, want string) {
	t.Helper()
	await(t, 20*time.Second, func() (bool, string) {
		got := n.inspected(t, container, format)
		return got == want, got
	})
}

// restartPolicies has containers start again that end, alone or with the engine.
func restartPolicies(t *testing.T, l *lab.Lab, n node) {
	n.does(t, "run", "-d", "--name", "fails", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo once; exit 3")
	n.becomes(t, "fails", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "exited 3 2")
	if got := n.does(t, "logs", "fails"); got != "once\nonce\nonce" {
		t.Errorf("logs of three runs: %q", got)
	}
	n.does(t, "run", "-d", "--name", "keeper", "--restart", "always", "busybox",
		"sh", "-c", "ls /ran || { touch /ran; exit 1; }; sleep 1000") // what it wrote is there the second time
	n.does(t, "run", "-d", "--name", "resting", "--restart", "unless-stopped", "busybox", "sleep", "1000")
	n.does(t, "stop", "resting")
	n.becomes(t, "keeper", "{{.State.Status}} {{.RestartCount}}", "running 1")

	// An engine that ends stops its containers; the next one starts those
	// that are to run.
	must(t, syscall.Kill(enginePid(t, n), syscall.SIGTERM))
	await(t, 30*time.Second, func() (bool, string) {
		r := n.docker(t, "version")
		return r.code != 0, r.String()
	})
	must(t, errors.Join(l.Kill(t.Context(), n.Name), l.Start(t.Context(), n.Name)))
	n.becomes(t, "keeper", "{{.State.Status}}", "running")
	if got := n.inspected(t, "resting", "{{.State.Status}}"); got != "exited" {
		t.Errorf("stopped by hand, and %s", got)
	}
	n.does(t, "rm", "-f", "fails", "keeper", "resting")
}

// healthChecks follows a container that falls ill, also over the engine's death.
func healthChecks(t *testing.T, n node) {
	n.does(t, "run", "-d", "--name", "sick", "--health-cmd", "echo looked; ls /ok", "--health-interval", "200ms", "--health-retries", "2", "busybox", "sleep", "1000")
	n.becomes(t, "sick", "{{.State.Health.Status}}", "unhealthy")
	if got := n.does(t, "ps", "--filter", "health=unhealthy", "--format", "{{.Names}} {{.Status}}"); !strings.HasPrefix(got, "sick Up") || !strings.HasSuffix(got, "(unhealthy)") {
		t.Errorf("ps: %q", got)
	}
	// Its two streams may come in any order, as in Docker.
	if got := n.inspected(t, "sick", "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}"); !strings.HasPrefix(got, "1 ") || !strings.Contains(got, "looked\n") || !strings.Contains(got, "ls: /ok") {
		t.Errorf("a check: %q", got)
	}
	n.does(t, "exec", "sick", "touch", "/ok")
	n.becomes(t, "sick", "{{.State.Health.Status}}", "healthy")
	pid := enginePid(t, n)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	await(t, 30*time.Second, func() (bool, string) {
		r := n.docker(t, "exec", "sick", "rm", "/ok")
		return r.code == 0 && enginePid(t, n) != pid, r.String()
	})
	n.becomes(t, "sick", "{{.State.Health.Status}}", "unhealthy")
	n.does(t, "rm", "-f", "sick")
}

// unhealthyTask has a service wait for a task to be healthy, and fail with it.
func unhealthyTask(t *testing.T, n node) {
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
}
