package swarmtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/commands/swarmtest"
	"weft/engine/lab"
)

func TestMain(m *testing.M) {
	if code, ours := lab.Dispatch(os.Args); ours {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// client asks an API on a unix socket.
func client(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
}

// ask makes a request over HTTP.
func ask(ctx context.Context, socket, method, path, body string) (int, string, error) {
	return askTyped(ctx, socket, method, path, body, true)
}

func askTyped(ctx context.Context, socket, method, path, body string, typed bool) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if typed && body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := client(socket).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, strings.TrimSpace(string(text)), err
}

func decode(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func TestBusyIsSettled(t *testing.T) {
	s := swarmtest.New(t, swarmtest.Busy())
	var silent []string
	for _, p := range s.Ports() {
		var number int
		var proto string
		if _, err := fmt.Sscanf(strings.Replace(p, "/", " ", 1), "%d %s", &number, &proto); err != nil {
			t.Fatal(err)
		}
		if !s.Answers(number, proto) {
			silent = append(silent, p)
		}
	}
	if got := len(s.Ports()); got != 20 {
		t.Errorf("%d ports: %v", got, s.Ports())
	}
	if want := []string{"7000/tcp"}; !slices.Equal(silent, want) {
		t.Errorf("ports that do not answer: %v, want %v\n%s", silent, want, s.Tasks())
	}
	if v := s.Violations(); v != nil {
		t.Errorf("violations: %v", v)
	}
}

// withoutIngressPorts takes what is published through the ingress network out
// of a spec.
func withoutIngressPorts(spec map[string]any) {
	e, _ := spec["EndpointSpec"].(map[string]any)
	ports, _ := e["Ports"].([]any)
	e["Ports"] = slices.DeleteFunc(slices.Clone(ports), func(p any) bool { return p.(map[string]any)["PublishMode"] == "ingress" })
}

// rebuild replaces the ingress network as it should be done, or without the
// waiting.
func rebuild(t *testing.T, s *swarmtest.Swarm, wait bool) {
	t.Helper()
	_, text := s.Do("GET", "/services", "")
	saved := map[string]any{}
	for _, v := range decode(t, text).([]any) {
		spec := v.(map[string]any)["Spec"].(map[string]any)
		name := spec["Name"].(string)
		if strings.Contains(text, `"ingress"`) {
			saved[name] = spec
			s.UpdateService(name, withoutIngressPorts)
		}
	}
	settle := func() {
		if wait {
			s.Settle()
		}
	}
	settle()
	if status, text := s.Do("DELETE", "/networks/ingress", ""); status != 204 {
		t.Fatalf("remove ingress: %d %s", status, text)
	}
	settle()
	s.AddNetwork(`{"Name":"my-ingress","Driver":"overlay","Ingress":true,"IPAM":{"Config":[{"Subnet":"10.11.0.0/16","Gateway":"10.11.0.2"}]}}`)
	s.Settle()
	for name, spec := range saved {
		s.UpdateService(name, func(now map[string]any) { now["EndpointSpec"] = spec.(map[string]any)["EndpointSpec"] })
	}
	s.Settle()
}

func TestARebuildKeepsEverything(t *testing.T) {
	s := swarmtest.New(t, swarmtest.Busy(), swarmtest.WithUnknownFields())
	before := s.State()
	rebuild(t, s, true)
	if v := s.Violations(); v != nil {
		t.Errorf("violations: %v", v)
	}
	services := func(text string) string {
		_, rest, _ := strings.Cut(text, "service")
		return rest
	}
	if got := s.State(); services(got) != services(before) {
		t.Errorf("services are not what they were:\n%s\nbefore:\n%s", got, before)
	}
	if !s.Answers(80, "tcp") || !s.Answers(53, "udp") || !s.Answers(9100, "tcp") {
		t.Errorf("ports do not answer:\n%s", s.Tasks())
	}
	if got, want := s.Holders(), []string{"node1 my-ingress", "node2 my-ingress", "node3 my-ingress"}; !slices.Equal(got, want) {
		t.Errorf("holders %v", got)
	}
}

func TestAHastyRebuildBreaksTheSwarm(t *testing.T) {
	s := swarmtest.New(t, swarmtest.Busy())
	rebuild(t, s, false)
	violations := strings.Join(s.Violations(), "\n")
	for _, want := range []string{"premature removal: ", "premature creation: "} {
		if !strings.Contains(violations, want) {
			t.Errorf("no %q in violations:\n%s", want, violations)
		}
	}
	if s.Answers(80, "tcp") {
		t.Errorf("a port answers:\n%v\n%s", s.Holders(), s.Tasks())
	}
	if got := s.Holders(); !slices.Contains(got, "node1 ingress stuck") {
		t.Errorf("holders %v", got)
	}
}

func TestEachFault(t *testing.T) {
	const spec = `{"Name":"late","TaskTemplate":{"ContainerSpec":{"Image":"busybox"}}}`
	for _, f := range swarmtest.Faults() {
		t.Run(f.String(), func(t *testing.T) {
			s := swarmtest.New(t)
			s.Fail(2, f, swarmtest.On("POST", "/services/*"))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if f == swarmtest.NoAnswer || f == swarmtest.NoAnswerAfter {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
			}
			if status, text, err := ask(ctx, s.Socket(), "POST", "/v1.41/services/create", `{}`); err != nil || status != 400 {
				t.Errorf("the first request fails: %d %s %v", status, text, err)
			}
			status, text, err := ask(ctx, s.Socket(), "POST", "/v1.41/services/create", spec)
			if answered := f == swarmtest.ServerError || f == swarmtest.Unavailable; (err == nil) != answered {
				t.Errorf("answer %d %s %v", status, text, err)
			} else if answered && (status < 500 || !strings.Contains(text, `"message"`)) {
				t.Errorf("answer %d %s", status, text)
			}
			if status, _ = s.Do("GET", "/services/late", ""); (status == 200) != f.Takes() {
				t.Errorf("afterwards the service is %d", status)
			}
			if status, text, err := ask(t.Context(), s.Socket(), "GET", "/services", ""); err != nil || status != 200 {
				t.Errorf("the next request fails: %d %s %v", status, text, err)
			}
			log := s.Requests()
			if len(log) != 3 || log[1].Fault != f || log[1].String() != "POST /services/create" || !log[1].Writes() || log[2].Writes() {
				t.Errorf("requests: %v", log)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	s := swarmtest.New(t)
	held := make(chan error, 1)
	s.Before(2, func() {})
	go func() {
		_, _, err := ask(t.Context(), s.Socket(), "GET", "/events", "")
		held <- err
	}()
	for s.Count() == 0 { // until the stream is open
		s.Advance(0)
	}
	s.Restart(2, 2, true)
	var got []string
	for range 5 {
		_, _, err := ask(t.Context(), s.Socket(), "POST", "/configs/create", `{"Name":"c","Data":"aGVsbG8="}`)
		got = append(got, fmt.Sprint(err == nil))
		if len(got) == 2 {
			if status, _ := s.Do("GET", "/configs/c", ""); status != 200 {
				t.Errorf("the config is %d", status)
			}
		}
	}
	if want := "true false false false true"; strings.Join(got, " ") != want {
		t.Errorf("answered: %v, want %s", got, want)
	}
	if err := <-held; err != nil {
		t.Log("the stream ended with", err)
	}
}

func TestStopRefusesConnections(t *testing.T) {
	s := swarmtest.New(t)
	s.Stop()
	if _, _, err := ask(t.Context(), s.Socket(), "GET", "/_ping", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("stopped: %v", err)
	}
	s.Start()
	if status, _, err := ask(t.Context(), s.Socket(), "GET", "/_ping", ""); err != nil || status != 200 {
		t.Errorf("started: %d %v", status, err)
	}
}

func TestBefore(t *testing.T) {
	s := swarmtest.New(t)
	s.Before(2, func() { s.AddService(`{"Name":"other","TaskTemplate":{"ContainerSpec":{"Image":"busybox"}}}`) })
	var got []bool
	for range 3 {
		_, text, err := ask(t.Context(), s.Socket(), "GET", "/services", "")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Contains(text, `"other"`))
	}
	if !slices.Equal(got, []bool{false, true, true}) {
		t.Errorf("the service is there: %v", got)
	}
}

func service(t *testing.T, s *swarmtest.Swarm, name string) map[string]any {
	t.Helper()
	_, text := s.Do("GET", "/services/"+name, "")
	return decode(t, text).(map[string]any)
}

func updateState(t *testing.T, s *swarmtest.Swarm, name string) any {
	t.Helper()
	status, _ := service(t, s, name)["UpdateStatus"].(map[string]any)
	return status["State"]
}

func TestFailedUpdates(t *testing.T) {
	for action, want := range map[string]string{"pause": "paused", "rollback": "rollback_completed", "": "paused"} {
		t.Run(action, func(t *testing.T) {
			s := swarmtest.New(t)
			s.AddService(`{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"one"}},"Mode":{"Replicated":{"Replicas":2}},` +
				`"UpdateConfig":{"Parallelism":1,"FailureAction":"` + action + `"},"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":80}]}}`)
			s.Settle()
			s.SetTrouble("a", swarmtest.FailStart)
			s.UpdateService("a", withoutIngressPorts)
			s.Advance(40)
			if got := updateState(t, s, "a"); got != want {
				t.Errorf("update is %v, want %v\n%s", got, want, s.Tasks())
			}
			if !s.Answers(80, "tcp") && action == "rollback" {
				t.Errorf("not rolled back:\n%s", s.Tasks())
			}
			if _, there := service(t, s, "a")["PreviousSpec"]; there == (action == "rollback") {
				t.Errorf("there is a previous spec: %t", there)
			}
		})
	}
}

func TestTasksThatNeverConverge(t *testing.T) {
	s := swarmtest.New(t)
	s.AddService(`{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"one"}},"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":80}]}}`)
	s.Settle()
	s.SetTrouble("a", swarmtest.Hang)
	s.UpdateService("a", func(spec map[string]any) {
		spec["TaskTemplate"].(map[string]any)["ForceUpdate"] = 1
	})
	s.Advance(100)
	if got := updateState(t, s, "a"); got != "updating" {
		t.Errorf("update is %v", got)
	}
	s.SetTrouble("a", swarmtest.NoTrouble)
	s.Advance(20)
	if got := updateState(t, s, "a"); got != "completed" {
		t.Errorf("update is %v\n%s", got, s.Tasks())
	}
}

func TestNodes(t *testing.T) {
	s := swarmtest.New(t, swarmtest.Busy())
	s.SetNode("node2", "", "drain")
	s.SetNode("node3", "down", "")
	s.Settle()
	for line := range strings.Lines(s.Tasks()) {
		if strings.Contains(line, "on node2 running") || strings.Contains(line, "on node3 running -> running") {
			t.Error(line)
		}
	}
	if !s.Answers(80, "tcp") {
		t.Errorf("80 does not answer:\n%s", s.Tasks())
	}
	status, text, err := ask(t.Context(), s.NodeSocket("node2"), "GET", "/v1.41/services", "")
	if err != nil || status != 503 || !strings.Contains(text, "Worker nodes can't be used to view or modify cluster state") {
		t.Errorf("a worker tells of services: %d %s %v", status, text, err)
	}
	status, text, err = ask(t.Context(), s.NodeSocket("node2"), "GET", "/v1.41/networks/ingress", "")
	if err != nil || status != 200 || !strings.Contains(text, `"Peers":[`) {
		t.Errorf("a worker's ingress: %d %s %v", status, text, err)
	}
	s.SetQuorum(false)
	if status, text := s.Do("GET", "/services", ""); status != 500 || !strings.Contains(text, "does not have a leader") {
		t.Errorf("without quorum: %d %s", status, text)
	}
}

func TestAnOverlappingIngressIsNeverAllocated(t *testing.T) {
	s := swarmtest.New(t, swarmtest.WithoutIngress())
	s.AddNetwork(`{"Name":"other","Driver":"overlay","IPAM":{"Config":[{"Subnet":"10.11.1.0/24"}]}}`)
	s.AddNetwork(`{"Name":"in","Driver":"overlay","Ingress":true,"IPAM":{"Config":[{"Subnet":"10.11.0.0/16"}]}}`)
	s.AddService(`{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"one"}},"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":80}]}}`)
	s.Settle()
	if got := s.Tasks(); got != "a.1 on - new -> running \n" {
		t.Errorf("tasks: %s", got)
	}
	if status, text := s.Do("DELETE", "/networks/other", ""); status != 204 {
		t.Fatalf("%d %s", status, text)
	}
	s.Settle()
	if !s.Answers(80, "tcp") {
		t.Errorf("80 does not answer: %s", s.Tasks())
	}
}

func TestAnIdleNodeIsNotToldOfANewIngress(t *testing.T) {
	s := swarmtest.New(t)
	if status, text := s.Do("DELETE", "/networks/ingress", ""); status != 204 {
		t.Fatalf("%d %s", status, text)
	}
	s.Settle()
	s.AddNetwork(`{"Name":"in","Driver":"overlay","Ingress":true}`)
	s.Settle()
	if got := s.Holders(); got != nil {
		t.Errorf("holders: %v", got)
	}
	var nodes []struct {
		ID      string
		Version struct{ Index int }
		Spec    json.RawMessage
	}
	_, text := s.Do("GET", "/nodes", "")
	if err := json.Unmarshal([]byte(text), &nodes); err != nil {
		t.Fatal(err)
	}
	poke := fmt.Sprintf("/nodes/%s/update?version=%d", nodes[1].ID, nodes[1].Version.Index)
	if status, text := s.Do("POST", poke, string(nodes[1].Spec)); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	s.Settle()
	if got, want := s.Holders(), []string{"node2 in"}; !slices.Equal(got, want) {
		t.Errorf("holders: %v, want %v", got, want)
	}
	s.AddService(`{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"one"}},"Mode":{"Global":{}},` +
		`"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":80}]}}`)
	s.Settle()
	for _, n := range []string{"node1", "node2", "node3"} {
		if !s.AnswersOn(n, 80, "tcp") {
			t.Errorf("80 does not answer on %s: %v", n, s.Holders())
		}
	}
}

func TestABrokenPort(t *testing.T) {
	s := swarmtest.New(t, swarmtest.Busy())
	s.BreakPort(80, "tcp", true)
	if s.Answers(80, "tcp") || !s.Answers(443, "tcp") {
		t.Error("the wrong ports answer")
	}
}

func BenchmarkRebuild(b *testing.B) {
	for b.Loop() {
		s := swarmtest.New(b, swarmtest.Busy())
		s.Advance(200)
	}
}
