package main_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/netnstest"
)

// TestPublish goes over the ways to publish ports of services, and over who is
// in the way.
func TestPublish(t *testing.T) {
	t.Parallel()
	l, nodes := testLab(t, 2)
	swarm(t, nodes)
	b := joinBed(t, l, nodes)
	t.Run("ranges", b.ranges)
	t.Run("any", b.anyPort)
	t.Run("host", b.hostMode)
	t.Run("bound", b.hostModeBound)
	t.Run("held by a service", b.heldByService)
	t.Run("held by a program", b.heldByProgram)
	t.Run("held by a container", b.heldByContainer)
	t.Run("start first", b.startFirst)
}

// answers awaits that a port answers at an address.
func (b *meshBed) answers(t *testing.T, network, to string) {
	t.Helper()
	await(t, 10*time.Second, func() (bool, string) {
		_, _, err := ask(b.outside, network, to)
		return err == nil, fmt.Sprintf("%s %s: %v", network, to, err)
	})
}

// removeServices removes services and awaits the end of their tasks, which have
// ports until then.
func (b *meshBed) removeServices(t *testing.T, names ...string) {
	t.Helper()
	b.nodes[0].weft(t, append([]string{"service", "rm"}, names...)...)
	for _, n := range b.nodes {
		await(t, 20*time.Second, func() (bool, string) {
			left := n.weft(t, "ps", "-aq", "--filter", "label=com.docker.swarm.task")
			return left == "", n.Name + " still has " + left
		})
	}
}

// silent wants that a port refuses.
func (b *meshBed) silent(t *testing.T, to string) {
	t.Helper()
	if a, _, err := ask(b.outside, "tcp", to); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s answers: %v %v", to, a, err)
	}
}

func (b *meshBed) at(i, port int) string {
	return net.JoinHostPort(b.nodes[i].addr(), strconv.Itoa(port))
}

// ranges are several ports of several protocols at once.
func (b *meshBed) ranges(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--detach", "--name", "many", "--publish", "8000-8002:79-81", "--publish", "8000-8002:79-81/udp",
		"--publish", "published=9000,target=80", "--publish", "8100:80/udp", "weft/probe", "serve", "--http", ":80", "--echo", ":79")
	awaitReplicas(t, one, "many", "1/1")
	want := "*:8000-8002->79-81/tcp, *:9000->80/tcp, *:8000-8002->79-81/udp, *:8100->80/udp"
	if got := one.weft(t, "service", "ls", "--format", "{{.Ports}}"); got != want {
		t.Errorf("ports %q, want %q", got, want)
	}
	for i := range b.nodes {
		b.answers(t, "tcp", b.at(i, 8001))
		b.answers(t, "tcp", b.at(i, 9000))
		b.answers(t, "udp", b.at(i, 8001))
		b.answers(t, "udp", b.at(i, 8100))
		b.silent(t, b.at(i, 8002)) // the task does not listen there
		b.silent(t, b.at(i, 8003))
	}
	one.weft(t, "service", "update", "-q", "--publish-rm", "8000-8002:79-81", "many")
	await(t, 20*time.Second, func() (bool, string) {
		_, _, err := ask(b.outside, "tcp", b.at(1, 8001))
		return errors.Is(err, syscall.ECONNREFUSED), fmt.Sprintf("a port that was taken off: %v", err)
	})
	b.silent(t, b.at(1, 9000)) // ports are taken off by the task's own
	b.answers(t, "udp", b.at(1, 8001))
	b.removeServices(t, "many")
}

// anyPort leaves the port to the swarm.
func (b *meshBed) anyPort(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--detach", "--name", "any", "--publish", "80", "--publish", "80/udp", "weft/probe")
	var ports []string
	await(t, 5*time.Second, func() (bool, string) {
		ports = strings.Fields(one.weft(t, "service", "inspect", "--format", "{{range .Endpoint.Ports}}{{.PublishedPort}} {{end}}", "any"))
		return len(ports) == 2, fmt.Sprintf("ports: %v", ports)
	})
	for i, network := range []string{"tcp", "udp"} {
		port, _ := strconv.Atoi(ports[i])
		if port < 30000 || port > 32767 {
			t.Errorf("port %d", port)
		}
		b.answers(t, network, b.at(1, port))
		if got := one.weft(t, "service", "ls", "--format", "{{.Ports}}"); !strings.Contains(got, fmt.Sprintf("*:%d->80/%s", port, network)) {
			t.Errorf("service ls: %s", got)
		}
	}
	b.removeServices(t, "any")
}

// hostMode publishes ports of the tasks' own hosts.
func (b *meshBed) hostMode(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--detach", "--name", "own", "--constraint", "node.hostname==host2",
		"--publish", "mode=host,published=9000,target=80", "--publish", "mode=host,published=9000,target=80,protocol=udp",
		"--publish", "mode=host,target=80", "weft/probe")
	for _, network := range []string{"tcp", "udp"} {
		b.answers(t, network, b.at(1, 9000))
		b.answers(t, network, net.JoinHostPort(b.addrV6(1).String(), "9000"))
	}
	b.silent(t, b.at(0, 9000))
	a, source, err := ask(b.outside, "tcp", b.at(1, 9000))
	if err != nil || !strings.HasPrefix(a.Client, source.String()+":") {
		t.Errorf("the task saw %s, the client is %s: %v", a.Client, source, err)
	}
	var found []string
	await(t, 5*time.Second, func() (bool, string) {
		shown := one.weft(t, "service", "ps", "--format", "{{.Ports}}", "own")
		found = regexp.MustCompile(`^\*:(\d+)->80/tcp,\*:(\d+)->80/tcp,\*:9000->80/udp$`).FindStringSubmatch(sortedPorts(shown))
		return found != nil, "service ps shows " + shown
	})
	for _, p := range found[1:] {
		b.answers(t, "tcp", net.JoinHostPort(b.nodes[1].addr(), p))
	}
	b.removeServices(t, "own")
}

func sortedPorts(list string) string {
	parts := strings.Split(strings.ReplaceAll(list, " ", ""), ",")
	var tcp, udp []string
	for _, p := range parts {
		if strings.HasSuffix(p, "/udp") {
			udp = append(udp, p)
		} else {
			tcp = append(tcp, p)
		}
	}
	return strings.Join(append(tcp, udp...), ",")
}

// hostModeBound opens a host's port at one of its addresses alone.
func (b *meshBed) hostModeBound(t *testing.T) {
	one := b.nodes[0]
	netnstest.Exec(t, b.hosts[1], "ip", "addr", "add", "198.51.100.7/32", "dev", "lo")
	netnstest.Exec(t, b.outside, "ip", "route", "add", "198.51.100.7/32", "via", b.nodes[1].addr())
	for _, bind := range []string{b.nodes[1].addr(), "eth0"} {
		one.weft(t, "service", "create", "-q", "--detach", "--name", "own", "--constraint", "node.hostname==host2", "--label", "weft.publish.bind="+bind,
			"--publish", "mode=host,published=9000,target=80", "--publish", "9001:80", "weft/probe")
		for _, port := range []int{9000, 9001} {
			b.answers(t, "tcp", b.at(1, port))
			b.silent(t, fmt.Sprintf("198.51.100.7:%d", port))
		}
		b.removeServices(t, "own")
	}
	one.weft(t, "service", "create", "-q", "--detach", "--name", "own", "--constraint", "node.hostname==host2", "--restart-condition", "none",
		"--label", "weft.publish.bind=192.0.2.77", "--publish", "mode=host,published=9000,target=80", "weft/probe")
	b.taskSays(t, "own", "this host has none of the addresses and interfaces it is bound to (192.0.2.77): place the service on hosts that have, with --constraint")
	b.removeServices(t, "own")
}

// taskSays awaits that a task of a service has an error.
func (b *meshBed) taskSays(t *testing.T, service, want string) {
	t.Helper()
	await(t, 20*time.Second, func() (bool, string) {
		got := b.nodes[0].weft(t, "service", "ps", "--no-trunc", "--format", "{{.Error}}", service)
		return strings.Contains(got, want), "tasks say " + got + ", want " + want
	})
}

// heldByService asks for ports that services have.
func (b *meshBed) heldByService(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--detach", "--name", "first", "--publish", "8000:80", "weft/probe")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "own", "--constraint", "node.hostname==host2", "--publish", "mode=host,published=9000,target=80", "weft/probe")
	b.answers(t, "tcp", b.at(1, 9000)) // by now the first service has come as well
	for _, c := range [][2]string{
		{"8000:80", "port '8000' is already in use by service 'first' ("},
		{"mode=host,published=8000,target=80", "port '8000' is already in use by service 'first' ("},
		{"9000:80", "port '9000' is already in use by service 'own' ("},
	} {
		r := one.try(t, "service", "create", "--name", "second", "--publish", c[0], "weft/probe")
		if r.code != 1 || !strings.Contains(r.err, c[1]) {
			t.Errorf("%s: %v", c[0], r)
		}
	}
	r := one.try(t, "service", "update", "--publish-add", "8000:80", "own")
	if r.code != 1 || !strings.Contains(r.err, "port '8000' is already in use by service 'first' (") {
		t.Errorf("by an update: %v", r)
	}
	b.answers(t, "tcp", b.at(0, 8000))
	r = one.try(t, "run", "-d", "--name", "mine", "-p", "8000:80", "weft/probe")
	if r.code != 125 || !strings.Contains(r.err, "port is already allocated: it is held by service first of the swarm") {
		t.Errorf("by a container: %v", r)
	}
	one.weft(t, "rm", "mine")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "third", "--constraint", "node.hostname==host2", "--publish", "mode=host,published=9000,target=80", "weft/probe")
	b.taskSays(t, "third", "host-mode port already in use on 1 node): 9000/tcp of host2 is held by own.1.")
	b.removeServices(t, "first", "own", "third")
}

// heldByProgram has a program of the host's have a published port.
func (b *meshBed) heldByProgram(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "run", "-d", "--name", "program", "--network", "host", "weft/probe", "serve", "--http", ":8010", "--echo", ":8011")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "web", "--publish", "8010:80", "weft/probe")
	b.answers(t, "tcp", b.at(1, 8010))
	if a, _, err := ask(b.outside, "tcp", b.at(0, 8010)); err != nil || a.Server != b.at(0, 8010) {
		t.Errorf("the program does not have its port anymore: %v %v", a, err)
	}
	await(t, 5*time.Second, func() (bool, string) {
		log, err := os.ReadFile(one.LogPath())
		return strings.Contains(string(log), "this host does not answer at published port 8010/tcp: Bind for 0.0.0.0:8010 failed: port is already allocated: it is held by "), fmt.Sprint(err, " not in the log")
	})
	one.weft(t, "rm", "-f", "program")
	await(t, 10*time.Second, func() (bool, string) {
		a, _, err := ask(b.outside, "tcp", b.at(0, 8010))
		return err == nil && a.Server != b.at(0, 8010), fmt.Sprintf("the host does not answer for the service: %v %v", a, err)
	})
	b.removeServices(t, "web")
}

// heldByContainer has a container publish a port on one host.
func (b *meshBed) heldByContainer(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "run", "-d", "--name", "mine", "-p", "9000:80", "weft/probe")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "own", "--constraint", "node.hostname==host1", "--restart-condition", "none",
		"--publish", "mode=host,published=9000,target=80", "weft/probe")
	b.taskSays(t, "own", "Bind for 0.0.0.0:9000 failed: port is already allocated: it is held by container mine")
	b.removeServices(t, "own")
	one.weft(t, "rm", "-f", "mine")
}

// startFirst updates a service whose old task has the port the new one needs.
func (b *meshBed) startFirst(t *testing.T) {
	one := b.nodes[0]
	one.weft(t, "service", "create", "-q", "--detach", "--name", "own", "--constraint", "node.hostname==host2", "--publish", "mode=host,published=9000,target=80", "weft/probe")
	b.answers(t, "tcp", b.at(1, 9000))
	r := one.try(t, "service", "update", "--detach", "--update-order", "start-first", "--env-add", "A=1", "own")
	if r.code != 0 || !strings.Contains(r.err, "service own publishes 9000/tcp in host mode and is updated in the order start-first") {
		t.Errorf("no warning: %v", r)
	}
	b.taskSays(t, "own", "9000/tcp of host2 is held by own.1.")
	b.taskSays(t, "own", "service update --update-order stop-first own")
	r = one.try(t, "service", "update", "--detach", "--update-order", "stop-first", "own")
	if r.code != 0 || strings.Contains(r.err, "start-first") {
		t.Errorf("the way out: %v", r)
	}
	await(t, 30*time.Second, func() (bool, string) {
		got := one.weft(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}", "own")
		env := one.weft(t, "service", "inspect", "--format", "{{.UpdateStatus.State}}", "own")
		return strings.HasPrefix(got, "Running") && !strings.Contains(got, "\n") && env == "completed", got + " " + env
	})
	b.answers(t, "tcp", b.at(1, 9000))
	b.removeServices(t, "own")
}
