package service

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"

	"weft/commands/cmdtest"
)

var update = flag.Bool("update", false, "write golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func full(t *testing.T) swarm.Service {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "full.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s swarm.Service
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// shop has one service and one of its networks.
type shop struct{ service swarm.Service }

func (s shop) ServiceInspectWithRaw(context.Context, string, swarm.ServiceInspectOptions) (swarm.Service, []byte, error) {
	return s.service, nil, nil
}

func (s shop) NetworkInspect(_ context.Context, id string, _ network.InspectOptions) (network.Inspect, error) {
	if id == "idn1" {
		return network.Inspect{ID: id, Name: "front"}, nil
	}
	return network.Inspect{}, errors.New("no such network")
}

func TestPretty(t *testing.T) {
	minimal := swarm.Service{ID: "id2"}
	minimal.Spec.Name = "min"
	minimal.Spec.Mode.Global = &swarm.GlobalService{}
	minimal.Spec.TaskTemplate.ContainerSpec = &swarm.ContainerSpec{Image: "img"}
	for name, s := range map[string]swarm.Service{"pretty_full": full(t), "pretty_minimal": minimal} {
		session := cmdtest.NewSession(t, "", nil)
		session.Env.Now = func() time.Time { return time.Date(2024, 1, 3, 0, 0, 0, 0, time.UTC) }
		if err := runInspect(t.Context(), session.Env, shop{s}, &inspectOptions{services: []string{"x"}, pretty: true}); err != nil {
			t.Fatal(err)
		}
		golden(t, name, session.Out.String())
	}
}

func TestReplicas(t *testing.T) {
	n := uint64(9)
	status := &swarm.ServiceStatus{RunningTasks: 1, DesiredTasks: 2, CompletedTasks: 3}
	for want, s := range map[string]swarm.Service{
		"0/0": {},
		"1/2": {ServiceStatus: status, Spec: swarm.ServiceSpec{Mode: swarm.ServiceMode{Global: &swarm.GlobalService{}}}},
		"1/2 (max 4 per node)": {ServiceStatus: status, Spec: swarm.ServiceSpec{
			Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{}},
			TaskTemplate: swarm.TaskSpec{Placement: &swarm.Placement{MaxReplicas: 4}},
		}},
		"1/2 (3/9 completed)": {ServiceStatus: status, Spec: swarm.ServiceSpec{
			Mode: swarm.ServiceMode{ReplicatedJob: &swarm.ReplicatedJob{TotalCompletions: &n}},
		}},
		"1/2 (3/5 completed)": {ServiceStatus: status, Spec: swarm.ServiceSpec{Mode: swarm.ServiceMode{GlobalJob: &swarm.GlobalJob{}}}},
	} {
		if got := replicasOf(s); got != want {
			t.Errorf("replicasOf = %q, want %q", got, want)
		}
	}
}

func TestPortList(t *testing.T) {
	p := func(published, target uint32) swarm.PortConfig {
		return swarm.PortConfig{Protocol: "tcp", PublishedPort: published, TargetPort: target, PublishMode: swarm.PortConfigPublishModeIngress}
	}
	udp, host := p(53, 53), p(99, 99)
	udp.Protocol, host.PublishMode = "udp", swarm.PortConfigPublishModeHost
	for _, tt := range []struct {
		ports []swarm.PortConfig
		want  string
	}{
		{nil, ""},
		{[]swarm.PortConfig{p(80, 8080)}, "*:80->8080/tcp"},
		{[]swarm.PortConfig{p(81, 81), p(80, 80)}, "*:80-81->80-81/tcp"},
		{[]swarm.PortConfig{p(80, 80), p(81, 80)}, "*:80-81->80/tcp"},
		{[]swarm.PortConfig{p(80, 80), p(81, 81), p(82, 80)}, "*:80-81->80-81/tcp, *:82->80/tcp"},
		{[]swarm.PortConfig{p(80, 80), p(82, 82), udp, host}, "*:80->80/tcp, *:82->82/tcp, *:53->53/udp"},
	} {
		if got := portList(tt.ports); got != tt.want {
			t.Errorf("portList(%v) = %q, want %q", tt.ports, got, tt.want)
		}
	}
}

// countAPI has tasks for a daemon that does not count them.
type countAPI struct{}

func (countAPI) TaskList(context.Context, swarm.TaskListOptions) ([]swarm.Task, error) {
	task := func(service, node string, desired, state swarm.TaskState) swarm.Task {
		return swarm.Task{ServiceID: service, NodeID: node, DesiredState: desired, Status: swarm.TaskStatus{State: state}}
	}
	return []swarm.Task{
		task("a", "up", "running", "running"), task("a", "down", "running", "running"), task("a", "up", "shutdown", "shutdown"),
		task("other", "up", "running", "running"),
	}, nil
}

func (countAPI) NodeList(context.Context, swarm.NodeListOptions) ([]swarm.Node, error) {
	return []swarm.Node{{ID: "down", Status: swarm.NodeStatus{State: swarm.NodeStateDown}}, {ID: "up"}}, nil
}

func TestCountTasks(t *testing.T) {
	five := uint64(5)
	services := []swarm.Service{{ID: "a"}, {ID: "b"}, {ID: "c", ServiceStatus: &swarm.ServiceStatus{RunningTasks: 7}}}
	services[1].Spec.Mode.Replicated = &swarm.ReplicatedService{Replicas: &five}
	if err := countTasks(t.Context(), countAPI{}, services); err != nil {
		t.Fatal(err)
	}
	for i, want := range []swarm.ServiceStatus{{RunningTasks: 1, DesiredTasks: 2}, {DesiredTasks: 5}, {RunningTasks: 7}} {
		if got := *services[i].ServiceStatus; got != want {
			t.Errorf("service %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	named := swarm.Service{ID: "xyz"}
	named.Spec.Name = "ab"
	byID := []swarm.Service{{ID: "abc"}, {ID: "abd"}, {ID: "q1"}}
	for ref, want := range map[string]string{"abc": "abc", "ab": "xyz", "q": "q1", "none": ""} {
		if got, err := match(ref, byID, []swarm.Service{named}); got != want || err != nil {
			t.Errorf("match(%s) = %s, %v, want %s", ref, got, err, want)
		}
	}
	if _, err := match("ab", byID, nil); err == nil || !strings.Contains(err.Error(), "multiple services found with provided prefix: ab") {
		t.Errorf("an ambiguous prefix gives %v", err)
	}
}

// logNames has the names log lines show.
type logNames struct{ logsAPI }

func (logNames) TaskInspectWithRaw(_ context.Context, id string) (swarm.Task, []byte, error) {
	return swarm.Task{ID: id, Slot: 2}, nil, nil
}

func (logNames) ServiceInspectWithRaw(context.Context, string, swarm.ServiceInspectOptions) (swarm.Service, []byte, error) {
	s := swarm.Service{}
	s.Spec.Name = "web"
	return s, nil, nil
}

func (logNames) NodeInspectWithRaw(context.Context, string) (swarm.Node, []byte, error) {
	return swarm.Node{Description: swarm.NodeDescription{Hostname: "host"}}, nil, nil
}

func TestLogLine(t *testing.T) {
	const origin = "com.docker.swarm.node.id=n,com.docker.swarm.service.id=s,com.docker.swarm.task.id=0123456789abcdef"
	for _, tt := range []struct {
		o         logsOptions
		line      string
		want, err string
	}{
		{line: origin + " hello there\n", want: "web.2.0123456789ab@host     | hello there\n"},
		{o: logsOptions{noTrunc: true, timestamps: true}, line: "2025 " + origin + " x\n", want: "2025 web.2.0123456789abcdef@host     | x\n"},
		{o: logsOptions{noTaskIDs: true, noResolve: true}, line: origin + " x\n", want: "s.2@n     | x\n"},
		{o: logsOptions{details: true}, line: "z=1,a=b%2Cc," + origin + " x\n", want: "web.2.0123456789ab@host     | a=b,c,z=1 x\n"},
		{line: "nothing\n", err: "invalid context in log message"},
		{line: "x y\n", err: "invalid details format"},
		{line: "a=b y\n", err: "missing com.docker.swarm."},
	} {
		var out strings.Builder
		w := &logWriter{ctx: t.Context(), options: &tt.o, namer: newTaskNamer(logNames{}, &tt.o, 2), out: &out}
		n, err := w.Write([]byte(tt.line))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want one with %q", tt.line, err, tt.err)
			}
			continue
		}
		if err != nil || n != len(tt.line) || out.String() != tt.want {
			t.Errorf("%q: wrote %d %q, %v, want %q", tt.line, n, out.String(), err, tt.want)
		}
	}
}
