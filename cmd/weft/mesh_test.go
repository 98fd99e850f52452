package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/lab"
	"weft/engine/netnstest"
	"weft/engine/probe"
)

// meshBed is a swarm of three with the service "web" on the last two, its port
// 8080 published, and clients in many places.
type meshBed struct {
	*testing.T
	lab     *lab.Lab
	nodes   []node
	hosts   []*kernel.Namespace
	outside *kernel.Namespace
}

func newMeshBed(t *testing.T) *meshBed {
	t.Helper()
	l, nodes := testLab(t, 3)
	swarm(t, nodes)
	return joinBed(t, l, nodes)
}

// joinBed makes a bed of a swarm.
func joinBed(t *testing.T, l *lab.Lab, nodes []node) *meshBed {
	t.Helper()
	b := &meshBed{T: t, lab: l, nodes: nodes}
	s := &side{lab: l}
	for _, n := range nodes {
		b.hosts = append(b.hosts, s.hostNet(t, n))
	}
	var bridge string
	b.outside, bridge = clientOf(t, l, nodes)
	v6 := b.addrV6(0).As16()
	v6[15] = 200
	netnstest.Exec(t, b.outside, "ip", "addr", "add", netip.AddrFrom16(v6).String()+"/64", "dev", bridge, "nodad")
	return b
}

// clientOf gives a client of the hosts that is none of them, and its link to
// them.
func clientOf(t *testing.T, l *lab.Lab, nodes []node) (ns *kernel.Namespace, link string) {
	t.Helper()
	ns = openNet(t, l.Underlay())
	link = strings.TrimSuffix(strings.Fields(netnstest.Exec(t, ns, "ip", "-o", "link", "show", "type", "bridge"))[1], ":")
	netnstest.Exec(t, ns, "ip", "addr", "add", strings.TrimSuffix(nodes[0].addr(), ".1")+".200/24", "dev", link)
	return ns, link
}

// addrV6 gives a host's IPv6 address on the underlay.
func (b *meshBed) addrV6(i int) netip.Addr {
	b.Helper()
	all, err := kernel.Addresses(b.hosts[i])
	must(b.T, err)
	for _, a := range all {
		if a.Interface == "eth0" && a.Addr.Is6() {
			return a.Addr
		}
	}
	b.Fatalf("host %d has no IPv6 address", i+1)
	return netip.Addr{}
}

// sandbox opens a container's network namespace.
func (b *meshBed) sandbox(n node, container string) *kernel.Namespace {
	b.Helper()
	inner := n.weft(b.T, "inspect", "--format", "{{.State.Pid}}", container)
	s := &side{lab: b.lab}
	return openNet(b.T, filepath.Join("/proc", s.pid(b.T, n), "root/proc", inner, "ns/net"))
}

// ask sends a request to a published port and gives what the task says of it,
// and the address it was sent from.
func ask(from *kernel.Namespace, network, to string) (a probe.Answer, source netip.Addr, err error) {
	err = kernel.Do(from, func() error {
		c, err := (&net.Dialer{Timeout: 3 * time.Second}).Dial(network, to)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		source = netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.0\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		body := string(buf[:n])
		return json.Unmarshal([]byte(body[max(strings.Index(body, "{"), 0):]), &a)
	})
	return a, source, err
}

// TestMesh goes over who asks whom how: every host answers, and the task sees
// the client's own address.
func TestMesh(t *testing.T) {
	t.Parallel()
	b := newMeshBed(t)
	one := b.nodes[0]
	archive := busyboxArchive(t)
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "ov")
	one.weft(t, "service", "create", "-q", "--name", "web", "--replicas", "2", "--network", "ov", "--constraint", "node.hostname!=host1",
		"--publish", "8080:80", "--publish", "8080:80/udp", "--publish", "9090:7/sctp", "weft/probe")
	for _, i := range []int{0, 2} {
		b.nodes[i].does(t, "import", archive, "busybox")
		b.nodes[i].does(t, "run", "-d", "--name", "box", "--network", "ov", "busybox", "sleep", "1000")
	}
	t.Run("everywhere", b.everywhere)
	t.Run("loopback", b.loopback)
	t.Run("closed", b.closed)
	t.Run("labels", b.labels)
	t.Run("seen", b.seen)
	t.Run("crash", b.crash)
	t.Run("gone", b.gone)
}

// everywhere asks every host from everywhere.
func (b *meshBed) everywhere(t *testing.T) {
	clients := []struct {
		name  string
		ns    *kernel.Namespace
		host  int // whose containers it is among; -1: none
		v4    bool
		tasks int
	}{
		{name: "host1", ns: b.hosts[0], host: -1},
		{name: "host2", ns: b.hosts[1], host: -1},
		{name: "outside", ns: b.outside, host: -1},
		{name: "container on host1", ns: b.sandbox(b.nodes[0], "box"), host: 0, v4: true},
		{name: "container on host3", ns: b.sandbox(b.nodes[2], "box"), host: 2, v4: true},
	}
	for _, c := range clients {
		for i, n := range b.nodes {
			for _, to := range []netip.Addr{n.Addr.Addr(), b.addrV6(i)} {
				for _, network := range []string{"tcp", "udp"} {
					if to.Is6() && c.v4 {
						continue
					}
					t.Run(fmt.Sprintf("%s %s %s", c.name, network, to), func(t *testing.T) {
						served := map[string]bool{}
						for range 4 {
							a, want, err := ask(c.ns, network, net.JoinHostPort(to.String(), "8080"))
							if err != nil {
								t.Fatal(err)
							}
							if c.host >= 0 && c.host != i { // it leaves its own host as that
								want = b.nodes[c.host].Addr.Addr()
							}
							if got := netip.MustParseAddrPort(a.Client).Addr().Unmap(); got != want {
								t.Errorf("the task saw %s, the client is %s", got, want)
							}
							served[a.Hostname] = true
						}
						if len(served) != 2 {
							t.Errorf("%d of 2 tasks answered", len(served))
						}
					})
				}
			}
		}
	}
}

// loopback asks a host at its own loopback addresses, which mean nothing to a
// task: it sees an address of the host.
func (b *meshBed) loopback(t *testing.T) {
	for _, to := range []string{"127.0.0.1:8080", "[::1]:8080"} {
		for _, network := range []string{"tcp", "udp"} {
			a, _, err := ask(b.hosts[0], network, to)
			if err != nil {
				t.Errorf("%s %s: %v", network, to, err)
			} else if got := netip.MustParseAddrPort(a.Client).Addr(); got != b.nodes[0].Addr.Addr() {
				t.Errorf("%s %s: the task saw %s", network, to, got)
			}
		}
	}
}

// closed asks for what nobody published.
func (b *meshBed) closed(t *testing.T) {
	if _, _, err := ask(b.outside, "tcp", b.nodes[0].addr()+":7"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port of the task's own: %v", err)
	}
	task := b.taskAddr(t, "web")
	// By the ingress sandbox as a router, with a forged destination.
	netnstest.Exec(t, b.hosts[0], "ip", "route", "add", task+"/32", "via", "169.254.184.2")
	defer netnstest.Exec(t, b.hosts[0], "ip", "route", "del", task+"/32")
	for _, port := range []string{"80", "7", "8080"} {
		if a, _, err := ask(b.hosts[0], "tcp", task+":"+port); err == nil {
			t.Errorf("past the mesh to port %s: %v", port, a)
		}
	}
	// A task can't use a node as its router.
	in := b.taskNamespace(t, "web")
	ingress := b.ingressAddr(t, 0)
	netnstest.Exec(t, in, "ip", "route", "add", "192.0.2.0/24", "via", ingress)
	defer netnstest.Exec(t, in, "ip", "route", "del", "192.0.2.0/24")
	netnstest.Exec(t, b.hosts[0], "ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
	defer netnstest.Exec(t, b.hosts[0], "ip", "addr", "del", "192.0.2.1/32", "dev", "lo")
	if a, _, err := ask(in, "tcp", "192.0.2.1:8080"); err == nil {
		t.Errorf("by a node's ingress sandbox to its host: %v", a)
	}
	rules := netnstest.Exec(t, b.hosts[0], "nft", "list", "table", "inet", "weft-mesh")
	if !strings.Contains(rules, "sctp . 9090") {
		t.Errorf("sctp is not published:\n%s", rules)
	}
}

// taskAddr gives the address of one of a service's tasks on the ingress network.
func (b *meshBed) taskAddr(t *testing.T, service string) string {
	t.Helper()
	for _, n := range b.nodes[1:] {
		for _, id := range strings.Fields(n.weft(t, "ps", "-q", "--filter", "name="+service+".")) {
			return n.weft(t, "inspect", "--format", "{{.NetworkSettings.Networks.ingress.IPAddress}}", id)
		}
	}
	t.Fatalf("no task of %s", service)
	return ""
}

// taskNamespace opens that of one of a service's tasks.
func (b *meshBed) taskNamespace(t *testing.T, service string) *kernel.Namespace {
	t.Helper()
	for _, n := range b.nodes[1:] {
		for _, id := range strings.Fields(n.weft(t, "ps", "-q", "--filter", "name="+service+".")) {
			return b.sandbox(n, id)
		}
	}
	t.Fatalf("no task of %s", service)
	return nil
}

// ingressAddr gives a node's own address on the ingress network.
func (b *meshBed) ingressAddr(t *testing.T, i int) string {
	t.Helper()
	out := b.nodes[i].weft(t, "network", "inspect", "--format", `{{(index .Containers "ingress-sbox").IPv4Address}}`, "ingress")
	addr, _, _ := strings.Cut(out, "/")
	return addr
}

// boundLater binds a port to an address its host gets afterwards.
func (b *meshBed) boundLater(t *testing.T) {
	const addr = "198.51.100.9"
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--name", "later", "--label", "weft.publish.bind="+addr, "--publish", "8085:80", "weft/probe")
	state := func(want string) {
		t.Helper()
		await(t, 10*time.Second, func() (bool, string) {
			r := one.try(t, "mesh", "ls", "--format", "{{.Port}} {{.Hosts}} {{.State}}")
			return strings.Contains(r.out, "8085/tcp "+want+"\n"), r.String()
		})
	}
	state("0/3 answered nowhere: no host has " + addr)
	netnstest.Exec(t, b.outside, "ip", "route", "add", addr+"/32", "via", b.nodes[1].addr())
	netnstest.Exec(t, b.hosts[1], "ip", "addr", "add", addr+"/32", "dev", "lo")
	await(t, 10*time.Second, func() (bool, string) { // all is looked at every 30 s
		_, _, err := ask(b.outside, "tcp", addr+":8085")
		return err == nil, fmt.Sprintf("a new address the port is bound to: %v", err)
	})
	silent := func(names string) {
		t.Helper()
		await(t, 10*time.Second, func() (bool, string) {
			r := one.try(t, "mesh", "inspect", "8085")
			return strings.Count(r.out, "has none of the addresses and interfaces the service is bound to") == strings.Count(names, " ")+1, r.String()
		})
	}
	silent("host1 host3")
	state("1/3 ok")
	netnstest.Exec(t, b.hosts[1], "ip", "addr", "del", addr+"/32", "dev", "lo")
	silent("host1 host2 host3")
	one.weft(t, "service", "rm", "later")
}

// labels say how a service is served.
func (b *meshBed) labels(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--name", "near", "--mode", "global", "--label", "weft.mesh.local=true", "--publish", "8081:80", "weft/probe")
	one.weft(t, "service", "create", "-q", "--name", "hidden", "--label", "weft.mesh.source=masquerade", "--publish", "8082:80", "weft/probe")
	one.weft(t, "service", "create", "-q", "--name", "sticky", "--replicas", "3", "--label", "weft.mesh.algorithm=source", "--publish", "8083:80", "weft/probe")
	one.weft(t, "service", "create", "-q", "--name", "bound", "--label", "weft.publish.bind="+b.nodes[1].addr(), "--publish", "8084:80", "weft/probe")
	ports := func(host int, port string, times int) map[string]bool {
		served := map[string]bool{}
		for range times {
			a, _, err := ask(b.outside, "tcp", b.nodes[host].addr()+":"+port)
			if err != nil {
				t.Errorf("port %s on host%d: %v", port, host+1, err)
				break
			}
			served[a.Hostname+" "+a.Client[:strings.LastIndex(a.Client, ":")]] = true
		}
		return served
	}
	for i := range b.nodes {
		await(t, 5*time.Second, func() (bool, string) {
			served := ports(i, "8081", 6)
			return len(served) == 1, fmt.Sprintf("near: %v", served)
		})
		for who := range ports(i, "8082", 2) {
			if !strings.HasSuffix(who, " "+b.ingressAddr(t, i)) {
				t.Errorf("hidden: the task saw %s", who)
			}
		}
		if served := ports(i, "8083", 6); len(served) != 1 {
			t.Errorf("sticky: %v", served)
		}
	}
	b.idle(t)
	b.boundLater(t)
	if served := ports(1, "8084", 1); len(served) != 1 {
		t.Errorf("bound: %v", served)
	}
	for _, to := range []string{b.nodes[0].addr(), "[" + b.addrV6(1).String() + "]"} {
		if a, _, err := ask(b.outside, "tcp", to+":8084"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("bound elsewhere, asked at %s: %v %v", to, a, err)
		}
	}
	r := one.try(t, "service", "create", "--name", "wrong", "--label", "weft.mesh.algorithm=best", "weft/probe")
	if r.code != 1 || !strings.Contains(r.err, "label weft.mesh.algorithm=best: use roundrobin, random or source") {
		t.Errorf("a label that means nothing: %v", r)
	}
	one.weft(t, "service", "rm", "near", "hidden", "sticky", "bound")
}

// idle has a service of which the kernel says that its tasks are chosen at random
// and that a flow's time is the label's.
func (b *meshBed) idle(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--name", "short", "--replicas", "2", "--label", "weft.mesh.algorithm=random", "--label", "weft.mesh.idle=20m",
		"--publish", "8086:80", "weft/probe")
	b.answers(t, "tcp", one.addr()+":8086")
	c := b.hold(t, b.outside, one.addr()+":8086")
	out := one.weft(t, "mesh", "trace", "8086")
	left := regexp.MustCompile(regexp.QuoteMeta(c.LocalAddr().String()) + `.* forgotten in (20m0s|19m[0-9]+s)`)
	if !strings.Contains(out, "one of 2 tasks, at random") || !left.MatchString(out) {
		t.Errorf("at random, and after 20m without a packet: %s", out)
	}
	one.weft(t, "service", "rm", "short")
}

// seen looks at the mesh by weft's own commands, while all is well and when
// somebody has changed a host's kernel, which is put right.
func (b *meshBed) seen(t *testing.T) {
	one, three := b.nodes[0], b.nodes[2]
	ls := func(n node) string { return n.weft(t, meshLs...) }
	b.well(t)
	out := one.weft(t, "mesh", "inspect", "8080/tcp")
	for _, want := range []string{"host3            answers", "web.1 ", "web.2 ", ": serving", "on host2, port 80"} {
		if !strings.Contains(out, want) {
			t.Errorf("inspect has no %q:\n%s", want, out)
		}
	}
	client := strings.TrimSuffix(one.addr(), ".1") + ".200"
	c := b.hold(t, b.outside, one.addr()+":8080")
	out = one.weft(t, "mesh", "trace", "8080/tcp", "--from", client, "--to", one.addr())
	for _, want := range []string{
		"-> host             8080/tcp at " + one.addr(), "one of 2 tasks, in turn", "port 8080 becomes 80", "the task has seen " + client,
		": answers, after ", "   " + c.LocalAddr().String() + " -> web.", "established",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("trace has no %q:\n%s", want, out)
		}
	}
	for to, want := range map[string]string{
		"1": "no task that is ready publishes 1/tcp", "8080/tcp --to 192.0.2.77": "192.0.2.77 is no address of this host",
	} {
		r := one.try(t, append([]string{"mesh", "trace"}, strings.Fields(to)...)...)
		if r.code != 1 || !strings.Contains(r.out, want) {
			t.Errorf("trace %s: %v", to, r)
		}
	}

	netnstest.Exec(t, b.hosts[2], "nft", "delete", "element", "inet", "weft-mesh", "ports", "{ tcp . 8080 }")
	if r := three.try(t, "mesh", "trace", "8080/tcp"); r.code != 1 || !strings.Contains(r.out, "X  host             not sent to the mesh: nftables table weft-mesh lacks the port") {
		t.Errorf("trace on the host that was changed: %v", r)
	}
	if got := ls(three); !strings.Contains(got, "8080/tcp web 2/2 2/3 "+three.addr()+": nftables set ports: 8080/tcp is missing") {
		t.Errorf("the host that was changed sees nothing of it:\n%s", got)
	}
	if got := ls(one); !strings.Contains(got, "8080/tcp web 2/2 2/3 host3: nftables set ports: 8080/tcp is missing") {
		t.Errorf("another host that is asked sees nothing of it:\n%s", got)
	}
	await(t, time.Minute, func() (bool, string) { got := ls(three); return got == meshWell, "not put right:\n" + got })
	await(t, 10*time.Second, func() (bool, string) {
		got := one.weft(t, "mesh", "inspect", "8080/tcp")
		return strings.Contains(got, "its kernel was put right once"), "another host sees nothing of it:\n" + got
	})
	if _, _, err := ask(b.outside, "tcp", three.addr()+":8080"); err != nil {
		t.Error(err)
	}

	frozen := enginePid(t, three)
	must(t, syscall.Kill(frozen, syscall.SIGSTOP))
	got := ls(one)
	must(t, syscall.Kill(frozen, syscall.SIGCONT))
	if !strings.Contains(got, "8080/tcp web 2/2 2/3 ok; not known of 1") {
		t.Errorf("a host that says nothing answers:\n%s", got)
	}

	l := listenAt(t, b.hosts[1], ":8085") // a program of the host's
	one.weft(t, "service", "create", "-q", "--name", "late", "--publish", "8085:80", "--constraint", "node.hostname==host1", "weft/probe")
	await(t, 10*time.Second, func() (bool, string) {
		got := one.weft(t, "mesh", "ls")
		return strings.Contains(got, "2/3       host2: this host does not answer at published port 8085/tcp: "), "another host's program is not seen:\n" + got
	})
	if got := ls(one); !strings.Contains(got, "8080/tcp web 2/2 3/3 ok") {
		t.Errorf("another port suffers from it:\n%s", got)
	}
	must(t, l.Close())
	await(t, 10*time.Second, func() (bool, string) {
		got := ls(one)
		return strings.Contains(got, "8085/tcp late 1/1 3/3 ok"), "the port is free, and not answered:\n" + got
	})
	one.weft(t, "service", "rm", "late")
}

// meshWell is what meshLs says on every node when all is well.
const meshWell = "8080/tcp web 2/2 3/3 ok\n8080/udp web 2/2 3/3 ok\n9090/sctp web 2/2 3/3 ok"

var meshLs = []string{"mesh", "ls", "--format", "{{.Port}} {{.Service}} {{.Tasks}} {{.Hosts}} {{.State}}"}

// well waits until every node says that all is.
func (b *meshBed) well(t *testing.T) {
	t.Helper()
	for _, n := range b.nodes {
		await(t, 10*time.Second, func() (bool, string) {
			r := n.try(t, meshLs...)
			return strings.TrimSpace(r.out) == meshWell, n.Name + ": " + r.String()
		})
	}
}

// listenAt takes a TCP port in a namespace.
func listenAt(t *testing.T, in *kernel.Namespace, at string) (l net.Listener) {
	t.Helper()
	must(t, kernel.Do(in, func() (err error) {
		l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", at)
		return err
	}))
	return l
}

// crash kills the engine of the host that is asked; connections stay, and new
// ones are made while it is away, while the next one comes, and after that has
// put its own tables in the place of those that were left to it.
func (b *meshBed) crash(t *testing.T) {
	one := b.nodes[0]
	b.well(t)
	loads, idle := map[string]*load{}, []held{}
	for _, at := range []netip.Addr{one.Addr.Addr(), b.addrV6(0)} {
		to := net.JoinHostPort(at.String(), "8080")
		idle = append(idle, b.hold(t, b.outside, to))
		loads[to] = startLoad(t, b.outside, "http://"+to+"/", 1)
	}
	more := func(n int64) {
		t.Helper()
		for to, l := range loads {
			l.more(t, to, n)
		}
	}
	more(100)
	host, sandbox := b.tables(t, 0)
	must(t, syscall.Kill(enginePid(t, one), syscall.SIGKILL))
	killed := time.Now()
	await(t, time.Minute, func() (bool, string) {
		h, s := b.tables(t, 0)
		return h != host && s != sandbox, fmt.Sprintf("the tables left are %s and %s, there are %s and %s", host, sandbox, h, s)
	})
	t.Logf("the next engine's tables are there %v after the kill", time.Since(killed).Round(time.Millisecond))
	b.well(t)
	more(300)
	for to, l := range loads {
		l.end(t, 0)
		if n := l.dialed.Load(); n != 1 {
			t.Errorf("%s: who keeps a connection made %d", to, n)
		}
		t.Logf("%s: %d requests", to, l.asked.Load())
	}
	for _, c := range idle {
		c.alive(t)
	}
}

// tables names those of the published ports that a host has in its own namespace
// and in its ingress sandbox, by their handles: one that is written anew has
// another.
func (b *meshBed) tables(t *testing.T, i int) (host, sandbox string) {
	t.Helper()
	handle := func(ns *kernel.Namespace) string {
		first, _, _ := strings.Cut(netnstest.Exec(t, ns, "nft", "-a", "list", "table", "inet", "weft-mesh"), "\n")
		return first
	}
	in, err := kernel.Open(filepath.Join("/proc", (&side{lab: b.lab}).pid(t, b.nodes[i]), "root", ingressSandbox))
	must(t, err)
	defer func() { must(t, in.Close()) }()
	return handle(b.hosts[i]), handle(in)
}

// held is a connection with the probe that is kept open.
type held struct{ net.Conn }

func (b *meshBed) hold(t *testing.T, from *kernel.Namespace, to string) held {
	t.Helper()
	var c net.Conn
	must(t, kernel.Do(from, func() (err error) {
		c, err = (&net.Dialer{Timeout: 3 * time.Second}).DialContext(context.Background(), "tcp", to)
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
	h := held{c}
	h.alive(t)
	return h
}

// alive has the connection carry a request and its answer.
func (h held) alive(t *testing.T) {
	t.Helper()
	_ = h.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(h, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	if n, err := h.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "200 OK") {
		t.Fatalf("a held connection: %v %q", err, buf[:n])
	}
}

// gone removes the service: its port is nobody's.
func (b *meshBed) gone(t *testing.T) {
	b.nodes[0].weft(t, "service", "rm", "web")
	for _, n := range b.nodes {
		await(t, 15*time.Second, func() (bool, string) {
			_, _, err := ask(b.outside, "tcp", n.addr()+":8080")
			return errors.Is(err, syscall.ECONNREFUSED), fmt.Sprintf("%s still answers: %v", n.Name, err)
		})
	}
}

// load asks a port again and again, over kept connections and over new ones,
// until it is told to stop and has asked often enough.
type load struct {
	*asking
	asked  atomic.Int64
	kept   atomic.Int64 // of these, over kept connections
	failed atomic.Int64
	first  atomic.Pointer[error]
	hosts  sync.Map
}

// startLoad asks url from a namespace by so many clients of either kind.
func startLoad(t *testing.T, from *kernel.Namespace, url string, clients int) *load {
	t.Helper()
	l := &load{asking: newAsking(t)}
	for range clients {
		fresh, keeps := l.client(from, false, 10*time.Second), l.client(from, true, 10*time.Second)
		l.again(func() { l.one(fresh, url) })
		l.again(func() { l.one(keeps, url); l.kept.Add(1) })
	}
	return l
}

func (l *load) one(client *http.Client, url string) {
	l.asked.Add(1)
	r, err := client.Get(url)
	if err == nil {
		var a probe.Answer
		err = json.NewDecoder(r.Body).Decode(&a)
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		l.hosts.Store(a.Hostname, true)
	}
	if err != nil {
		l.failed.Add(1)
		l.first.CompareAndSwap(nil, &err)
	}
}

// more waits until as many further requests have been made over connections of
// either kind.
func (l *load) more(t *testing.T, name string, n int64) {
	t.Helper()
	kept, all := l.kept.Load(), l.asked.Load()
	await(t, time.Minute, func() (bool, string) {
		old := l.kept.Load() - kept
		fresh := l.asked.Load() - all - old
		return min(old, fresh) > n, fmt.Sprintf("%s: %d requests over kept connections, %d over new ones, want %d", name, old, fresh, n)
	})
}

// end stops the load once it has asked so often, and tells of failures.
func (l *load) end(t *testing.T, least int64) {
	t.Helper()
	await(t, 2*time.Minute, func() (bool, string) {
		return l.asked.Load() >= least, fmt.Sprintf("%d of %d requests", l.asked.Load(), least)
	})
	l.quit()
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed, the first with: %v", n, l.asked.Load(), *l.first.Load())
	}
}

// TestMeshUnderLoad changes a service while it is asked: nothing is lost.
func TestMeshUnderLoad(t *testing.T) {
	t.Parallel()
	b := newMeshBed(t)
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--name", "web", "--replicas", "3", "--publish", "8080:80", "--stop-grace-period", "10s",
		"--update-delay", "0s", "--update-order", "start-first", "--update-monitor", "1s", "weft/probe")
	url := "http://" + one.addr() + ":8080/"
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"rolling update", func() { one.weft(t, "service", "update", "-q", "--env-add", "A=1", "web") }},
		{"rolling update, the old task first", func() {
			one.weft(t, "service", "update", "-q", "--env-add", "A=2", "--update-order", "stop-first", "web")
		}},
		{"scale down and up", func() {
			for _, n := range []string{"2", "5"} {
				await(t, 10*time.Second, func() (bool, string) { // the manager may be about to note the last change
					r := one.try(t, "service", "scale", "-d", "web="+n)
					return r.code == 0, r.String()
				})
				awaitReplicas(t, one, "web", n+"/"+n)
			}
		}},
		{"drain of a host", func() {
			one.weft(t, "node", "update", "--availability", "drain", "host3")
			awaitReplicas(t, one, "web", "5/5")
			await(t, 30*time.Second, func() (bool, string) {
				left := b.nodes[2].weft(t, "ps", "-q")
				return left == "", "still there: " + left
			})
			one.weft(t, "node", "update", "--availability", "active", "host3")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := startLoad(t, b.outside, url, 2)
			c.do()
			l.end(t, 5000)
		})
	}
}
