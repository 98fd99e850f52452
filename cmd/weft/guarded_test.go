package main_test

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/lab"
	"weft/tui/tuitest"
	"weft/wizard"
)

// TestGuardedOnDockerd carries out guarded workflows on three dockerds: with
// weft killed by SIGKILL at each kind of step, with daemons killed under it, and
// by the wizard.
func TestGuardedOnDockerd(t *testing.T) {
	b := dockerdBed(t)
	b.killEach(everyKind())
	b.daemonsDie(func(n node) int {
		pid, err := strconv.Atoi(strings.TrimSpace(b.inHost(n, "cat", "/run/docker.pid")))
		must(t, err)
		return outerPid(t, n, pid)
	})
	b.wizard()
	b.plain()
}

// everyKind are kills at each kind of step.
func everyKind() []aim {
	return append(waits("services", "drain", "gone", "join", "converge", "verify"), changes("detach", "detach", "remove", "remove", "create", "create", "restore", "restore")...)
}

// TestGuardedOnEngine does the same on three engines, whose published ports
// answer after each run, and whose other services go on.
func TestGuardedOnEngine(t *testing.T) {
	b := engineBed(t)
	tasks := b.node.weft(t, "service", "ps", "-q", "web")
	b.killEach(everyKind())
	if now := b.node.weft(t, "service", "ps", "-q", "web"); now != tasks {
		t.Errorf("the tasks of a service without published ports are now %s, were %s", now, tasks)
	}
	b.daemonsDie(func(n node) int { return enginePid(t, n) })
	b.wizard()
	b.plain()
}

// inHost runs a program in a host and gives what it prints.
func (b *bed) inHost(n node, argv ...string) string {
	b.Helper()
	var out strings.Builder
	must(b.T, b.lab.Exec(b.Context(), n.Name, lab.Process{Args: argv, Out: &out}))
	return out.String()
}

// daemonsDie kills the daemon that weft speaks to, and another node's, in the
// middle of runs. The hosts start them anew.
func (b *bed) daemonsDie(pid func(node) int) {
	b.Helper()
	for _, c := range []struct {
		of int
		at aim
	}{
		{0, aim{request: "remove"}},
		{0, aim{request: "create"}},
		{0, aim{event: wizard.StepBegins, step: "join"}},
		{2, aim{event: wizard.StepBegins, step: "gone"}},
		{2, aim{request: "create"}},
	} {
		b.dies(b.nodes[c.of], c.at, pid)
	}
}

// dies kills a node's daemon once. The run must not get lost: done, taken back,
// or open and then done.
func (b *bed) dies(n node, at aim, pid func(node) int) {
	b.Helper()
	began := time.Now()
	name, subnet, args := b.customise()
	struck := false
	said, err := b.struck(&victim{aim: at, instead: func() {
		struck = true
		if err := syscall.Kill(pid(n), syscall.SIGKILL); err != nil {
			b.Errorf("kill the daemon of %s: %v", n.Name, err)
		}
	}}, append(args, "--patience", "2m")...)
	if !struck {
		b.Fatalf("%s: never came there: %v\n%s", at, err, said)
	}
	code, exit := 0, (*exec.ExitError)(nil)
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	awaitNodes(b.T, b.node, len(b.nodes))
	status := "done"
	switch code {
	case 0:
	case 12:
		status = "rolled-back"
	case 13:
		ids := strings.Fields(b.run("workflow", "ls", "-q").out)
		if r := b.run(append([]string{"workflow", "resume", ids[len(ids)-1]}, b.contexts()...)...); r.code != 0 {
			b.Fatalf("%s dies %s: %s\nthen resume: %v", n.Name, at, said, r)
		}
	default:
		b.Fatalf("%s dies %s: %v\n%s", n.Name, at, err, said)
	}
	if status == "done" {
		b.name, b.subnet = name, subnet
	}
	b.awaitPeers()
	b.checkRun(status)
	b.Logf("the daemon of %s dies %s: exit code %d, then %s, after %v", n.Name, at, code, status, time.Since(began).Round(100*time.Millisecond))
}

// awaitPeers waits until all nodes are in the ingress network: one that was
// down when the run ended comes by itself. A dockerd that was killed may take
// another for gone for minutes (libnetwork drops what it hears of the networks
// of a node it has not met yet); that is nothing a run could help.
func (b *bed) awaitPeers() {
	b.Helper()
	began := time.Now()
	await(b.T, 2*time.Minute, func() (bool, string) {
		r := b.node.try(b.T, "network", "inspect", b.name, "--format", "{{len .Peers}}")
		late := b.dockerds && time.Since(began) > time.Minute
		if late {
			b.Logf("dockerd knows %s of %d nodes on the network", strings.TrimSpace(r.out), len(b.nodes))
		}
		return late || strings.TrimSpace(r.out) == strconv.Itoa(len(b.nodes)), r.String()
	})
}

// sit starts weft in a terminal on the first host.
func (b *bed) sit(width, height int, args ...string) (term *tuitest.Terminal, ended func() int) {
	b.Helper()
	term, slave := tuitest.Open(b.T, width, height)
	argv := append([]string{"env", "XDG_STATE_HOME=" + b.home, "TERM=xterm-256color", "LANG=C.UTF-8", b.node.bin, "--host", "unix://" + b.inside()}, args...)
	done := make(chan error, 1)
	go func() {
		done <- b.lab.Exec(b.Context(), b.node.Name, lab.Process{Args: argv, In: slave, Out: slave, Err: slave})
	}()
	return term, func() int {
		b.Helper()
		err := <-done
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return exit.ExitCode()
		}
		must(b.T, err)
		return 0
	}
}

// fill answers the wizard's form and goes on to the confirmation.
func (b *bed) fill(term *tuitest.Terminal, name, subnet string) {
	b.Helper()
	term.Await("now " + b.name)
	term.Type(name + tuitest.Tab + subnet + tuitest.Enter)
	term.Await("[Plan]")
	term.Type(tuitest.Enter)
	term.Await("[Findings]")
	term.Type(tuitest.Enter)
	term.Await("Hazard 1 of 2")
	term.Type(b.name + tuitest.Enter)
	term.Await("Hazard 2 of 2")
	term.Type("y")
	term.Await("Carry out this plan?")
}

// plain has a script of answers replace the network.
func (b *bed) plain() {
	b.Helper()
	name, subnet, _ := b.customise()
	answers := []string{name, subnet, "", "", "", "", "", "", "", "", "", b.name, "y", "y"}
	var out strings.Builder
	argv := append([]string{"env", "XDG_STATE_HOME=" + b.home, b.node.bin, "--host", "unix://" + b.inside(), "ingress", "customise", "--plain"}, b.contexts()...)
	err := b.lab.Exec(b.Context(), b.node.Name, lab.Process{Args: argv, In: strings.NewReader(strings.Join(answers, "\n") + "\n"), Out: &out, Err: &out})
	if err != nil || !strings.Contains(out.String(), "Type "+b.name+" to accept") {
		b.Fatalf("by a script of answers: %v\n%s", err, out.String())
	}
	b.name, b.subnet = name, subnet
	b.check("done")
}

// wizard goes through the wizard in a terminal: declined, interrupted and
// resumed, complete.
func (b *bed) wizard() {
	b.Helper()
	name, subnet, _ := b.customise()
	wizardly := append([]string{"ingress", "customise"}, b.contexts()...)

	term, ended := b.sit(80, 24, wizardly...)
	b.fill(term, name, subnet)
	term.Type("n")
	if code := ended(); code != 11 {
		b.Errorf("declined: exit code %d; on the screen:\n%s", code, term.Screen())
	}
	runs := b.run("workflow", "ls", "-q").out

	// Without the nodes' contexts there is a wait of 10 s to interrupt.
	term, ended = b.sit(120, 40, "ingress", "customise")
	b.fill(term, name, subnet)
	term.Type("y")
	term.Await("not every node can be asked")
	term.Type(tuitest.CtrlC)
	term.Await("Stop here?")
	term.Type("s")
	term.Await("is open.")
	term.Type(tuitest.Enter)
	if code := ended(); code != 13 {
		b.Errorf("interrupted: exit code %d; on the screen:\n%s", code, term.Screen())
	}
	if now := b.run("workflow", "ls", "-q").out; len(strings.Fields(now)) != len(strings.Fields(runs))+1 {
		b.Errorf("runs are now\n%s\nwere\n%s", now, runs)
	}
	term, ended = b.sit(80, 24, wizardly...)
	term.Await("Open runs")
	term.Type("r")
	term.Await("Done: Replace")
	term.Type(tuitest.Enter)
	if code := ended(); code != 0 {
		b.Errorf("resumed: exit code %d; on the screen:\n%s", code, term.Screen())
	}
	b.name, b.subnet = name, subnet
	b.check("done")

	name, subnet, _ = b.customise()
	term, ended = b.sit(80, 24, wizardly...)
	b.fill(term, name, subnet)
	term.Type("y")
	term.Await("Done: Replace")
	term.Type(tuitest.Enter)
	if code := ended(); code != 0 {
		b.Errorf("complete: exit code %d; on the screen:\n%s", code, term.Screen())
	}
	b.name, b.subnet = name, subnet
	b.check("done")
}
