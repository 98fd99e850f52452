package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"weft/engine/lab"
)

// ingressBed is a lab whose nodes are asked by Docker's own client.
type ingressBed struct {
	*testing.T
	lab     *lab.Lab
	nodes   []node
	clients []*client.Client
}

func newIngressBed(t *testing.T, hosts int) *ingressBed {
	t.Helper()
	l, nodes := testLab(t, hosts)
	b := &ingressBed{T: t, lab: l, nodes: nodes}
	for _, n := range nodes {
		c, err := client.NewClientWithOpts(client.WithHost("unix://"+n.Socket()), client.WithAPIVersionNegotiation())
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		b.clients = append(b.clients, c)
	}
	return b
}

// awaitPeers waits until every node shows every node's address among the
// network's peers, and gives what each shows.
func (b *ingressBed) awaitPeers(name string) []network.Inspect {
	b.Helper()
	var want []string
	for _, n := range b.nodes {
		want = append(want, n.addr())
	}
	slices.Sort(want)
	all := make([]network.Inspect, len(b.nodes))
	for i, c := range b.clients {
		await(b.T, time.Minute, func() (bool, string) {
			nw, err := c.NetworkInspect(b.Context(), name, network.InspectOptions{})
			if err != nil {
				return false, err.Error()
			}
			var got []string
			for _, p := range nw.Peers {
				got = append(got, p.IP)
			}
			slices.Sort(got)
			all[i] = nw
			_, joined := nw.Containers[name+"-sbox"]
			return joined && slices.Equal(got, want), fmt.Sprintf("%s: %+v", b.nodes[i].Name, nw)
		})
	}
	return all
}

// in runs a command in a node's namespaces.
func (b *ingressBed) in(n node, argv ...string) string {
	b.Helper()
	var out, errOut bytes.Buffer
	err := b.lab.Exec(b.Context(), n.Name, lab.Process{Args: argv, Out: &out, Err: &errOut})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.Fatalf("%s: %v: %v", n.Name, argv, err)
	}
	return out.String() + errOut.String()
}

// kernel is what a node's engine has in the kernel, without docker_gwbridge: that
// is there as long as the node is in the swarm. A host that forwards IPv6 has
// addresses for all routers in its networks (RFC 4291, section 2.6.1).
func (b *ingressBed) kernel(n node) []string {
	b.Helper()
	gateway := regexp.MustCompile(`docker_gwbridge| 172\.18\.|^table .* weft-bridge$|^route anycast `)
	lines := slices.DeleteFunc(strings.Split(b.in(n, "sh", "-c", inventory), "\n"), func(l string) bool {
		return l == "" || gateway.MatchString(l) || strings.HasPrefix(l, "process sh ") || strings.HasPrefix(l, "process tr ") ||
			strings.HasPrefix(l, "process cut") || strings.HasPrefix(l, "process sed")
	})
	slices.Sort(lines)
	return slices.Compact(lines)
}

// awaitKernel waits until each node's kernel is as it was.
func (b *ingressBed) awaitKernel(was [][]string) {
	b.Helper()
	for i, n := range b.nodes {
		await(b.T, time.Minute, func() (bool, string) {
			diff := cmp.Diff(was[i], b.kernel(n))
			return diff == "", n.Name + " before (-) and after (+):\n" + diff
		})
	}
}

const ingressSandbox = lab.RunDir + "/netns/ingress_sbox"

// sandbox gives the address and MTU in a node's ingress sandbox.
func (b *ingressBed) sandbox(n node) (addr netip.Prefix, mtu int) {
	b.Helper()
	out := b.in(n, "nsenter", "--net="+ingressSandbox, "ip", "-j", "-4", "addr", "show", "dev", "eth0")
	var links []struct {
		MTU  int
		Info []struct {
			Local netip.Addr
			Len   int `json:"prefixlen"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 || len(links[0].Info) != 1 {
		b.Fatalf("%s: ingress sandbox: %v\n%s", n.Name, err, out)
	}
	return netip.PrefixFrom(links[0].Info[0].Local, links[0].Info[0].Len), links[0].MTU
}

// checkSandboxes compares each node's sandbox with what the node says of it,
// and has each reach all others.
func (b *ingressBed) checkSandboxes(shown []network.Inspect, wantMTU int) {
	b.Helper()
	addrs := map[netip.Addr]bool{}
	for i, n := range b.nodes {
		addr, mtu := b.sandbox(n)
		r := shown[i].Containers[shown[i].Name+"-sbox"]
		if r.Name != shown[i].Name+"-endpoint" || r.IPv4Address != addr.String() || r.EndpointID == "" || r.MacAddress == "" || mtu != wantMTU {
			b.Errorf("%s: sandbox has %s, MTU %d; shown is %+v", n.Name, addr, mtu, r)
		}
		addrs[addr.Addr()] = true
	}
	if len(addrs) != len(b.nodes) {
		b.Errorf("the nodes share addresses: %v", addrs)
	}
	for _, n := range b.nodes {
		for addr := range addrs {
			await(b.T, 20*time.Second, func() (bool, string) {
				out := b.in(n, "nsenter", "--net="+ingressSandbox, "busybox", "ping", "-c", "1", "-W", "1", "-s", "1100", addr.String())
				return strings.Contains(out, "1 packets received"), n.Name + ": " + out
			})
		}
	}
}

// TestIngressIsReplaced removes the ingress network of a swarm and makes
// another, as `weft ingress customise` does.
func TestIngressIsReplaced(t *testing.T) {
	b := newIngressBed(t, 3)
	var outside [][]string
	for _, n := range b.nodes {
		outside = append(outside, b.kernel(n))
	}
	swarm(t, b.nodes)
	manager, c := b.nodes[0], b.clients[0]

	shown := b.awaitPeers("ingress")
	first := shown[0]
	if !first.Ingress || first.Scope != "swarm" || first.Driver != "overlay" || first.Attachable || len(first.IPAM.Config) != 1 ||
		first.Options["com.docker.network.driver.overlay.vxlanid_list"] == "" {
		t.Errorf("ingress is shown as %+v", first)
	}
	b.checkSandboxes(shown, 1450)

	must(t, c.NetworkRemove(t.Context(), "ingress"))
	if err := c.NetworkRemove(t.Context(), "ingress"); !errdefs.IsNotFound(err) {
		t.Errorf("a second removal: %v", err)
	}
	b.awaitKernel(outside)
	for i, c := range b.clients {
		await(t, 10*time.Second, func() (bool, string) {
			_, err := c.NetworkInspect(t.Context(), "ingress", network.InspectOptions{})
			return errdefs.IsNotFound(err), fmt.Sprintf("%s: ingress is still there: %v", b.nodes[i].Name, err)
		})
	}

	// Everything else goes on without.
	manager.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/16", "ov")
	manager.weft(t, "service", "create", "--detach", "--name", "web", "--network", "ov", "--replicas", "3", "weft/probe")
	awaitReplicas(t, manager, "web", "3/3")

	made := b.createIngress()
	shown = b.awaitPeers("my-ingress")
	for i, nw := range shown {
		cfg := network.IPAMConfig{Subnet: "10.11.0.0/16", Gateway: "10.11.0.2", IPRange: "10.11.128.0/17"}
		if nw.ID != made || !nw.Ingress || nw.Labels["made"] != "here" || nw.Options["com.docker.network.driver.mtu"] != "1200" ||
			len(nw.IPAM.Config) != 1 || cmp.Diff(cfg, nw.IPAM.Config[0]) != "" {
			t.Errorf("%s shows %+v", b.nodes[i].Name, nw)
		}
	}
	b.checkSandboxes(shown, 1200)

	b.restart(2, shown[2])
	shown = b.awaitPeers("my-ingress")
	b.checkSandboxes(shown, 1200)
	awaitReplicas(t, manager, "web", "3/3")

	// The network goes while a node's engine does not look.
	pid := enginePid(t, b.nodes[1])
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	must(t, c.NetworkRemove(t.Context(), "my-ingress"))
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	manager.weft(t, "service", "rm", "web")
	await(t, time.Minute, func() (bool, string) {
		r := manager.try(t, "network", "rm", "ov")
		return r.code == 0, r.String()
	})
	b.awaitKernel(outside)
}

// createIngress makes the network of Docker's documentation, after what must be
// refused, and gives its ID.
func (b *ingressBed) createIngress() string {
	b.Helper()
	c := b.clients[0]
	o := network.CreateOptions{
		Driver: "overlay", Ingress: true, Labels: map[string]string{"made": "here"},
		Options: map[string]string{"com.docker.network.driver.mtu": "1200"},
		IPAM:    &network.IPAM{Config: []network.IPAMConfig{{Subnet: "10.11.0.0/16", Gateway: "10.11.0.2", IPRange: "10.11.128.0/17"}}},
	}
	attachable := o
	attachable.Attachable = true
	if _, err := c.NetworkCreate(b.Context(), "my-ingress", attachable); !errdefs.IsInvalidArgument(err) ||
		!strings.Contains(err.Error(), "ingress network cannot be attachable") {
		b.Errorf("attachable: %v", err)
	}
	made, err := c.NetworkCreate(b.Context(), "my-ingress", o)
	must(b.T, err)
	another := o
	another.IPAM = nil
	if _, err := c.NetworkCreate(b.Context(), "another", another); !errdefs.IsConflict(err) ||
		!strings.Contains(err.Error(), "ingress network ("+made.ID+") is already present") {
		b.Errorf("a second one: %v", err)
	}
	return made.ID
}

// restart kills a node's engine and expects the next one to find the node's
// part in the ingress network as it was.
func (b *ingressBed) restart(i int, before network.Inspect) {
	b.Helper()
	n := b.nodes[i]
	restart(b.T, n, func() {})
	await(b.T, 30*time.Second, func() (bool, string) {
		after, err := b.clients[i].NetworkInspect(b.Context(), before.ID, network.InspectOptions{})
		diff := cmp.Diff(before.Containers["my-ingress-sbox"], after.Containers["my-ingress-sbox"])
		return err == nil && diff == "", fmt.Sprintf("before (-) and after (+) the crash: %v\n%s", err, diff)
	})
}
