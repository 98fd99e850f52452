package main_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"weft/engine"
)

// enginePid gives the PID, as this process sees it, of a node's engine.
func enginePid(t *testing.T, n node) int {
	t.Helper()
	var in engine.Instance
	b, err := os.ReadFile(n.RunPath() + "/engine.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &in); err != nil {
		t.Fatal(err)
	}
	return outerPid(t, n, in.Pid)
}

// outerPid translates a PID of a node's PID namespace.
func outerPid(t *testing.T, n node, inner int) int {
	t.Helper()
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		status, _ := os.ReadFile("/proc/" + e.Name() + "/status") // it may have ended
		cmdline, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if !strings.Contains(string(cmdline), n.DataDir()) {
			continue
		}
		for line := range strings.Lines(string(status)) {
			if f := strings.Fields(line); len(f) > 2 && f[0] == "NSpid:" && f[len(f)-1] == strconv.Itoa(inner) {
				return pid
			}
		}
	}
	t.Fatalf("%s: no process is PID %d there", n.Name, inner)
	return 0
}

// containerState is what must be the same before and after a crash of the engine.
type containerState struct {
	Name, Started, Addr, MAC string
	Pid                      int
}

func containers(t *testing.T, n node) map[string]containerState {
	t.Helper()
	out := map[string]containerState{}
	ids := strings.Fields(n.weft(t, "ps", "-q", "--no-trunc"))
	if len(ids) == 0 {
		return out
	}
	var all []container.InspectResponse
	if err := json.Unmarshal([]byte(n.weft(t, append([]string{"inspect"}, ids...)...)), &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		s := containerState{Name: c.Name, Started: c.State.StartedAt, Pid: c.State.Pid}
		for _, e := range c.NetworkSettings.Networks {
			s.Addr, s.MAC = e.IPAddress, e.MacAddress
		}
		out[c.ID] = s
	}
	return out
}

// TestKilledEngineAdopts kills an engine and expects the next one to find
// containers, addresses and traffic as they were.
func TestKilledEngineAdopts(t *testing.T) {
	_, nodes := testLab(t, 2)
	swarm(t, nodes)
	manager, worker := nodes[0], nodes[1]
	manager.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/16", "ov")
	manager.weft(t, "service", "create", "--detach", "--name", "web", "--network", "ov", "--replicas", "4", "weft/probe")
	awaitReplicas(t, manager, "web", "4/4")
	worker.weft(t, "run", "-d", "--name", "target", "--network", "ov", "--ip", "10.20.9.9", "weft/probe")
	pinger := pinging(t, manager, "ov", "pinger", "10.20.9.9")

	before := containers(t, worker)
	restart(t, worker, func() {})
	await(t, 30*time.Second, func() (bool, string) {
		r := manager.try(t, "node", "ls", "--format", "{{.Status}}")
		return strings.Count(r.out, "Ready") == 2, r.String()
	})
	if diff := cmp.Diff(before, containers(t, worker)); diff != "" {
		t.Errorf("containers before (-) and after (+) the crash:\n%s", diff)
	}
	awaitReplicas(t, manager, "web", "4/4")
	if all := manager.weft(t, "service", "ps", "-q", "web"); len(strings.Fields(all)) != 4 {
		t.Errorf("tasks were started anew:\n%s", manager.weft(t, "service", "ps", "web"))
	}

	pinger.end(t, 150)
	// What came after the crash works as well: names gossiped, peers programmed.
	worker.weft(t, "run", "-d", "--name", "late", "--network", "ov", "weft/probe")
	late := worker.weft(t, "inspect", "late", "--format", "{{.NetworkSettings.Networks.ov.IPAddress}}")
	manager.weft(t, "run", "--rm", "--network", "ov", "weft/probe", "ping", "-c", "1", "-W", "10", late)
	worker.weft(t, "rm", "-f", "late", "target")
	if got := containers(t, worker); len(got) != 2 {
		t.Errorf("worker has %v, want its two tasks", got)
	}
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// restart kills the node's engine, does something, and waits for the next one
// to be a member of the swarm.
func restart(t *testing.T, n node, meanwhile func()) {
	t.Helper()
	pid := enginePid(t, n)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	meanwhile()
	await(t, 30*time.Second, func() (bool, string) {
		r := n.try(t, "info", "--format", "{{.Swarm.LocalNodeState}}")
		return r.code == 0 && strings.TrimSpace(r.out) == "active" && enginePid(t, n) != pid, r.String()
	})
}
