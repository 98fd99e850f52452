package main_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/lab"
)

// publishTogether publishes a service with a task on a dockerd and one on an
// engine: each node's mesh has both behind its port. A dockerd needs IPVS to send
// anybody there, so its part is played from within its sandbox: it asks a task at
// its address on the ingress network and at the published port.
func publishTogether(t *testing.T, l *lab.Lab, manager, dockerd, weft node) {
	manager.weft(t, "service", "create", "-q", "--detach", "--name", "pub", "--mode", "global", "--publish", "8080:80", "--publish", "8080:80/udp", "weft/probe")
	defer manager.weft(t, "service", "rm", "pub")
	awaitReplicas(t, manager, "pub", "2/2")
	s := &side{lab: l}
	sandbox := func(n node, path string) *kernel.Namespace {
		return openNet(t, filepath.Join("/proc", s.pid(t, n), "root", path))
	}
	from := sandbox(dockerd, "/run/docker/netns/ingress_sbox")
	own := func(n node, container string) netip.Addr {
		out := n.weft(t, "network", "inspect", "--format", fmt.Sprintf(`{{(index .Containers %q).IPv4Address}}`, container), "ingress")
		return netip.MustParsePrefix(out).Addr()
	}
	task := netip.MustParseAddr(weft.weft(t, "inspect", "--format", "{{.NetworkSettings.Networks.ingress.IPAddress}}",
		weft.weft(t, "ps", "-q", "--filter", "name=pub.")))
	node := own(dockerd, "ingress-sbox")
	for _, network := range []string{"tcp", "udp"} {
		await(t, 10*time.Second, func() (bool, string) {
			a, _, err := ask(from, network, netip.AddrPortFrom(task, 8080).String())
			return err == nil && strings.HasPrefix(a.Client, node.String()+":"), fmt.Sprintf("the engine's task at its published port, %s: %v %v", network, a, err)
		})
		if a, _, err := ask(from, "tcp", netip.AddrPortFrom(task, 80).String()); err == nil {
			t.Errorf("at its own port: %v", a)
		}
	}
	// The engine's mesh has the dockerd's task, and hides clients from it: it
	// could not answer them.
	outside := s.hostNet(t, dockerd)
	clients := map[string]bool{}
	for range 4 {
		a, source, err := ask(outside, "tcp", weft.addr()+":8080")
		if err != nil {
			t.Fatal(err)
		}
		client := netip.MustParseAddrPort(a.Client).Addr().Unmap()
		switch client {
		case source:
			clients["the client"] = true
		case own(weft, "ingress-sbox"):
			clients["the node"] = true
		default:
			t.Errorf("a task saw %s, neither the client %s nor the node", client, source)
		}
	}
	if len(clients) != 2 {
		t.Errorf("4 requests were seen from %v, want the client and the node", clients)
	}
}
