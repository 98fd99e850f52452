package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/netnstest"
	"weft/engine/probe"
)

// gatewayBed is two hosts and a server outside of them.
type gatewayBed struct {
	*meshBed
	server string // tells who asks
}

// TestGatewayBridge goes over the way out of containers on overlays, by packets:
// an operator's own docker_gwbridge on the first host, the usual one on the
// other.
func TestGatewayBridge(t *testing.T) {
	t.Parallel()
	l, nodes := testLab(t, 2)
	one, two := nodes[0], nodes[1]
	archive := busyboxArchive(t)
	for _, n := range nodes {
		n.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", archive, "busybox")
	}
	one.does(t, "network", "create", "--subnet", "10.150.0.0/24", "--opt", "com.docker.network.bridge.name=docker_gwbridge",
		"--opt", "com.docker.network.bridge.enable_icc=false", "--opt", "com.docker.network.bridge.enable_ip_masquerade=true",
		"--opt", "com.docker.network.driver.mtu=1400", "docker_gwbridge")
	swarm(t, nodes)
	b := &gatewayBed{meshBed: joinBed(t, l, nodes)}
	b.serve(t)
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "ov")
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "--internal", "inner")
	for _, n := range nodes {
		n.does(t, "run", "-d", "--name", "box", "--network", "ov", "busybox")
	}
	one.does(t, "run", "-d", "--name", "peer", "--network", "ov", "busybox")
	t.Run("adopted", b.adopted)
	t.Run("made", func(t *testing.T) {
		if got := two.weft(t, "network", "inspect", "-f", `{{index .Options "com.docker.network.bridge.enable_icc"}} {{index .Options "com.docker.network.bridge.enable_ip_masquerade"}}`, "docker_gwbridge"); got != "false true" {
			t.Errorf("icc and masquerade of the usual one: %s", got)
		}
		b.goesOutAs(t, two, "box", two.addr())
	})
	t.Run("internal", b.internal)
	t.Run("in use", b.inUse)
	t.Run("crash", b.crash)
	t.Run("anew", b.anew)
	t.Run("clash", b.clash)
}

// serve has a server outside tell who asks it.
func (b *gatewayBed) serve(t *testing.T) {
	t.Helper()
	b.server = netnstest.Serve(t, b.outside, strings.TrimSuffix(b.nodes[0].addr(), ".1")+".200:80", func(c net.Conn) {
		for {
			if _, err := c.Read(make([]byte, 64)); err != nil {
				return
			}
			_, _ = fmt.Fprintln(c, c.RemoteAddr())
		}
	}).String()
}

// goesOutAs wants the server to see a container come from an address.
func (b *gatewayBed) goesOutAs(t *testing.T, n node, container, want string) net.Conn {
	t.Helper()
	return b.leavesAs(t, b.sandbox(n, container), want)
}

func (b *gatewayBed) leavesAs(t *testing.T, ns *kernel.Namespace, want string) net.Conn {
	t.Helper()
	var c net.Conn
	must(t, kernel.Do(ns, func() (err error) {
		c, err = net.DialTimeout("tcp", b.server, 3*time.Second)
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
	if got := asked(t, c); got != want {
		t.Errorf("a container goes out as %s, want %s", got, want)
	}
	return c
}

// asked gives the address the server sees a connection from.
func asked(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	_, err := io.WriteString(c, "who?")
	must(t, err)
	line, err := bufio.NewReader(c).ReadString('\n')
	must(t, err)
	return netip.MustParseAddrPort(strings.TrimSpace(line)).Addr().String()
}

// leg gives a container's address on docker_gwbridge and the MTU of its
// interface; nothing where it has none.
func (b *gatewayBed) leg(t *testing.T, n node, container string) (addr, mtu string) {
	t.Helper()
	var routes []struct{ Dev string }
	ns := b.sandbox(n, container)
	must(t, json.Unmarshal([]byte(netnstest.Exec(t, ns, "ip", "-j", "route", "show", "default")), &routes))
	if len(routes) == 0 {
		return "", ""
	}
	var links []struct {
		MTU       int
		Addr_info []struct{ Local string }
	}
	must(t, json.Unmarshal([]byte(netnstest.Exec(t, ns, "ip", "-j", "-4", "addr", "show", "dev", routes[0].Dev)), &links))
	return links[0].Addr_info[0].Local, fmt.Sprint(links[0].MTU)
}

// pings reports whether a container reaches an address.
func (b *gatewayBed) pings(t *testing.T, n node, container, addr string) bool {
	t.Helper()
	return n.docker(t, "exec", container, "ping", "-c", "1", "-W", "2", addr).code == 0
}

func (b *gatewayBed) adopted(t *testing.T) {
	one := b.nodes[0]
	addr, mtu := b.leg(t, one, "box")
	if !strings.HasPrefix(addr, "10.150.0.") || mtu != "1400" {
		t.Errorf("leg: %s with MTU %s", addr, mtu)
	}
	if got := netnstest.Exec(t, b.hosts[0], "ip", "-o", "link", "show", "docker_gwbridge"); !strings.Contains(got, "mtu 1400") {
		t.Errorf("bridge: %s", got)
	}
	b.goesOutAs(t, one, "box", one.addr())
	peer, _ := b.leg(t, one, "peer")
	if b.pings(t, one, "box", peer) {
		t.Error("containers reach each other over docker_gwbridge, with enable_icc=false")
	}
	if !b.pings(t, one, "box", "peer") {
		t.Error("containers do not reach each other over their overlay")
	}
}

// internal networks have no way out, but for who is on another one too.
func (b *gatewayBed) internal(t *testing.T) {
	one := b.nodes[0]
	one.does(t, "run", "-d", "--name", "shut", "--network", "inner", "busybox")
	if addr, _ := b.leg(t, one, "shut"); addr != "" {
		t.Errorf("a container of an internal network leaves by %s", addr)
	}
	if got := one.docker(t, "exec", "shut", "nc", "-w", "1", strings.TrimSuffix(b.server, ":80"), "80"); got.code == 0 {
		t.Errorf("a container of an internal network gets out: %v", got)
	}
	one.weft(t, "network", "connect", "ov", "shut")
	b.goesOutAs(t, one, "shut", one.addr())
	one.weft(t, "network", "disconnect", "ov", "shut")
	if addr, _ := b.leg(t, one, "shut"); addr != "" {
		t.Errorf("off the other network it still leaves by %s", addr)
	}
	one.does(t, "rm", "-f", "shut")
}

func (b *gatewayBed) inUse(t *testing.T) {
	r := b.nodes[0].try(t, "network", "rm", "docker_gwbridge")
	if r.code != 1 || !strings.Contains(r.err, "network docker_gwbridge has active endpoints") || !strings.Contains(r.err, `name:"box"`) || !strings.Contains(r.err, `name:"peer"`) {
		t.Errorf("removed under its users: %v", r)
	}
	if got := b.nodes[0].weft(t, "network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "docker_gwbridge"); strings.Count(got, "gateway_") != 2 {
		t.Errorf("who is on it: %s", got)
	}
}

// crash kills the engine; connections stay, the leg stays.
func (b *gatewayBed) crash(t *testing.T) {
	one := b.nodes[0]
	box := b.sandbox(one, "box")
	c := b.leavesAs(t, box, one.addr())
	before, _ := b.leg(t, one, "box")
	restart(t, one, func() { b.leavesAs(t, box, one.addr()) })
	if got := asked(t, c); got != one.addr() {
		t.Errorf("the connection comes from %s now", got)
	}
	if after, _ := b.leg(t, one, "box"); after != before {
		t.Errorf("the leg was %s and is %s", before, after)
	}
	one.does(t, "run", "-d", "--name", "late", "--network", "ov", "busybox")
	if late, _ := b.leg(t, one, "late"); late == before {
		t.Errorf("another container got %s too", late)
	}
	one.does(t, "rm", "-f", "late")
}

// anew replaces docker_gwbridge by one with everything the other way.
func (b *gatewayBed) anew(t *testing.T) {
	one := b.nodes[0]
	one.does(t, "rm", "-f", "box", "peer")
	one.weft(t, "network", "rm", "docker_gwbridge")
	if _, err := os.Stat(fmt.Sprintf("/proc/%s/root/sys/class/net/docker_gwbridge", (&side{lab: b.lab}).pid(t, one))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the bridge is still there: %v", err)
	}
	one.weft(t, "network", "create", "--subnet", "10.151.0.0/24", "--opt", "com.docker.network.bridge.name=docker_gwbridge",
		"--opt", "com.docker.network.bridge.enable_icc=true", "--opt", "com.docker.network.bridge.enable_ip_masquerade=false",
		"--opt", "com.docker.network.bridge.host_binding_ipv4=127.0.0.1", "docker_gwbridge")
	for _, name := range []string{"box", "peer"} {
		one.does(t, "run", "-d", "--name", name, "--network", "ov", "busybox")
	}
	netnstest.Exec(t, b.outside, "ip", "route", "add", "10.151.0.0/24", "via", one.addr())
	own, mtu := b.leg(t, one, "box")
	if mtu != "1500" {
		t.Errorf("MTU %s", mtu)
	}
	b.goesOutAs(t, one, "box", own)
	peer, _ := b.leg(t, one, "peer")
	if !strings.HasPrefix(peer, "10.151.0.") || !b.pings(t, one, "box", peer) {
		t.Errorf("containers do not reach each other at %s, with enable_icc=true", peer)
	}
	one.weft(t, "service", "create", "-q", "--name", "web", "--network", "ov", "--constraint", "node.hostname==host1",
		"--publish", "mode=host,published=8080,target=80", "weft/probe")
	var a probe.Answer
	var err error
	await(t, 5*time.Second, func() (bool, string) {
		a, _, err = ask(b.hosts[0], "tcp", "127.0.0.1:8080")
		return err == nil, fmt.Sprintf("by the address it is bound to: %v %v", a, err)
	})
	if a, _, err := ask(b.outside, "tcp", one.addr()+":8080"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("host binding: by another address: %v %v", a, err)
	}
	one.weft(t, "service", "rm", "web")
	// Without docker_gwbridge, the first container makes one.
	one.does(t, "rm", "-f", "box", "peer")
	await(t, 10*time.Second, func() (bool, string) {
		r := one.try(t, "network", "rm", "docker_gwbridge")
		return r.code == 0, r.String()
	})
	one.does(t, "run", "-d", "--name", "box", "--network", "ov", "busybox")
	b.goesOutAs(t, one, "box", one.addr())
	one.does(t, "rm", "-f", "box")
}

// clash gives an overlay the addresses docker_gwbridge has.
func (b *gatewayBed) clash(t *testing.T) {
	one := b.nodes[0]
	subnet := one.weft(t, "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}}{{end}}", "docker_gwbridge")
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", subnet, "same")
	r := one.docker(t, "run", "-d", "--name", "box", "--network", "same", "busybox")
	if r.code == 0 || !strings.Contains(r.err, "overlaps with "+subnet+" of network same: remove docker_gwbridge on this node and create it again with another --subnet") {
		t.Errorf("a container on both: %v", r)
	}
	one.does(t, "rm", "-f", "box")
	one.weft(t, "network", "rm", "docker_gwbridge")
	one.weft(t, "network", "create", "--subnet", "10.152.0.0/24", "docker_gwbridge")
	one.does(t, "run", "-d", "--name", "box", "--network", "same", "busybox")
	b.goesOutAs(t, one, "box", one.addr())
}
