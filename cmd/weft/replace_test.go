package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	apiswarm "github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"

	"weft/tui/tuitest"
)

// answer fails unless the published ports of all services answer a client from
// outside: those of the mesh on every host, those in host mode where a task is.
// Each task must see the client's own address.
func (b *bed) answer() {
	b.Helper()
	if b.outside == nil {
		return
	}
	services, err := b.api.ServiceList(b.Context(), apiswarm.ServiceListOptions{})
	must(b.T, err)
	for _, s := range services {
		for _, p := range s.Endpoint.Ports {
			want := len(b.nodes)
			if p.PublishMode == apiswarm.PortConfigPublishModeHost && s.Spec.Mode.Global == nil {
				want = 1
			}
			await(b.T, 20*time.Second, func() (bool, string) {
				n, said := b.asked(string(p.Protocol), p.PublishedPort)
				return n == want, fmt.Sprintf("port %d/%s of %s answers on %d hosts, want %d:\n%s", p.PublishedPort, p.Protocol, s.Spec.Name, n, want, said)
			})
		}
	}
}

// asked gives the number of hosts on which a port answers a client from outside.
func (b *bed) asked(protocol string, port uint32) (n int, said string) {
	b.Helper()
	for _, to := range b.nodes {
		a, source, err := ask(b.outside, protocol, fmt.Sprintf("%s:%d", to.addr(), port))
		if err == nil {
			n++
			if client := netip.MustParseAddrPort(a.Client).Addr().Unmap(); client != source {
				b.Errorf("port %d/%s on %s: the task saw %s, the client is %s", port, protocol, to.Name, client, source)
			}
		}
		said += fmt.Sprintf("%s: %+v, %v\n", to.Name, a, err)
	}
	return n, said
}

// answerV6 fails unless the ports of all services in the mesh answer a client
// that comes by IPv6, at these addresses of the hosts. A task sees the client's
// own address, or its host's where the network is too small for IPv6.
func (b *bed) answerV6(hosts []netip.Addr, relayed bool) {
	b.Helper()
	services, err := b.api.ServiceList(b.Context(), apiswarm.ServiceListOptions{})
	must(b.T, err)
	ports := 0
	for _, s := range services {
		for _, p := range s.Endpoint.Ports {
			if p.PublishMode != apiswarm.PortConfigPublishModeIngress {
				continue
			}
			ports++
			for i, at := range hosts {
				await(b.T, 20*time.Second, func() (bool, string) {
					to := netip.AddrPortFrom(at, uint16(p.PublishedPort)).String()
					a, want, err := ask(b.outside, string(p.Protocol), to)
					if err != nil {
						return false, fmt.Sprintf("%s of %s: %v", to, s.Spec.Name, err)
					}
					if relayed {
						want = b.nodes[i].Addr.Addr()
					}
					if client := netip.MustParseAddrPort(a.Client).Addr().Unmap(); client != want {
						b.Errorf("%s/%s of %s: the task saw %s, want %s", to, p.Protocol, s.Spec.Name, client, want)
					}
					return true, ""
				})
			}
		}
	}
	if ports == 0 {
		b.Error("no port is published")
	}
}

// silent waits until a TCP port is nobody's on all hosts.
func (b *bed) silent(port int) {
	b.Helper()
	for _, to := range b.nodes {
		await(b.T, 20*time.Second, func() (bool, string) {
			_, _, err := ask(b.outside, "tcp", to.addr()+":"+strconv.Itoa(port))
			return errors.Is(err, syscall.ECONNREFUSED), fmt.Sprintf("port %d on %s: %v", port, to.Name, err)
		})
	}
}

// everyNamespace runs a command in each network namespace of a host, its own
// included.
const everyNamespace = `
for f in /proc/[0-9]*/ns/net /run/weft/netns/*; do
	echo "$(stat -L -c %%i $f 2>/dev/null) $f"
done | sort -u -k1,1 | while read -r inode f; do
	nsenter --net=$f sh -c '%s' 2>/dev/null
done`

// kernelText is all that is said of networks in a host's kernel, and the names
// below the engine's run directory.
func (b *bed) kernelText(n node) string {
	b.Helper()
	all := fmt.Sprintf(everyNamespace, "ip -d link; ip addr; ip -4 route show table all; ip -6 route show table all; ip rule; ip neigh; bridge fdb; nft list ruleset; ip xfrm state; ip xfrm policy")
	return b.inHost(n, "sh", "-c", all+"; cat /proc/mounts; find /run/weft")
}

// traces are by what a network can be known in a kernel: its ID, VNI and
// addresses.
func traces(nw network.Inspect) []string {
	list := []string{nw.ID[:12], "vxlan id " + nw.Options["com.docker.network.driver.overlay.vxlanid_list"] + " "}
	for _, c := range nw.IPAM.Config {
		list = append(list, " "+strings.TrimSuffix(netip.MustParsePrefix(c.Subnet).Addr().String(), "0"))
	}
	for _, r := range nw.Containers {
		if p, err := netip.ParsePrefix(r.IPv6Address); err == nil {
			list = append(list, strings.TrimSuffix(p.Masked().Addr().String(), "::"))
		}
	}
	return list
}

// known fails unless the traces of a network are seen on a host that is on it.
func (b *bed) known(nw network.Inspect) {
	b.Helper()
	for _, mark := range traces(nw) {
		if !strings.Contains(b.kernelText(b.node), mark) {
			b.Errorf("%q is not seen where it must be", mark)
		}
	}
}

// forgotten waits until no host has any trace of a network.
func (b *bed) forgotten(nw network.Inspect) {
	b.Helper()
	for _, host := range b.nodes {
		await(b.T, time.Minute, func() (bool, string) {
			text, left := b.kernelText(host), ""
			for _, mark := range traces(nw) {
				for line := range strings.Lines(text) {
					if strings.Contains(line, mark) {
						left += line
					}
				}
			}
			return left == "", fmt.Sprintf("%s has of the old network:\n%s", host.Name, left)
		})
	}
}

// kernels gives what each host's kernel has, without what is named at random.
// Not among it is the bridge of those without a network of the swarm: it comes
// with the first one on a host, and is up while there is one.
func (b *bed) kernels() [][]string {
	b.Helper()
	names := regexp.MustCompile(`\bweft[0-9a-f]{11}\b|\bctr-[0-9a-f]{12}\b|\bov-[0-9a-z]{12}\b|/containers/[0-9a-f]*|net:\[[0-9]+\]`)
	bridge := regexp.MustCompile(`\bweft0\b`)
	of := ingressBed{T: b.T, lab: b.lab, nodes: b.nodes}
	var all [][]string
	for _, n := range b.nodes {
		var lines []string
		for _, line := range of.kernel(n) {
			if !bridge.MatchString(line) {
				lines = append(lines, names.ReplaceAllString(line, "*"))
			}
		}
		slices.Sort(lines)
		all = append(all, lines)
	}
	return all
}

// settled is kernels once the removed tasks are gone: they are the same twice in
// a row.
func (b *bed) settled() (now [][]string) {
	b.Helper()
	await(b.T, time.Minute, func() (bool, string) {
		last := now
		now = b.kernels()
		return cmp.Equal(last, now), cmp.Diff(last, now)
	})
	return now
}

// ingressV6 are the routes by which hosts reach their part of an ingress network
// with IPv6.
var ingressV6 = regexp.MustCompile(`^route .*(\bfd77:6566:74:|\b(fe80::/64|ff00::/8) dev weft-(ingress|mesh)\b)`)

// kinds counts what the hosts' kernels have, by kind: tasks may be on other hosts
// than they were. The bridge of those without a network of the swarm comes with
// the first one on a host. Routes are not among it: below an MTU of 1280 the mesh does
// without those of IPv6. Nor are processes: those of one program look alike.
func (b *bed) kinds() map[string]int {
	b.Helper()
	of := ingressBed{T: b.T, lab: b.lab, nodes: b.nodes}
	count := map[string]int{}
	for _, n := range b.nodes {
		for _, line := range of.kernel(n) {
			if kind, name, _ := strings.Cut(line, " "); !strings.HasPrefix(name, "weft0:") {
				count[kind]++
			}
		}
	}
	delete(count, "route")
	delete(count, "process")
	return count
}

// mtus fails unless every interface with an address of the subnet has that MTU:
// one for each task of a node, and its ingress sandbox's.
func (b *bed) mtus(subnet netip.Prefix, gateway netip.Addr, mtu int) {
	b.Helper()
	tasks, err := b.api.TaskList(b.Context(), apiswarm.TaskListOptions{})
	must(b.T, err)
	for _, n := range b.nodes {
		want := 1
		id := n.weft(b.T, "info", "--format", "{{.Swarm.NodeID}}")
		for _, t := range tasks {
			if t.NodeID == id && t.Status.State == apiswarm.TaskStateRunning && slices.ContainsFunc(t.NetworksAttachments, func(a apiswarm.NetworkAttachment) bool { return a.Network.Spec.Ingress }) {
				want++
			}
		}
		found := 0
		for text := range strings.Lines(b.inHost(n, "sh", "-c", fmt.Sprintf(everyNamespace, "ip -j -4 addr"))) {
			var links []struct {
				Name string `json:"ifname"`
				MTU  int
				Info []struct{ Local netip.Addr } `json:"addr_info"`
			}
			must(b.T, json.Unmarshal([]byte(text), &links))
			for _, l := range links {
				for _, a := range l.Info {
					if !subnet.Contains(a.Local) || a.Local == gateway {
						continue
					}
					if found++; l.MTU != mtu {
						b.Errorf("%s: %s with %s has MTU %d, want %d", n.Name, l.Name, a.Local, l.MTU, mtu)
					}
				}
			}
		}
		if found < want { // a service's virtual IP may be there as well
			b.Errorf("%s: %d interfaces in %s, want those of %d tasks and a sandbox", n.Name, found, subnet, want-1)
		}
	}
}

// TestCustomiseEngine replaces the ingress network of a swarm of engines, with
// the services of TestCustomiseDockerd. Here all of their ports carry traffic.
func TestCustomiseEngine(t *testing.T) {
	t.Parallel()
	l, nodes := testLab(t, 3)
	swarm(t, nodes)
	for name, ports := range publishing() {
		args := []string{"service", "create", "--detach", "--name", name, "--env", "SECRET=hush", "--update-monitor", "300ms"}
		switch name {
		case "s02":
			args = append(args, "--replicas", "2", "--constraint", "node.hostname!=host1")
		case "s12":
			args = append(args, "--mode", "global")
		}
		for _, p := range ports {
			args = append(args, "--publish", p)
		}
		nodes[0].weft(t, append(args, "weft/probe")...)
	}
	nodes[0].weft(t, "network", "create", "-d", "overlay", "ov")
	nodes[0].weft(t, "service", "create", "-q", "--name", "plain", "--replicas", "3", "--network", "ov", "weft/probe")
	for name := range publishing() {
		want := "1/1"
		switch name {
		case "s02":
			want = "2/2"
		case "s12":
			want = "3/3"
		}
		awaitReplicas(t, nodes[0], name, want)
	}
	mesh := joinBed(t, l, nodes)
	var v6 []netip.Addr
	for i := range nodes {
		v6 = append(v6, mesh.addrV6(i))
	}
	b := &bed{operator: operator{t, l, nodes[0], t.TempDir()}, api: apiClient(t, nodes[0]), nodes: nodes, specs: specs(t, nodes[0]), name: "ingress", subnet: "10.0.0.0/24", outside: mesh.outside}
	b.answer()
	b.answerV6(v6, false)
	t.Run("customise", b.at((*bed).customised))
	t.Run("broken port", b.at(func(b *bed) { breakPort(b.operator, nodes, 8001, 30*time.Second); b.answer() }))
	t.Run("by hand", b.at(func(b *bed) { b.byHand(v6) }))
}

// at has the bed used by a subtest.
func (b *bed) at(do func(*bed)) func(*testing.T) {
	return func(t *testing.T) {
		own := *b
		own.T = t
		do(&own)
	}
}

// customised carries out what Docker's documentation shows, by one command.
func (b *bed) customised() {
	old, err := b.api.NetworkInspect(b.Context(), "ingress", network.InspectOptions{})
	must(b.T, err)
	before, plain := b.kinds(), b.node.weft(b.T, "service", "ps", "-q", "plain")
	b.known(old)
	r := b.run(append([]string{
		"ingress", "customise", "--name", "my-ingress", "--subnet", "10.11.0.0/16", "--gateway", "10.11.0.2", "--mtu", "1200",
		"--yes", "--accept", "drops-ingress-traffic,restarts-tasks",
	}, b.contexts()...)...)
	if r.code != 0 || strings.Contains(r.out, "unverifiable") {
		b.Fatalf("customise: %v", r)
	}
	b.answer()
	if diff := cmp.Diff(b.specs, specs(b.T, b.node)); diff != "" {
		b.Errorf("specs before (-) and after (+):\n%s", diff)
	}
	if now := b.node.weft(b.T, "service", "ps", "-q", "plain"); now != plain {
		b.Errorf("the tasks of a service without published ports are now %s, were %s", now, plain)
	}
	n, err := b.api.NetworkInspect(b.Context(), "my-ingress", network.InspectOptions{})
	must(b.T, err)
	if !n.Ingress || n.IPAM.Config[0].Subnet != "10.11.0.0/16" || n.IPAM.Config[0].Gateway != "10.11.0.2" || n.Options["com.docker.network.driver.mtu"] != "1200" || len(n.Peers) != 3 {
		b.Errorf("the network is %+v", n)
	}
	b.mtus(netip.MustParsePrefix("10.11.0.0/16"), netip.MustParseAddr("10.11.0.2"), 1200)
	b.forgotten(old)
	await(b.T, time.Minute, func() (bool, string) {
		diff := cmp.Diff(before, b.kinds())
		return diff == "", "all hosts before (-) and after (+):\n" + diff
	})
}

// byHand replaces the network step by step, as Docker's documentation shows it,
// and asks the hosts at their IPv6 addresses as well.
func (b *bed) byHand(v6 []netip.Addr) {
	weft := func(args ...string) string { return b.node.weft(b.T, args...) }
	r := b.run("network", "rm", "ingress")
	if r.code != 0 || !strings.Contains(r.out+r.err, "Are you sure you want to continue? [y/N]") {
		b.Errorf("without anybody to ask: %v", r)
	}
	if text := b.agreed("network", "rm", "ingress"); !b.blockers(text) {
		b.Errorf("refused with:\n%s", text)
	}
	for name := range publishing() {
		if name != "s01" && name != "s05" && name != "s07" {
			weft("service", "rm", name)
		}
	}
	// Where they are, they are afterwards. SwarmKit leaves a task that meets a
	// new constraint alone, and later when its ports change as well: hence --force.
	weft("service", "update", "-q", "--force", "--constraint-add", "node.hostname==host1", "s01")
	weft("service", "update", "-q", "--force", "--constraint-add", "node.hostname==host2", "s07")
	b.answer()
	old, err := b.api.NetworkInspect(b.Context(), "ingress", network.InspectOptions{})
	must(b.T, err)
	b.known(old)
	before := b.settled()
	weft("service", "update", "-q", "--publish-rm", "80/tcp", "s01")
	weft("service", "update", "-q", "--publish-rm", "80/tcp", "--publish-rm", "80/udp", "s07")
	plain := weft("service", "ps", "-q", "plain")
	await(b.T, time.Minute, func() (bool, string) { // tasks end
		said := b.agreed("network", "rm", "ingress")
		left := weft("network", "ls", "-q", "--filter", "name=ingress")
		return left == "", "still there: " + left + "\n" + said
	})

	b.silent(8001)
	if n, said := b.asked("tcp", 8005); n != 1 {
		b.Errorf("a port in host mode without an ingress network:\n%s", said)
	}
	r = b.node.try(b.T, "service", "create", "--name", "late", "--publish", "8500:80", "weft/probe")
	if r.code != 1 || !strings.Contains(r.err, "service needs ingress network, but no ingress network is present") {
		b.Errorf("a port published without an ingress network: %v", r)
	}
	if now := weft("service", "ps", "-q", "plain"); now != plain {
		b.Errorf("the tasks of a service without published ports are now %s, were %s", now, plain)
	}

	weft("network", "create", "--driver", "overlay", "--ingress", "--subnet=10.11.0.0/16", "--gateway=10.11.0.2", "--opt", "com.docker.network.driver.mtu=1200", "my-ingress")
	weft("service", "update", "-q", "--publish-add", "8001:80", "s01")
	weft("service", "update", "-q", "--publish-add", "8007:80", "--publish-add", "8107:80", "--publish-add", "8207:80/udp", "s07")
	b.answer()
	b.mtus(netip.MustParsePrefix("10.11.0.0/16"), netip.MustParseAddr("10.11.0.2"), 1200)
	b.answerV6(v6, true)
	b.forgotten(old)
	for i := range before {
		before[i] = slices.DeleteFunc(before[i], ingressV6.MatchString) // the new one has no IPv6
	}
	await(b.T, time.Minute, func() (bool, string) {
		diff := cmp.Diff(before, b.kernels())
		return diff == "", "each host before (-) and after (+):\n" + diff
	})
}

// agreed runs a command in a terminal, says yes to its question and gives what
// is on the screen.
func (b *bed) agreed(args ...string) string {
	b.Helper()
	term, ended := b.sit(160, 50, args...)
	term.Await("Are you sure you want to continue? [y/N]")
	term.Type("y" + tuitest.Enter)
	ended()
	return term.Screen()
}

// blockers says whether a refusal names every service that publishes ports in
// the mesh, and its tasks.
func (b *bed) blockers(text string) bool {
	b.Helper()
	text = strings.Join(strings.Fields(text), "") // lines are broken anywhere
	services, err := b.api.ServiceList(b.Context(), apiswarm.ServiceListOptions{})
	must(b.T, err)
	tasks, err := b.api.TaskList(b.Context(), apiswarm.TaskListOptions{})
	must(b.T, err)
	for _, s := range services {
		if !slices.ContainsFunc(s.Endpoint.Ports, func(p apiswarm.PortConfig) bool { return p.PublishMode == apiswarm.PortConfigPublishModeIngress }) {
			continue
		}
		if !strings.Contains(text, "service"+s.Spec.Name+"(") {
			b.Errorf("service %s is not named", s.Spec.Name)
			return false
		}
		for _, t := range tasks {
			if t.ServiceID == s.ID && t.Status.State == apiswarm.TaskStateRunning && !strings.Contains(text, "task"+t.ID+"onhost") {
				b.Errorf("task %s is not named", t.ID)
				return false
			}
		}
	}
	return strings.Contains(text, "dependsonit")
}
