package main_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/engine/lab"
)

// TestNamesAndPorts looks at the network as containers see it: names, virtual
// IPs, networks of a host and ports published on it, before and after a crash
// of the engine.
func TestNamesAndPorts(t *testing.T) {
	t.Parallel()
	l, nodes := testLab(t, 2)
	swarm(t, nodes)
	one, two := nodes[0], nodes[1]
	archive := busyboxArchive(t)
	for _, n := range nodes {
		n.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", archive, "busybox")
	}
	t.Run("bridge", func(t *testing.T) { bridgeNetworks(t, one, two) })
	t.Run("shared", func(t *testing.T) { sharedNamespaces(t, one) })
	t.Run("service", func(t *testing.T) { serviceNames(t, one, two) })
	t.Run("crash", func(t *testing.T) { namesOverCrash(t, one, two) })
	t.Run("partition", func(t *testing.T) { namesOverPartition(t, l, one, two) })
}

// bridgeNetworks goes over networks of one host and what they publish.
func bridgeNetworks(t *testing.T, one, two node) {
	one.does(t, "network", "create", "--label", "a=b", "lan")
	one.does(t, "network", "create", "--internal", "closed")
	one.does(t, "run", "-d", "--name", "web", "--network", "lan", "--network-alias", "www", "-p", "8080:80", "-p", "5353:7/udp", "weft/probe")
	one.does(t, "run", "-d", "--name", "box", "--hostname", "boxed", "--domainname", "example.org", "--add-host", "printer:192.0.2.9",
		"--add-host", "host:host-gateway", "--dns-search", "example.net", "--network", "lan", "busybox")
	one.does(t, "network", "connect", "--alias", "inner", "closed", "box")
	for _, name := range []string{"web", "www", "web.lan", one.does(t, "inspect", "-f", "{{printf \"%.12s\" .Id}}", "web")} {
		if got := one.does(t, "exec", "box", "wget", "-qO-", "http://"+name+"/"); !strings.Contains(got, `"server":"172.`) {
			t.Errorf("%s answers %q", name, got)
		}
	}
	hosts := one.does(t, "exec", "box", "cat", "/etc/hosts")
	for _, want := range []string{"boxed.example.org boxed", "192.0.2.9\tprinter", "\thost"} {
		if !strings.Contains(hosts, want) {
			t.Errorf("no %q in /etc/hosts:\n%s", want, hosts)
		}
	}
	if got := one.does(t, "exec", "box", "cat", "/etc/resolv.conf"); got != "nameserver 127.0.0.11\nsearch example.net\noptions ndots:0" {
		t.Errorf("resolv.conf: %q", got)
	}

	// Published: from another host, from this one by every address, and listed.
	page := func(from node, url string) string {
		return from.does(t, "run", "--rm", "--network", "host", "busybox", "timeout", "5", "wget", "-qO-", url)
	}
	if got := page(two, "http://"+one.addr()+":8080/"); !strings.Contains(got, `"client":"`+two.addr()) {
		t.Errorf("a client of another host comes as %s", got)
	}
	for _, host := range []string{"127.0.0.1", "[::1]", one.addr()} {
		if got := page(one, "http://"+host+":8080/"); !strings.Contains(got, `"method":"GET"`) {
			t.Errorf("%s: %q", host, got)
		}
	}
	if got := one.does(t, "port", "web"); got != "7/udp -> 0.0.0.0:5353\n7/udp -> [::]:5353\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080" {
		t.Errorf("ports: %q", got)
	}
	r := one.docker(t, "run", "--rm", "-p", "8080:80", "busybox", "true")
	if r.code != 125 || !strings.Contains(r.err, "Bind for 0.0.0.0:8080 failed: port is already allocated") {
		t.Errorf("a port twice: %v", r)
	}
	if got := one.docker(t, "exec", "box", "nslookup", "printer.lan"); got.code == 0 {
		t.Errorf("a name nobody has: %v", got)
	}

	// A container is on three networks at once, and leaves by one of them.
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.60.0.0/24", "wide")
	one.does(t, "network", "connect", "wide", "box")
	two.does(t, "run", "-d", "--name", "far", "--network", "wide", "weft/probe")
	await(t, 5*time.Second, func() (bool, string) {
		r := one.docker(t, "exec", "box", "timeout", "2", "wget", "-qO-", "http://far/")
		return strings.Contains(r.out, `"client":"10.60.0.`), r.String()
	})
	if got := one.does(t, "exec", "box", "ip", "route", "show", "default"); !strings.Contains(got, "via 172.") {
		t.Errorf("way out: %q", got)
	}
	if got := one.does(t, "exec", "box", "ip", "-o", "-4", "addr"); len(strings.Split(got, "\n")) != 4 {
		t.Errorf("addresses on three networks and lo: %q", got)
	}
	one.does(t, "network", "disconnect", "closed", "box")
	one.does(t, "rename", "web", "site")
	one.does(t, "exec", "box", "wget", "-qO-", "http://site/")
	two.does(t, "rm", "-f", "far")
	one.does(t, "rm", "-f", "site", "box")
	one.does(t, "network", "rm", "closed", "lan")
	await(t, 10*time.Second, func() (bool, string) {
		r := one.try(t, "network", "rm", "wide")
		return r.code == 0, r.String()
	})
}

// sharedNamespaces goes over containers without a namespace of their own.
func sharedNamespaces(t *testing.T, n node) {
	if got := n.does(t, "run", "--rm", "--network", "host", "busybox", "ip", "-o", "addr"); !strings.Contains(got, n.addr()) {
		t.Errorf("the host's network: %q", got)
	}
	n.does(t, "run", "-d", "--name", "owner", "busybox")
	addr := n.does(t, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "owner")
	if got := n.does(t, "run", "--rm", "--network", "container:owner", "busybox", "sh", "-c", "ip -o -4 addr; cat /etc/hosts"); strings.Count(got, addr) < 2 {
		t.Errorf("owner's network, with %s: %q", addr, got)
	}
	n.does(t, "stop", "owner")
	r := n.docker(t, "run", "--rm", "--network", "container:owner", "busybox", "true")
	if r.code != 125 || !strings.Contains(r.err, "cannot join network of a non running container") {
		t.Error(r)
	}
	n.does(t, "rm", "owner")
}

// lookup gives the addresses of a name in a container.
func lookup(t *testing.T, n node, container, name string) []string {
	t.Helper()
	r := n.docker(t, "exec", container, "nslookup", name)
	var out []string
	for line := range strings.Lines(r.out) {
		if a, ok := strings.CutPrefix(line, "Address: "); ok {
			out = append(out, strings.TrimSpace(a))
		}
	}
	return out
}

// serviceNames follows a service with a virtual IP.
func serviceNames(t *testing.T, one, two node) {
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.61.0.0/24", "mesh")
	two.does(t, "run", "-d", "--name", "asker", "--network", "mesh", "busybox")
	one.weft(t, "service", "create", "--detach", "--name", "web", "--network", "name=mesh,alias=site", "--replicas", "3", "weft/probe")
	awaitReplicas(t, one, "web", "3/3")
	vip := one.weft(t, "service", "inspect", "-f", "{{range .Endpoint.VirtualIPs}}{{.Addr}}{{end}}", "web")
	vip, _, _ = strings.Cut(vip, "/")
	await(t, time.Second, func() (bool, string) { // records are to be right within a second
		tasks := lookup(t, two, "asker", "tasks.web")
		return len(tasks) == 3, strings.Join(tasks, " ")
	})
	for _, name := range []string{"web", "site", "web.mesh"} {
		if got := lookup(t, two, "asker", name); len(got) != 1 || got[0] != vip {
			t.Errorf("%s is %v, want the virtual IP %s", name, got, vip)
		}
	}
	namesFollow(t, one, two)
	own := two.does(t, "inspect", "-f", "{{.NetworkSettings.Networks.mesh.IPAddress}}", "asker")
	servers := map[string]bool{}
	for range 6 {
		got := two.does(t, "exec", "asker", "wget", "-qO-", "http://web/")
		if !strings.Contains(got, `"client":"`+own+":") {
			t.Errorf("the client's address is lost: %s", got)
		}
		_, server, _ := strings.Cut(got, `"server":"`)
		server, _, _ = strings.Cut(server, ":80")
		servers[server] = true
	}
	if len(servers) != 3 {
		t.Errorf("6 connections reached %d of 3 tasks: %v", len(servers), servers)
	}
	one.weft(t, "service", "scale", "--detach", "web=1")
	await(t, 20*time.Second, func() (bool, string) {
		tasks := lookup(t, two, "asker", "tasks.web")
		return len(tasks) == 1, strings.Join(tasks, " ")
	})
	for range 3 {
		two.does(t, "exec", "asker", "timeout", "5", "wget", "-qO-", "http://web/")
	}
	one.weft(t, "service", "rm", "web")
	await(t, 20*time.Second, func() (bool, string) {
		got := lookup(t, two, "asker", "web")
		return len(got) == 0, strings.Join(got, " ")
	})
	two.does(t, "rm", "-f", "asker")
}

// namesFollow changes who is on a network and wants another host to know within
// a second.
func namesFollow(t *testing.T, one, two node) {
	follows := func(name string, want int) {
		t.Helper()
		changed := time.Now()
		var asked time.Time
		awaitEvery(t, 20*time.Millisecond, 10*time.Second, func() (bool, string) {
			asked = time.Now() // what counts: the answer may take long to get here
			got := lookup(t, two, "asker", name)
			return len(got) == want, strings.Join(got, " ")
		})
		if took := asked.Sub(changed); took > time.Second {
			t.Errorf("%s had %d addresses on another host after %v, want a second at most", name, want, took)
		}
	}
	one.does(t, "run", "-d", "--name", "newcomer", "--network", "mesh", "--network-alias", "guest", "busybox")
	follows("newcomer", 1)
	follows("guest", 1)
	one.does(t, "network", "disconnect", "mesh", "newcomer")
	follows("newcomer", 0)
	one.does(t, "network", "connect", "mesh", "newcomer")
	follows("newcomer", 1)
	one.does(t, "rename", "newcomer", "settled")
	follows("settled", 1)
	one.does(t, "rm", "-f", "settled")
	follows("settled", 0)
}

// ticker is a connection that is held open: what is sent through it every
// 200 ms comes back and is counted. It is made when another one was answered: a
// task runs before its program listens.
type ticker struct {
	node      node
	container string
}

func tick(t *testing.T, n node, container, network, to string) ticker {
	t.Helper()
	host, port, _ := strings.Cut(to, ":")
	to = host + " " + port
	n.does(t, "run", "-d", "--name", container, "--network", network, "busybox", "sh", "-c",
		"until echo ready | nc -w 3 "+to+" 2>/why | grep -q ready; do sleep 0.1; done;"+
			"(while true; do echo tick; sleep 0.2; done) | nc "+to+" >/ticks 2>/why; touch /lost; sleep 1000")
	k := ticker{n, container}
	k.goesOn(t)
	return k
}

func (k ticker) count(t *testing.T) int {
	t.Helper()
	r := k.node.docker(t, "exec", k.container, "wc", "-l", "/ticks")
	text, _, _ := strings.Cut(r.out, " ")
	count, _ := strconv.Atoi(text)
	return count
}

// why gives what the client has complained of.
func (k ticker) why(t *testing.T) string {
	t.Helper()
	return k.node.docker(t, "exec", k.container, "cat", "/why").out
}

// goesOn waits for more answers over the same connection.
func (k ticker) goesOn(t *testing.T) {
	t.Helper()
	before := k.count(t)
	await(t, 30*time.Second, func() (bool, string) {
		if r := k.node.docker(t, "exec", k.container, "ls", "/lost"); r.code == 0 {
			t.Fatalf("%s: the connection was lost: %s", k.container, k.why(t))
		}
		now := k.count(t)
		return now > before+2, fmt.Sprintf("%d answers %s", now, k.why(t))
	})
}

// namesOverCrash holds connections while both engines are killed.
func namesOverCrash(t *testing.T, one, two node) {
	one.weft(t, "service", "create", "--detach", "--name", "echo", "--network", "mesh", "busybox", "nc", "-ll", "-p", "7", "-e", "cat")
	awaitReplicas(t, one, "echo", "1/1")
	one.does(t, "network", "create", "lan")
	one.does(t, "run", "-d", "--name", "published", "--network", "lan", "-p", "7007:7", "busybox", "nc", "-ll", "-p", "7", "-e", "cat")
	ticks := []ticker{
		tick(t, two, "by-vip", "mesh", "echo:7"),
		tick(t, one, "by-name", "lan", "published:7"),
		tick(t, two, "by-port", "host", one.addr()+":7007"),
	}
	for _, n := range []node{one, two} {
		restart(t, n, func() {})
	}
	for _, k := range ticks {
		k.goesOn(t)
	}
	// Names are served again, and new connections made.
	await(t, 10*time.Second, func() (bool, string) {
		got := lookup(t, two, "by-vip", "echo")
		return len(got) == 1, strings.Join(got, " ")
	})
	if got := lookup(t, one, "by-name", "published"); len(got) != 1 {
		t.Errorf("published is %v", got)
	}
	tick(t, two, "late-by-port", "host", one.addr()+":7007")
	tick(t, two, "late-by-vip", "mesh", "echo:7")
	two.does(t, "rm", "-f", "by-vip", "by-port", "late-by-port", "late-by-vip")
	one.does(t, "rm", "-f", "by-name", "published")
	one.does(t, "network", "rm", "lan")
	one.weft(t, "service", "rm", "echo")
}

// namesOverPartition cuts a host off for a minute and wants the names of both
// sides right within 10 s after.
func namesOverPartition(t *testing.T, l *lab.Lab, one, two node) {
	one.does(t, "run", "-d", "--name", "here", "--network", "mesh", "busybox")
	two.does(t, "run", "-d", "--name", "there", "--network", "mesh", "busybox")
	sees := func(n node, container, name string, want int) {
		t.Helper()
		await(t, 10*time.Second, func() (bool, string) {
			got := lookup(t, n, container, name)
			return len(got) == want, strings.Join(got, " ")
		})
	}
	sees(one, "here", "there", 1)
	sees(two, "there", "here", 1)
	must(t, l.Partition(t.Context(), one.Name, two.Name))
	cut := time.Now()
	await(t, 30*time.Second, func() (bool, string) { // the failure detector's time is 5 s where one is left
		got := lookup(t, one, "here", "there")
		return len(got) == 0, strings.Join(got, " ")
	})
	t.Logf("a dead host's name went after %v", time.Since(cut))
	one.does(t, "run", "-d", "--name", "meanwhile", "--network", "mesh", "busybox")
	<-time.After(time.Until(cut.Add(time.Minute)))
	must(t, l.Heal(t.Context(), one.Name, two.Name))
	healed := time.Now()
	sees(one, "here", "there", 1)
	sees(two, "there", "here", 1)
	sees(two, "there", "meanwhile", 1)
	t.Logf("names were right %v after it healed", time.Since(healed))
	one.does(t, "exec", "here", "ping", "-c", "1", "-W", "10", "there")
	one.does(t, "rm", "-f", "here", "meanwhile")
	two.does(t, "rm", "-f", "there")
}
