package main_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	apiswarm "github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"

	"weft/engine/dockerdtest"
	"weft/engine/kernel"
	"weft/engine/lab"
	"weft/engine/netnstest"
)

// The benchmarks of this package compare engines with dockerds on one underlay.
// One iteration is netnstest.Rounds rounds in which all are measured in turn;
// the metrics are medians over the rounds. The machine may be noisy: ratios
// count, absolute figures are for orientation.

// side is a swarm of two hosts of one kind, manager first, with an attachable
// network ov.
type side struct {
	name string
	lab  *lab.Lab
	node [2]node
	api  [2]*client.Client
}

// benchSides gives a swarm of engines and one of dockerds on one underlay.
func benchSides(b *testing.B) (ours, docker *side) {
	b.Helper()
	dockerdtest.Require(b)
	bed := startMixed(b)
	ours = &side{name: "weft", lab: bed.lab, node: [2]node(bed.weft)}
	docker = &side{name: "dockerd", lab: bed.lab, node: [2]node(bed.dockerd)}
	for _, s := range []*side{ours, docker} {
		swarm(b, s.node[:])
		s.node[0].weft(b, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/16", "ov")
		for i, n := range s.node {
			s.api[i] = apiClient(b, n)
		}
	}
	return ours, docker
}

func apiClient(tb testing.TB, n node) *client.Client {
	tb.Helper()
	c, err := client.NewClientWithOpts(client.WithHost("unix://"+n.Socket()), client.WithAPIVersionNegotiation())
	must(tb, err)
	tb.Cleanup(func() { must(tb, c.Close()) })
	return c
}

// pid gives the process, as seen here, that is PID 1 of a node.
func (s *side) pid(tb testing.TB, n node) string {
	tb.Helper()
	all, err := s.lab.Status(tb.Context())
	must(tb, err)
	for _, h := range all {
		if h.Name == n.Name {
			return strconv.Itoa(h.PID)
		}
	}
	tb.Fatalf("no host %s", n.Name)
	return ""
}

// hostNet opens a node's own network namespace.
func (s *side) hostNet(tb testing.TB, n node) *kernel.Namespace {
	tb.Helper()
	return openNet(tb, filepath.Join("/proc", s.pid(tb, n), "ns/net"))
}

func openNet(tb testing.TB, path string) *kernel.Namespace {
	tb.Helper()
	ns, err := kernel.Open(path)
	must(tb, err)
	tb.Cleanup(func() { must(tb, ns.Close()) })
	return ns
}

// endpoint starts a container on a node's network ov and gives its network
// namespace and address.
func (s *side) endpoint(tb testing.TB, n node) (*kernel.Namespace, netip.Addr) {
	tb.Helper()
	n.weft(tb, "run", "-d", "--name", "end", "--network", "ov", "weft/probe")
	out := n.weft(tb, "inspect", "--format", "{{.State.Pid}} {{.NetworkSettings.Networks.ov.IPAddress}}", "end")
	inner, text, _ := strings.Cut(out, " ") // the PID is the node's own numbering
	addr, err := netip.ParseAddr(text)
	must(tb, err)
	return openNet(tb, filepath.Join("/proc", s.pid(tb, n), "root/proc", inner, "ns/net")), addr
}

// path gives the way from a container on the first node to one on the second.
func (s *side) path(tb testing.TB) netnstest.Path {
	tb.Helper()
	p := netnstest.Path{Name: s.name}
	p.From, _ = s.endpoint(tb, s.node[0])
	p.To, p.Addr = s.endpoint(tb, s.node[1])
	await(tb, 30*time.Second, func() (bool, string) { // gossip takes a moment
		err := kernel.Do(p.From, func() error {
			_, err := net.DialTimeout("tcp", netip.AddrPortFrom(p.Addr, 9).String(), time.Second)
			return err
		})
		return errors.Is(err, unix.ECONNREFUSED), fmt.Sprintf("%s: no way to %v: %v", p.Name, p.Addr, err)
	})
	return p
}

// inTurn measures two things in netnstest.Rounds rounds, the first to be
// measured changing from round to round.
func inTurn(first, second func() float64) (a, b []float64) {
	for round := range netnstest.Rounds {
		if round%2 == 0 {
			a = append(a, first())
		}
		b = append(b, second())
		if round%2 == 1 {
			a = append(a, first())
		}
	}
	return a, b
}

// ms gives the milliseconds fn takes.
func ms(fn func()) float64 {
	begin := time.Now()
	fn()
	return float64(time.Since(begin).Microseconds()) / 1000
}

// BenchmarkTraffic compares TCP between containers of two hosts over the
// engine's overlay with dockerd's, a VXLAN made by hand, and the bare underlay.
func BenchmarkTraffic(b *testing.B) {
	ours, docker := benchSides(b)
	var vteps [2]netnstest.VTEP
	for i, n := range ours.node {
		vteps[i] = netnstest.VTEP{NS: ours.hostNet(b, n), Addr: n.Addr.Addr()}
	}
	paths := []netnstest.Path{
		ours.path(b), docker.path(b), netnstest.ByHand(b, vteps),
		{Name: "underlay", From: vteps[0].NS, To: vteps[1].NS, Addr: vteps[1].Addr},
	}
	for _, tt := range []struct {
		name, unit string
		measure    func(testing.TB, netnstest.Path) float64
	}{
		{"throughput", "Gbit/s", netnstest.Throughput},
		{"connections", "conn/s", netnstest.Connections},
	} {
		b.Run(tt.name, func(b *testing.B) {
			for b.Loop() {
				results := netnstest.Compare(b, paths, tt.measure)
				b.ReportMetric(netnstest.Median(results[0]), tt.unit)
				b.ReportMetric(netnstest.Ratio(results[0], results[1]), "of-dockerd")
				b.ReportMetric(netnstest.Ratio(results[0], results[2]), "of-hand-made")
				b.ReportMetric(netnstest.Ratio(results[0], results[3]), "of-underlay")
			}
		})
	}
}

// BenchmarkServiceCreate is the time from the creation of a service of six
// replicas on two hosts until all its tasks run.
func BenchmarkServiceCreate(b *testing.B) {
	ours, docker := benchSides(b)
	for b.Loop() {
		a, d := inTurn(func() float64 { return ours.serviceUp(b, 6) }, func() float64 { return docker.serviceUp(b, 6) })
		report(b, a, d)
	}
}

// report gives the medians of two sides and of their rounds' ratios.
func report(b *testing.B, ours, docker []float64) {
	b.ReportMetric(netnstest.Median(ours), "ms")
	b.ReportMetric(netnstest.Median(docker), "ms-dockerd")
	b.ReportMetric(netnstest.Ratio(ours, docker), "of-dockerd")
}

// serviceUp gives how many ms a service needs until all its replicas run.
func (s *side) serviceUp(tb testing.TB, replicas uint64) float64 {
	tb.Helper()
	api, ctx := s.api[0], tb.Context()
	spec := apiswarm.ServiceSpec{
		Annotations: apiswarm.Annotations{Name: "s"},
		Mode:        apiswarm.ServiceMode{Replicated: &apiswarm.ReplicatedService{Replicas: &replicas}},
		TaskTemplate: apiswarm.TaskSpec{
			ContainerSpec: &apiswarm.ContainerSpec{Image: "weft/probe:latest"},
			Networks:      []apiswarm.NetworkAttachmentConfig{{Target: "ov"}},
		},
		EndpointSpec: &apiswarm.EndpointSpec{Mode: apiswarm.ResolutionModeDNSRR},
	}
	tasks := func(want int, state apiswarm.TaskState) {
		tb.Helper()
		by := apiswarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", "s"))}
		awaitEvery(tb, 5*time.Millisecond, time.Minute, func() (bool, string) {
			all, err := api.TaskList(ctx, by)
			must(tb, err)
			n := 0
			for _, t := range all {
				if t.Status.State == state {
					n++
				}
			}
			return n == want, fmt.Sprintf("%s: %d of %d tasks are %s", s.name, n, want, state)
		})
	}
	took := ms(func() {
		_, err := api.ServiceCreate(ctx, spec, apiswarm.ServiceCreateOptions{})
		must(tb, err)
		tasks(int(replicas), apiswarm.TaskStateRunning)
	})
	must(tb, api.ServiceRemove(ctx, "s"))
	for i := range s.node { // what goes on in the background belongs to this round
		await(tb, time.Minute, func() (bool, string) {
			left, err := s.api[i].ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.name=s"))})
			must(tb, err)
			return len(left) == 0, fmt.Sprintf("%s: %d containers left on %s", s.name, len(left), s.node[i].Name)
		})
	}
	return took
}

// BenchmarkAttach is the time to plug a running container into a network its
// host has already.
func BenchmarkAttach(b *testing.B) {
	ours, docker := benchSides(b)
	for _, s := range []*side{ours, docker} {
		s.node[0].weft(b, "run", "-d", "--name", "holds-the-network", "--network", "ov", "weft/probe")
		s.node[0].weft(b, "network", "create", "-d", "overlay", "--attachable", "first")
		s.node[0].weft(b, "run", "-d", "--name", "plugged", "--network", "first", "weft/probe")
	}
	for b.Loop() {
		a, d := inTurn(func() float64 { return ours.attach(b) }, func() float64 { return docker.attach(b) })
		report(b, a, d)
	}
}

func (s *side) attach(tb testing.TB) float64 {
	tb.Helper()
	api, ctx := s.api[0], tb.Context()
	took := ms(func() { must(tb, api.NetworkConnect(ctx, "ov", "plugged", &network.EndpointSettings{})) })
	must(tb, api.NetworkDisconnect(ctx, "ov", "plugged", false))
	return took
}

// BenchmarkIdleMemory is what an engine that manages a swarm of two and has a
// network and a service holds resident.
func BenchmarkIdleMemory(b *testing.B) {
	ours, docker := benchSides(b)
	for _, s := range []*side{ours, docker} {
		s.node[0].weft(b, "service", "create", "--detach", "--name", "s", "--replicas", "2", "--endpoint-mode", "dnsrr", "--network", "ov", "weft/probe")
		awaitReplicas(b, s.node[0], "s", "2/2")
	}
	for b.Loop() {
		a, d := inTurn(func() float64 { return ours.resident(b) }, func() float64 { return docker.resident(b) })
		b.ReportMetric(netnstest.Median(a), "MB")
		b.ReportMetric(netnstest.Median(d), "MB-dockerd+containerd")
	}
}

// daemons are what answers the API on a node, without what runs for each
// container, as their command lines begin.
var daemons = map[string][]string{
	"weft":    {"engine\x00run\x00"},
	"dockerd": {"dockerd\x00", "containerd\x00"},
}

// resident gives the MB of memory the first node's daemons have resident.
func (s *side) resident(tb testing.TB) float64 {
	tb.Helper()
	proc := filepath.Join("/proc", s.pid(tb, s.node[0]), "root/proc")
	lines, err := filepath.Glob(filepath.Join(proc, "[0-9]*/cmdline"))
	must(tb, err)
	found, kB := 0, 0.0
	for _, path := range lines {
		line, _ := os.ReadFile(path) // it may have ended
		if !slices.ContainsFunc(daemons[s.name], func(d string) bool { return strings.Contains(string(line), d) }) {
			continue
		}
		found++
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		must(tb, err)
		_, after, _ := strings.Cut(string(status), "VmRSS:")
		n, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
		must(tb, err)
		kB += n
	}
	if found != len(daemons[s.name]) {
		tb.Fatalf("%s: %d daemons found, want %d", s.name, found, len(daemons[s.name]))
	}
	return kB / 1000
}

// BenchmarkNetworkLs compares a run of `weft network ls` with one of the
// official CLI on the same socket, the engine's.
func BenchmarkNetworkLs(b *testing.B) {
	ours, _ := benchSides(b)
	n := ours.node[0]
	client := func(bin string) func() float64 {
		return func() float64 {
			const runs = 10
			return ms(func() {
				for range runs {
					if r := run(b.Context(), b, nil, bin, "--host", "unix://"+n.Socket(), "network", "ls"); r.code != 0 {
						b.Fatalf("%s network ls: %v", bin, r)
					}
				}
			}) / runs
		}
	}
	for b.Loop() {
		a, d := inTurn(client(n.bin), client("/usr/bin/docker"))
		b.ReportMetric(netnstest.Median(a), "ms")
		b.ReportMetric(netnstest.Median(d), "ms-docker")
		b.ReportMetric(netnstest.Ratio(a, d), "of-docker")
	}
}
