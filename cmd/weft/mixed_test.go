package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"

	"weft/engine/dockerdtest"
	"weft/engine/lab"
)

// mixedBed is an underlay with hosts of both kinds. All are commanded with
// weft, which must work on a dockerd as on the engine.
type mixedBed struct {
	lab           *lab.Lab
	dockerd, weft []node
}

func startMixed(tb testing.TB) mixedBed {
	tb.Helper()
	b := mixedBed{}
	b.lab, b.dockerd = startDockerds(tb, 2)
	bin := b.dockerd[0].bin
	for _, name := range []string{"weft1", "weft2"} {
		h, err := b.lab.AddHost(tb.Context(), name, lab.EngineBoot(bin))
		if err != nil {
			tb.Fatal(err)
		}
		b.weft = append(b.weft, node{h, bin})
	}
	return b
}

// startDockerds gives hosts with a dockerd each that has the probe's image.
func startDockerds(tb testing.TB, hosts int) (*lab.Lab, []node) {
	tb.Helper()
	bin := weft(tb)
	bed := dockerdtest.Start(tb, dockerdtest.Options{Hosts: hosts})
	image := probeTree(tb, bin)
	var nodes []node
	for _, d := range bed.Hosts {
		d.Import("weft/probe:latest", image, `ENTRYPOINT ["/probe"]`, `CMD ["serve"]`)
		h, err := bed.Lab.Host(d.Name)
		if err != nil {
			tb.Fatal(err)
		}
		nodes = append(nodes, node{h, bin})
	}
	return bed.Lab, nodes
}

// TestMixedSwarm proves that engines and dockerds are members of one swarm.
// The parts share the hosts, each with a swarm of its own.
func TestMixedSwarm(t *testing.T) {
	dockerdtest.Require(t)
	b := startMixed(t)
	pairs := t.Run("pair", func(t *testing.T) {
		t.Run("dockerd manages an engine", func(t *testing.T) {
			t.Parallel()
			workTogether(t, b.dockerd[0], b.weft[0], func() { publishTogether(t, b.lab, b.dockerd[0], b.dockerd[0], b.weft[0]) })
		})
		t.Run("an engine manages dockerd", func(t *testing.T) {
			t.Parallel()
			workTogether(t, b.weft[1], b.dockerd[1], func() { publishTogether(t, b.lab, b.weft[1], b.dockerd[1], b.weft[1]) })
		})
	})
	// After a failure the hosts may not be fit for the next part.
	killed := pairs && t.Run("killed engine", func(t *testing.T) { killedAmongDockerds(t, b) })
	if killed {
		t.Run("managers of both kinds", func(t *testing.T) { managersOfBothKinds(t, b) })
	}
}

// workTogether takes a swarm of two nodes of different kinds through its life,
// and does something more in the middle of it.
func workTogether(t *testing.T, manager, worker node, more func()) {
	both := []node{manager, worker}
	swarm(t, both)
	awaitNodes(t, manager, 2)
	startWeb(t, manager)
	perNode := manager.weft(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}", "web")
	if strings.Count(perNode, worker.Name) != 2 {
		t.Errorf("4 tasks are not spread over 2 nodes:\n%s", perNode)
	}
	for _, n := range both {
		n.weft(t, "run", "-d", "--name", "on-"+n.Name, "--network", "ov", "weft/probe")
	}
	awaitVerbose(t, both, 4)
	reachEachOther(t, both, 6)
	reachDirectly(t, manager, worker)
	reachDirectly(t, worker, manager)
	manager.weft(t, "service", "scale", "--detach", "web=6")
	awaitReplicas(t, manager, "web", "6/6")
	awaitVerbose(t, both, 6)
	reachEachOther(t, both, 8)
	manager.weft(t, "service", "scale", "--detach", "web=1")
	awaitContainers(t, both, 3)
	awaitVerbose(t, both, 1)
	manager.weft(t, "service", "rm", "web")
	awaitContainers(t, both, 2)
	more()
	awaitContainers(t, both, 2)
	awaitVerbose(t, both, 0)
	reachEachOther(t, both, 2)

	if r := manager.try(t, "network", "rm", "ov"); r.code == 0 {
		t.Errorf("a network in use was removed: %v", r)
	}
	for _, n := range both {
		n.weft(t, "rm", "-f", "on-"+n.Name)
	}
	await(t, 20*time.Second, func() (bool, string) { // attachments end as tasks do
		r := manager.try(t, "network", "rm", "ov")
		return r.code == 0, r.String()
	})
	worker.weft(t, "swarm", "leave")
	manager.weft(t, "node", "rm", "--force", worker.Name) // it is down for good, which the manager notices late
	if got := manager.weft(t, "node", "ls", "--format", "{{.Hostname}}"); got != manager.Name {
		t.Errorf("nodes after the worker left: %q", got)
	}
	manager.weft(t, "swarm", "leave", "--force")
	for _, n := range both {
		if got := n.weft(t, "info", "--format", "{{.Swarm.LocalNodeState}}"); got != "inactive" {
			t.Errorf("%s is %s after it left", n.Name, got)
		}
		if got := n.weft(t, "network", "ls", "--filter", "scope=swarm", "--format", "{{.Name}}"); got != "" {
			t.Errorf("%s left and keeps the networks %q", n.Name, got)
		}
	}
}

// killedAmongDockerds kills an engine in a dockerd's swarm. Neither it nor
// the dockerds may lose an address, a name or a packet by it.
func killedAmongDockerds(t *testing.T, b mixedBed) {
	manager, killed := b.dockerd[0], b.weft[0]
	all := []node{manager, b.dockerd[1], killed}
	swarm(t, all)
	awaitNodes(t, manager, 3)
	startWeb(t, manager)
	for _, n := range all {
		n.weft(t, "run", "-d", "--name", "on-"+n.Name, "--network", "ov", "weft/probe")
	}
	reachEachOther(t, all, 7)
	awaitVerbose(t, all, 4)
	named := names(t, manager, "web", "on-"+killed.Name)
	if len(named["web"]) != 4 || len(named["on-"+killed.Name]) != 1 {
		t.Errorf("names on a dockerd: %v", named)
	}
	before := containers(t, killed)
	// Rows nobody publishes again are withdrawn after 20 s. The pings go on for
	// longer: what holds after them is here to stay.
	pingers := []pings{
		pinging(t, manager, "ov", "pinger", address(t, killed, "on-"+killed.Name)),
		pinging(t, killed, "ov", "pinger", address(t, manager, "on-"+manager.Name)),
	}

	restart(t, killed, func() {
		if diff := cmp.Diff(named, names(t, manager, "web", "on-"+killed.Name)); diff != "" {
			t.Errorf("names on a dockerd before (-) the crash and (+) while the engine is dead:\n%s", diff)
		}
	})
	awaitNodes(t, manager, 3)
	after := containers(t, killed)
	maps.DeleteFunc(after, func(_ string, c containerState) bool { return c.Name == "/pinger" })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("containers before (-) and after (+) the crash:\n%s", diff)
	}
	if got := strings.Fields(manager.weft(t, "service", "ps", "-q", "web")); len(got) != 4 {
		t.Errorf("tasks were started anew:\n%s", manager.weft(t, "service", "ps", "web"))
	}

	// What comes after the crash is one swarm as well.
	manager.weft(t, "service", "scale", "--detach", "web=7")
	awaitReplicas(t, manager, "web", "7/7")
	for _, n := range all {
		n.weft(t, "run", "-d", "--name", "late-on-"+n.Name, "--network", "ov", "weft/probe")
	}
	awaitVerbose(t, all, 7)
	reachDirectly(t, manager, killed)
	reachDirectly(t, killed, manager)
	for _, p := range pingers {
		p.end(t, 250)
	}
	awaitVerbose(t, all, 7)
	reachEachOther(t, all, 13)
	late := names(t, manager, "web", "on-"+killed.Name, "late-on-"+killed.Name)
	if len(late["web"]) != 7 || !slices.Equal(late["on-"+killed.Name], named["on-"+killed.Name]) || len(late["late-on-"+killed.Name]) != 1 {
		t.Errorf("names on a dockerd before the crash: %v, and after: %v", named, late)
	}
	disband(t, all)
}

// managersOfBothKinds lets dockerds and an engine take turns as managers.
func managersOfBothKinds(t *testing.T, b mixedBed) {
	first, engine, second := b.dockerd[0], b.weft[0], b.dockerd[1]
	all := []node{first, engine, second}
	swarm(t, all)
	awaitNodes(t, first, 3)
	first.weft(t, "node", "promote", engine.Name, second.Name)
	awaitManagers(t, first, first.Name, engine.Name, second.Name)
	awaitManagers(t, engine, first.Name, engine.Name, second.Name)
	startWeb(t, engine) // asked of the engine, done by the leader, a dockerd

	demote(t, second, first.Name)
	awaitManagers(t, second, second.Name, engine.Name)
	demote(t, engine, second.Name)
	awaitManagers(t, engine, engine.Name) // which now leads alone
	engine.weft(t, "service", "scale", "--detach", "web=6")
	awaitReplicas(t, engine, "web", "6/6")
	reachEachOther(t, all, 6)

	engine.weft(t, "node", "promote", first.Name, second.Name)
	awaitManagers(t, first, first.Name, engine.Name, second.Name)
	demote(t, first, engine.Name) // the leader
	awaitManagers(t, second, first.Name, second.Name)
	await(t, 20*time.Second, func() (bool, string) {
		r := engine.try(t, "node", "ls")
		return strings.Contains(r.err, "not a swarm manager"), r.String()
	})
	awaitNodes(t, first, 3)
	first.weft(t, "service", "scale", "--detach", "web=9")
	awaitReplicas(t, first, "web", "9/9")
	awaitVerbose(t, all, 9)
	reachEachOther(t, all, 9)
	demote(t, first, second.Name)
	awaitManagers(t, first, first.Name)
	disband(t, all)
}

// demote demotes a manager. It tries again while the node's own record changes
// under the client ("update out of sequence"), or while there is no leader.
func demote(t *testing.T, ask node, name string) {
	t.Helper()
	await(t, 30*time.Second, func() (bool, string) {
		r := ask.try(t, "node", "demote", name)
		return r.code == 0, r.String()
	})
}

// startWeb makes the network ov and the service web with 4 tasks.
func startWeb(t *testing.T, manager node) {
	t.Helper()
	manager.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.40.0.0/24", "ov")
	manager.weft(t, "service", "create", "--detach", "--no-resolve-image", "--name", "web", "--network", "ov",
		"--endpoint-mode", "dnsrr", "--replicas", "4", "weft/probe")
	awaitReplicas(t, manager, "web", "4/4")
}

// disband ends a swarm whose only manager is the first of the nodes.
func disband(t *testing.T, nodes []node) {
	t.Helper()
	nodes[0].weft(t, "service", "rm", "web")
	for _, n := range slices.Backward(nodes) {
		if names := strings.Fields(n.weft(t, "ps", "-a", "--filter", "name=on-", "--format", "{{.Names}}")); len(names) > 0 {
			n.weft(t, append([]string{"rm", "-f"}, names...)...)
		}
		awaitContainers(t, []node{n}, 0)
		n.weft(t, "swarm", "leave", "--force")
	}
}

func awaitNodes(t *testing.T, manager node, want int) {
	t.Helper()
	await(t, 30*time.Second, func() (bool, string) {
		r := manager.try(t, "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}}")
		return strings.Count(r.out, " Ready Active\n") == want, r.String()
	})
}

// awaitManagers waits until exactly the nodes named, in order, are managers of
// use, one of them the leader.
func awaitManagers(t *testing.T, ask node, want ...string) {
	t.Helper()
	await(t, 40*time.Second, func() (bool, string) {
		r := ask.try(t, "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")
		var got []string
		leaders := 0
		for line := range strings.Lines(r.out) {
			name, status, _ := strings.Cut(strings.TrimSpace(line), " ")
			if status == "Leader" {
				leaders++
			}
			if status == "Leader" || status == "Reachable" {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		return leaders == 1 && slices.Equal(got, want), r.String()
	})
}

// awaitContainers waits until the nodes run so many containers together.
func awaitContainers(t *testing.T, nodes []node, want int) {
	t.Helper()
	await(t, 30*time.Second, func() (bool, string) {
		total, list := 0, ""
		for _, n := range nodes {
			r := n.try(t, "ps", "-q")
			total += len(strings.Fields(r.out))
			list += n.Name + ": " + n.try(t, "ps").String()
		}
		return total == want, list
	})
}

// address gives the address of a container on the network ov.
func address(t *testing.T, n node, name string) string {
	t.Helper()
	return n.weft(t, "inspect", "--format", "{{.NetworkSettings.Networks.ov.IPAddress}}", name)
}

// reachEachOther expects so many containers on the network ov and lets each
// reach all of them by HTTP.
func reachEachOther(t *testing.T, nodes []node, want int) {
	t.Helper()
	addrs := addresses(t, nodes)
	if len(addrs) != want {
		t.Fatalf("%d containers are on the network, want %d: %v", len(addrs), want, addrs)
	}
	matrix := append([]string{"run", "--rm", "--network", "ov", "weft/probe", "matrix"}, slices.Sorted(maps.Keys(addrs))...)
	r := nodes[0].try(t, matrix...)
	if r.code != 0 {
		t.Fatalf("not all containers reach each other: %v\n%v", r, addrs)
	}
}

// reachDirectly sends UDP, and packets as large as the network takes, from a
// container on one node to the standalone one on another.
func reachDirectly(t *testing.T, from, to node) {
	t.Helper()
	addr := address(t, to, "on-"+to.Name)
	for _, probe := range []string{"dial udp " + addr + ":7", "ping -c 2 -i 0.1 -M do -s 1422 " + addr} {
		from.weft(t, append([]string{"run", "--rm", "--network", "ov", "weft/probe"}, strings.Fields(probe)...)...)
	}
}

// addresses gives all addresses on the network ov and whose they are.
func addresses(t *testing.T, nodes []node) map[string]string {
	t.Helper()
	addrs := map[string]string{}
	for _, n := range nodes {
		for _, c := range containers(t, n) {
			if other, ok := addrs[c.Addr]; ok {
				t.Fatalf("%s and %s both have a container at %q", other, n.Name, c.Addr)
			}
			addrs[c.Addr] = n.Name
		}
	}
	return addrs
}

// names gives what names resolve to in a container on a dockerd, which has
// Docker's resolver.
func names(t *testing.T, dockerd node, hosts ...string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, h := range hosts {
		out := dockerd.weft(t, "run", "--rm", "--network", "ov", "weft/probe", "dig", h)
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 5 && f[3] == "A" {
				all[h] = append(all[h], f[4])
			}
		}
		slices.Sort(all[h])
	}
	return all
}

// awaitVerbose waits until `network inspect -v` lists so many tasks of web on
// every node, and says the same of services and peers on all of them.
func awaitVerbose(t *testing.T, nodes []node, want int) {
	t.Helper()
	await(t, 30*time.Second, func() (bool, string) {
		views := make([]verbose, len(nodes))
		for i, n := range nodes {
			views[i] = inspectVerbose(t, n)
			if v := views[i]; len(v.Services["web"].Tasks) != want || len(v.Peers) != len(nodes) {
				return false, fmt.Sprintf("%s sees %+v, want %d tasks and %d peers", n.Name, v, want, len(nodes))
			}
			if diff := cmp.Diff(views[0], views[i]); diff != "" {
				return false, fmt.Sprintf("%s (-) and %s (+) see:\n%s", nodes[0].Name, n.Name, diff)
			}
		}
		return true, ""
	})
}

// verbose is what `network inspect -v` says of the cluster.
type verbose struct {
	Services map[string]network.ServiceInfo
	Peers    []network.PeerInfo
}

func inspectVerbose(t *testing.T, n node) verbose {
	t.Helper()
	var all []network.Inspect
	if err := json.Unmarshal([]byte(n.weft(t, "network", "inspect", "-v", "ov")), &all); err != nil {
		t.Fatal(err)
	}
	for name, s := range all[0].Services {
		s.LocalLBIndex = 0 // a firewall mark of that node
		slices.SortFunc(s.Tasks, func(a, b network.Task) int { return strings.Compare(a.Name, b.Name) })
		all[0].Services[name] = s
	}
	slices.SortFunc(all[0].Peers, func(a, b network.PeerInfo) int { return strings.Compare(a.Name, b.Name) })
	return verbose{all[0].Services, all[0].Peers}
}
