package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	dockerswarm "github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"weft/engine/dockerdtest"
	"weft/engine/kernel"
	"weft/engine/lab"
	"weft/wizard"
)

// aim is where a weft process is killed. Either when it has told of an event,
// which is after the record of the journal that the event is about; or around a
// request.
type aim struct {
	event wizard.EventType // empty: any that is about a record
	step  string           // of the event: its ID up to the colon; empty: any

	request string // detach, remove, create, restore, or any that changes something; empty: see event
	after   bool   // when the engine has done what was asked

	nth int // of those; 0: the first
}

// anyChange is every request that changes something.
const anyChange = "change anything"

func (a aim) String() string {
	text := fmt.Sprintf("before the request to %s", a.request)
	switch {
	case a.request == "" && a.event == "":
		text = "after a record"
	case a.request == "":
		text = fmt.Sprintf("%s %s", a.event, a.step)
	case a.after:
		text = "after the request to " + a.request
	}
	if a.nth > 1 {
		text += fmt.Sprintf(", number %d", a.nth)
	}
	return text
}

// is says whether an event is one that is aimed at.
func (a aim) is(e wizard.Event) bool {
	step, _, _ := strings.Cut(e.Step, ":")
	kind := e.Type == a.event || a.event == "" && (e.Type == wizard.StepBegins || e.Type == wizard.StepEnds)
	return a.request == "" && kind && (a.step == "" || a.step == step)
}

// victim is a weft process that is killed on the way.
type victim struct {
	aim

	instead func() // what happens there, if it is not killed
	signals chan os.Signal
	ended   chan struct{} // closed when it is dead
	once    sync.Once

	mu      sync.Mutex // guards what follows
	seen    int        // of what is aimed at
	created bool
	told    *os.File // where it tells its events
	text    []byte   // what of that has not been looked at
}

// strike does what is to happen where it was aimed at, once. A process that is
// killed has ended when it returns.
func (v *victim) strike() {
	if v.instead != nil {
		v.once.Do(v.instead)
		return
	}
	v.once.Do(func() { v.signals <- syscall.SIGKILL })
	<-v.ended
	panic(http.ErrAbortHandler)
}

// here says whether a request is the one that is aimed at.
func (v *victim) here(r *http.Request) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	kind := v.kind(r)
	return v.request != "" && (kind == v.request || v.request == anyChange && r.Method != http.MethodGet && r.Method != http.MethodHead) && v.reached()
}

// reached counts what is aimed at. It needs mu.
func (v *victim) reached() bool {
	v.seen++
	return v.seen == max(v.nth, 1)
}

// kind says what a request is for. It needs mu.
func (v *victim) kind(r *http.Request) string {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // without the version
	switch {
	case r.Method == http.MethodPost && path == "networks/create":
		v.created = true
		return "create"
	case r.Method == http.MethodDelete && strings.HasPrefix(path, "networks/"):
		return "remove"
	case r.Method == http.MethodPost && strings.HasPrefix(path, "services/") && v.created:
		return "restore"
	case r.Method == http.MethodPost && strings.HasPrefix(path, "services/"):
		return "detach"
	}
	return ""
}

// proxy stands between the process and its engine.
func (v *victim) proxy(target string) http.Handler {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", target)
	}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	forward.Transport = &http.Transport{DialContext: dial, DisableKeepAlives: true}
	forward.ErrorLog = nil
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.heard() {
			v.strike()
		}
		if v.here(r) {
			if v.after {
				forward.ServeHTTP(discard{http.Header{}}, r.WithContext(context.WithoutCancel(r.Context())))
			}
			v.strike()
		}
		forward.ServeHTTP(w, r)
	})
}

// discard is a client that does not listen.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// heard reads what the process has told so far, and says whether it was what is
// aimed at. What a process tells it has written before its next request.
func (v *victim) heard() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	conn, err := v.told.SyscallConn()
	if err != nil {
		return false
	}
	buf := make([]byte, 64<<10)
	_ = conn.Read(func(fd uintptr) bool {
		for {
			n, err := syscall.Read(int(fd), buf)
			if n <= 0 || err != nil {
				return true
			}
			v.text = append(v.text, buf[:n]...)
		}
	})
	for {
		line, rest, whole := bytes.Cut(v.text, []byte{'\n'})
		if !whole {
			return false
		}
		v.text = rest
		var e wizard.Event
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		if v.is(e) && v.reached() {
			return true
		}
	}
}

// killed runs weft until it is killed, and says whether it was.
func (o operator) killed(at aim, args ...string) bool {
	o.Helper()
	r, err := o.struck(&victim{aim: at}, args...)
	if err == nil {
		return false
	}
	if !strings.Contains(err.Error(), "killed") {
		o.Fatalf("%s: %v\n%s", at, err, r)
	}
	return true
}

// struck runs weft with something happening on the way.
func (o operator) struck(v *victim, args ...string) (errOut string, err error) {
	o.Helper()
	v.signals, v.ended = make(chan os.Signal, 1), make(chan struct{})
	read, write, err := os.Pipe()
	must(o.T, err)
	v.told = read
	defer read.Close()
	listener, err := net.Listen("unix", filepath.Join(o.node.RunPath(), "proxy.sock"))
	must(o.T, err)
	server := &http.Server{Handler: v.proxy(o.node.Socket()), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	defer func() {
		_ = server.Close()
		<-served
	}()
	var said bytes.Buffer
	argv := append([]string{"env", "XDG_STATE_HOME=" + o.home, o.node.bin, "--host", "unix://" + filepath.Join(lab.RunDir, "proxy.sock")}, args...)
	err = o.lab.Exec(o.Context(), o.node.Name, lab.Process{Args: argv, Out: write, Err: &said, Signals: v.signals})
	close(v.ended)
	must(o.T, write.Close())
	return said.String(), err
}

// bed is a swarm on which runs are killed one after another.
type bed struct {
	operator

	api    *client.Client
	nodes  []node
	specs  map[string]any
	name   string // of the ingress network
	subnet string
	turn   int

	outside  *kernel.Namespace // with a client of the published ports; nil: they don't work here
	dockerds bool              // its daemons
}

// contexts are the flags by which every node can be asked itself.
func (b *bed) contexts() []string {
	var flags []string
	for _, n := range b.nodes {
		flags = append(flags, "--node-context", n.Name+"=unix://"+n.Socket())
	}
	return flags
}

// customise are the arguments that replace the network by another each time.
func (b *bed) customise() (name, subnet string, args []string) {
	b.turn++
	name, subnet = fmt.Sprintf("ingress-%d", b.turn), fmt.Sprintf("10.%d.0.0/16", 100+b.turn%100)
	args = append([]string{"ingress", "customise", "--name", name, "--subnet", subnet, "--json", "--yes", "--accept", "drops-ingress-traffic,restarts-tasks"}, b.contexts()...)
	return name, subnet, args
}

// check fails unless the swarm is as it should be after a run.
func (b *bed) check(status string) {
	b.Helper()
	b.checkRun(status)
	n, err := b.api.NetworkInspect(b.Context(), b.name, network.InspectOptions{})
	if err != nil || len(n.Peers) != len(b.nodes) {
		b.Errorf("in the ingress network are %+v, %v; want %d nodes", n.Peers, err, len(b.nodes))
	}
}

// checkRun fails unless the swarm's objects are as they should be after a run.
func (b *bed) checkRun(status string) {
	b.Helper()
	if diff := cmp.Diff(b.specs, specs(b.T, b.node)); diff != "" {
		b.Errorf("specs before (-) and after (+):\n%s", diff)
	}
	n, err := b.api.NetworkInspect(b.Context(), b.name, network.InspectOptions{})
	if err != nil || !n.Ingress || n.IPAM.Config[0].Subnet != b.subnet {
		b.Errorf("the ingress network is %+v, %v; want %s %s", n, err, b.name, b.subnet)
	}
	configs, err := b.api.ConfigList(b.Context(), dockerswarm.ConfigListOptions{})
	if err != nil || len(configs) > 0 {
		b.Errorf("configs left: %v, %v", configs, err)
	}
	r := b.run("workflow", "ls", "--format", "{{.Status}}")
	if lines := strings.Fields(r.out); len(lines) == 0 || lines[len(lines)-1] != status {
		b.Errorf("workflow ls: %v, want the last one %s", r, status)
	}
	b.answer()
}

// killAt kills one run and goes on with it. A run that never comes there is
// done, and the answer false.
func (b *bed) killAt(at aim, verb string) bool {
	b.Helper()
	began := time.Now()
	name, subnet, args := b.customise()
	if !b.killed(at, args...) {
		b.name, b.subnet = name, subnet
		return false
	}
	ids := strings.Fields(b.run("workflow", "ls", "-q").out)
	if len(ids) == 0 {
		b.Fatalf("%s: there is no run", at)
	}
	if strings.Contains(b.run("workflow", "show", ids[len(ids)-1]).out, "Status:   done") {
		verb = "resume" // killed while it cleaned up: there is nothing to take back
	}
	r := b.run(append([]string{"workflow", verb, ids[len(ids)-1]}, b.contexts()...)...)
	if r.code != 0 {
		b.Fatalf("%s, then %s: %v", at, verb, r)
	}
	status := "rolled-back"
	if verb == "resume" {
		status, b.name, b.subnet = "done", name, subnet
	}
	b.check(status)
	if b.Failed() {
		b.Fatalf("%s, then %s:\n%s", at, verb, r.out)
	}
	b.Logf("%s, then %s: %v", at, verb, time.Since(began).Round(100*time.Millisecond))
	return true
}

// waits are the kills at steps that only wait, after the record of their begin
// or their end.
func waits(steps ...string) []aim {
	var list []aim
	for i, step := range steps {
		event := wizard.StepBegins
		if i%2 == 1 && step != "verify" { // after that the run is over
			event = wizard.StepEnds
		}
		list = append(list, aim{event: event, step: step})
	}
	return list
}

// changes are the kills around requests.
func changes(kinds ...string) []aim {
	var list []aim
	for i, kind := range kinds {
		list = append(list, aim{request: kind, after: i%2 == 1})
	}
	return list
}

// killEach kills a run at each point, going on by turns in each way.
func (b *bed) killEach(points []aim) {
	b.Helper()
	for i, at := range points {
		if !b.killAt(at, []string{"resume", "rollback"}[i/2%2]) {
			b.Fatalf("%s: never came there", at)
		}
	}
}

// dockerdBed is a swarm of three dockerds with a few services.
func dockerdBed(t *testing.T) *bed {
	t.Helper()
	dockerdtest.Require(t)
	l, nodes := startDockerds(t, 3)
	swarm(t, nodes)
	awaitNodes(t, nodes[0], 3)
	publish(t, nodes[0])
	return &bed{operator: operator{t, l, nodes[0], t.TempDir()}, api: apiClient(t, nodes[0]), nodes: nodes, specs: specs(t, nodes[0]), name: "ingress", subnet: "10.0.0.0/24", dockerds: true}
}

// publish makes three services with five ports.
func publish(t *testing.T, n node) {
	t.Helper()
	for name, ports := range map[string][]string{
		"one":  {"published=8001,target=80"},
		"two":  {"published=8002,target=80", "published=8102,target=80,protocol=udp"},
		"host": {"published=8003,target=80,mode=host", "published=8103,target=80"},
	} {
		args := []string{"service", "create", "--detach", "--name", name, "--label", "test=" + name, "--update-monitor", "300ms"}
		for _, p := range ports {
			args = append(args, "--publish", p)
		}
		n.weft(t, append(args, "weft/probe")...)
	}
}

// engineBed is a swarm of three engines with a few services, one of which
// publishes nothing.
func engineBed(t *testing.T) *bed {
	t.Helper()
	l, nodes := testLab(t, 3)
	swarm(t, nodes)
	nodes[0].weft(t, "network", "create", "-d", "overlay", "--subnet", "10.20.0.0/16", "ov")
	nodes[0].weft(t, "service", "create", "--detach", "--name", "web", "--network", "ov", "--replicas", "3", "weft/probe")
	publish(t, nodes[0])
	for name, want := range map[string]string{"web": "3/3", "one": "1/1", "two": "1/1", "host": "1/1"} {
		awaitReplicas(t, nodes[0], name, want)
	}
	outside, _ := clientOf(t, l, nodes)
	b := &bed{operator: operator{t, l, nodes[0], t.TempDir()}, api: apiClient(t, nodes[0]), nodes: nodes, specs: specs(t, nodes[0]), name: "ingress", subnet: "10.0.0.0/24", outside: outside}
	b.answer()
	return b
}
