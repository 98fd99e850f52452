package dockerapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft/engine/testenv"
)

// clis are the docker command lines that may be installed: Debian's and a new
// one.
var clis = []string{"/usr/bin/docker", "/usr/local/bin/docker"}

// eachCLI runs a test with every docker command line there is.
func eachCLI(t *testing.T, f func(t *testing.T, c cli)) {
	t.Helper()
	found := false
	for _, bin := range clis {
		if _, err := os.Stat(bin); err != nil {
			continue
		}
		found = true
		t.Run(strings.ReplaceAll(bin[1:], "/", "-"), func(t *testing.T) { f(t, cli{bed: newBed(t), bin: bin}) })
	}
	if !found {
		testenv.Lacks(t, "none of %v is installed", clis)
	}
}

type cli struct {
	*bed
	bin string
}

// run gives the standard output, the standard error and the exit code.
func (c cli) docker(stdin string, args ...string) (string, string, int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.bin, args...)
	cmd.Env = []string{"DOCKER_HOST=unix://" + c.socket, "HOME=" + c.t.TempDir(), "PATH=/usr/bin:/bin"}
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("docker %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// says asserts success and gives the output without surrounding space.
func (c cli) says(args ...string) string {
	c.t.Helper()
	out, errs, code := c.docker("", args...)
	if code != 0 {
		c.t.Fatalf("docker %v: exit %d\n%s%s", args, code, out, errs)
	}
	return strings.TrimSpace(out)
}

// fails asserts a failure that says something.
func (c cli) fails(code int, message string, args ...string) {
	c.t.Helper()
	out, errs, got := c.docker("", args...)
	if got != code || !strings.Contains(errs, message) {
		c.t.Errorf("docker %v: exit %d\n%s%s\nwant %d and %q", args, got, out, errs, code, message)
	}
}

func TestCLISwarm(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		if out := c.says("version", "--format", "{{.Server.Version}}"); out != "0.0.0-fake" {
			t.Error(out)
		}
		c.fails(1, `Error response from daemon: This node is not a swarm manager. Use "docker swarm init"`, "node", "ls")
		if out := c.says("swarm", "init"); !strings.HasPrefix(out, "Swarm initialized: current node (") {
			t.Error(out)
		}
		if out := c.says("info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.Managers}}"); out != "active 1" {
			t.Error(out)
		}
		c.says("info")
		if out := c.says("swarm", "join-token", "-q", "worker"); out != "SWMTKN-1-fake-worker" {
			t.Error(out)
		}
		if out := c.says("node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}"); out != "fake Ready Active Leader" {
			t.Error(out)
		}
		if out := c.says("node", "update", "--availability", "drain", "self"); out != "self" && len(out) != 25 {
			t.Error(out)
		}
		c.fails(1, "Removing the last manager erases all current state", "swarm", "leave")
		c.says("swarm", "leave", "--force")
	})
}

func TestCLINetworks(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		c.says("swarm", "init")
		if id := c.says("network", "create", "-d", "overlay", "--attachable", "--subnet", "10.9.0.0/24", "my-net"); len(id) != 25 {
			t.Error(id)
		}
		c.fails(1, "Error response from daemon: network with name my-net already exists", "network", "create", "-d", "overlay", "my-net")
		c.fails(1, "Error response from daemon: this engine has no bridge networks yet", "network", "create", "b")
		if out := c.says("network", "ls", "--filter", "driver=overlay", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"); out != "ingress overlay swarm\nmy-net overlay swarm" {
			t.Error(out)
		}
		if out := c.says("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "my-net"); out != "10.9.0.0/24" {
			t.Error(out)
		}
		c.fails(1, "nope", "network", "inspect", "nope")
		c.fails(1, "nope", "network", "rm", "nope") // 20.10 has words of its own
		c.says("run", "-d", "--name", "web", "--network", "my-net", "--ip", "10.9.0.77", "--network-alias", "www", "weft/probe")
		if out := c.says("inspect", "-f", `{{(index .NetworkSettings.Networks "my-net").IPAddress}}`, "web"); out != "10.9.0.77" {
			t.Error(out)
		}
		c.fails(1, "endpoint with name web already exists in network my-net", "network", "connect", "my-net", "web")
		c.says("network", "disconnect", "my-net", "web")
		if out := c.says("network", "prune", "-f"); out != "Deleted Networks:\nmy-net" {
			t.Error(out)
		}
	})
}

func TestCLIServices(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		c.says("swarm", "init")
		out, errs, code := c.docker("", "service", "create", "-d", "--name", "web", "--replicas", "2", "weft/probe")
		if code != 0 || len(strings.TrimSpace(out)) != 25 || errs != "" {
			t.Errorf("%d %q %q", code, out, errs)
		}
		_, errs, code = c.docker("", "service", "create", "-d", "--name", "other", "busybox")
		if code != 0 || !strings.Contains(errs, "image busybox:latest could not be accessed on a registry to record") {
			t.Errorf("%d %q", code, errs)
		}
		if out := c.says("service", "ls", "--filter", "name=web", "--format", "{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}"); out != "web replicated 2/2 weft/probe:latest" {
			t.Error(out)
		}
		if out := c.says("service", "ps", "web", "--format", "{{.Name}} {{.Node}} {{.DesiredState}}"); out != "web.1 fake Running\nweb.2 fake Running" && out != "web.2 fake Running\nweb.1 fake Running" {
			t.Error(out)
		}
		c.says("service", "scale", "-d", "web=3")
		if out := c.says("service", "inspect", "-f", "{{.Spec.Mode.Replicated.Replicas}}", "web"); out != "3" {
			t.Error(out)
		}
		c.fails(1, "this engine does not collect logs across nodes", "service", "logs", "web")
		c.fails(1, "no such service: nope", "service", "inspect", "nope")
		if out := c.says("service", "rm", "web", "other"); out != "web\nother" {
			t.Error(out)
		}
	})
}

func TestCLIContainers(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		none := []string{"run", "--rm", "--network", "none"}
		for _, run := range []struct {
			stdin     string
			args      []string
			out, errs string
			code      int
		}{
			{"", []string{"weft/probe", "echo", "hello world"}, "hello world\n", "", 0},
			{"", []string{"weft/probe", "err", "oops"}, "", "oops\n", 0},
			{"", []string{"weft/probe", "exit", "7"}, "", "", 7},
			{"one\ntwo\n", []string{"-i", "weft/probe", "cat"}, "one\ntwo\n", "", 0},
			{strings.Repeat("x", 1<<20), []string{"-i", "weft/probe", "cat"}, strings.Repeat("x", 1<<20), "", 0},
			{"", []string{"-i", "weft/probe", "echo", "x"}, "x\n", "", 0},
		} {
			out, errs, code := c.docker(run.stdin, append(append([]string{}, none...), run.args...)...)
			if out != run.out || errs != run.errs || code != run.code {
				t.Errorf("%v: %d %.80q %.200q", run.args, code, out, errs)
			}
		}
		eventually(t, "--rm removes them", func() bool { return !strings.Contains(c.String(), "container") })
		if id := c.says("run", "-d", "--name", "web", "--network", "none", "--label", "a=b", "weft/probe", "serve"); len(id) != 64 {
			t.Error(id)
		}
		if out := c.says("ps", "--format", "{{.Names}} {{.Image}} {{.Command}} {{.Status}}"); !strings.HasPrefix(out, `web weft/probe "/probe serve" Up `) {
			t.Error(out)
		}
		if out := c.says("ps", "--no-trunc"); !strings.Contains(out, "web") {
			t.Error(out)
		}
		c.fails(125, `Conflict. The container name "/web" is already in use by container`, "run", "--name", "web", "--network", "none", "weft/probe")
		c.says("stop", "-t", "1", "web")
		if out := c.says("wait", "web"); out != "143" {
			t.Error(out)
		}
		c.says("start", "web")
		c.says("restart", "web")
		c.says("rename", "web", "shop")
		c.says("kill", "-s", "INT", "shop")
		eventually(t, "the signal arrives", func() bool { return strings.Contains(c.String(), "shop exited") })
		if out := c.says("ps", "-a", "--format", "{{.Status}}"); !strings.HasPrefix(out, "Exited (130) ") {
			t.Error(out)
		}
		c.fails(1, "No such container: nope", "rm", "nope")
		if out := c.says("container", "prune", "-f"); !strings.HasPrefix(out, "Deleted Containers:") {
			t.Error(out)
		}
		c.says("images")
		c.fails(125, "pull access denied for docker.io/library/busybox", "run", "busybox")
		c.fails(1, "pull access denied for docker.io/library/busybox", "pull", "busybox")
		c.says("pull", "weft/probe")
	})
}

func TestCLIStartAttached(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		c.says("create", "-i", "--name", "cat", "--network", "none", "weft/probe", "cat")
		out, errs, code := c.docker("through\n", "start", "-ai", "cat")
		if out != "through\n" || errs != "" || code != 0 {
			t.Errorf("%d %q %q", code, out, errs)
		}
		if out := c.says("logs", "cat"); out != "through" {
			t.Error(out)
		}
	})
}

func TestCLIRefusesWhatTheEngineCannotDo(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		c.fails(125, "privileges (--privileged); an init process (--init)", "run", "--network", "none", "--privileged", "--init", "weft/probe")
		for flag, what := range map[string]string{
			"--device=/dev/null": "devices", "--pid=host": "a shared PID namespace", "--ipc=host": "a shared IPC namespace", "--uts=host": "a shared UTS namespace",
			"--userns=host": "a user namespace mode", "--init": "an init process", "--log-driver=syslog": "a log driver",
			"--link=a": "links", "--volume-driver=x": "a volume driver", "--mac-address=02:42:ac:11:00:02": "a MAC address",
			"--cgroup-parent=x": "a cgroup parent", "--blkio-weight=100": "block I/O limits",
			"--storage-opt=size=1g": "storage options", "--security-opt=label=user:x": "--security-opt label=user:x",
		} {
			network := "none"
			if flag == "--link=a" || strings.HasPrefix(flag, "--mac") {
				network = "red" // the command line itself refuses them elsewhere
			}
			out, errs, code := c.docker("", "run", "--network", network, flag, "weft/probe")
			if code != 125 || !strings.Contains(errs, what) || !strings.Contains(errs, "this engine cannot ") {
				t.Errorf("%s: %d %q %q", flag, code, out, errs)
			}
		}
		c.fails(125, "Minimum memory limit allowed is 6MB", "run", "--network", "none", "-m", "5", "weft/probe")
		for _, flag := range []string{
			"--expose=80", "--restart=always", "--health-cmd=x", "--no-healthcheck", "--dns=1.1.1.1", "--add-host=a:1.1.1.1", "-P", "-p=80:80", "--hostname=h", "--stop-timeout=0", "--stop-signal=INT", "-w=/tmp", "-u=1", "-e=A=b", "--entrypoint=/probe", "--pull=never", "--cgroupns=private", "--memory-swappiness=-1",
			"--volume=/x:/y:ro", "--volume=/y", "--volume=data:/y:nocopy", "--volumes-from=a:ro", "--mount=type=volume,src=d,dst=/y,volume-label=a=b", "--mount=type=tmpfs,dst=/x,tmpfs-size=1m", "--mount=type=bind,src=/x,dst=/y", "--tmpfs=/x:size=1m", "--memory=1g", "--cpus=1", "--cap-add=NET_ADMIN",
			"--security-opt=no-new-privileges", "--security-opt=seccomp=unconfined", "--read-only", "--sysctl=net.ipv4.ip_forward=1",
			"--ulimit=nofile=9", "--pids-limit=9", "--oom-kill-disable", "--oom-score-adj=5", "--group-add=5", "--domainname=x", "--shm-size=1g", "-t",
		} {
			c.says("create", "--network", "none", flag, "weft/probe")
		}
	})
}

func TestCLIEvents(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		cmd := exec.CommandContext(t.Context(), c.bin, "events", "--filter", "type=container", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}")
		cmd.Env = []string{"DOCKER_HOST=unix://" + c.socket, "HOME=" + t.TempDir()}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the stream is open", func() bool { return c.Subscribers() == 1 })
		c.says("create", "--network", "none", "--name", "web", "weft/probe")
		line := make([]byte, len("container create web\n"))
		if _, err := io.ReadFull(out, line); err != nil || string(line) != "container create web\n" {
			t.Errorf("%q, %v", line, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		eventually(t, "the stream ends with its client", func() bool { return c.Subscribers() == 0 })
	})
}
