package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/engine/kernel"
	"weft/engine/lab"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// shell runs a script inside a host of the lab.
func shell(t *testing.T, l *lab.Lab, n node, script string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	err := l.Exec(t.Context(), n.Name, lab.Process{Args: []string{"sh", "-c", script}, Out: &out, Err: &errOut})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %s: %v", n.Name, script, err)
	}
	code := 0
	if exit != nil {
		code = exit.ExitCode()
	}
	return result{strings.TrimSpace(out.String()), errOut.String(), code}
}

// outsider is something attached, and the namespace in which it shows what it
// reaches.
type outsider struct {
	model.NetworkAttachment
	ns       *kernel.Namespace
	resolver string
}

// asks runs a busybox applet there.
func (o outsider) asks(args ...string) (string, bool) {
	var out []byte
	err := kernel.Do(o.ns, func() (err error) {
		cmd := exec.Command("/bin/busybox", args...)
		cmd.Env = []string{"PATH=/bin"} // no proxy
		out, err = cmd.CombinedOutput()
		return err
	})
	return string(out), err == nil
}

// finds wants a name to mean an address there.
func (o outsider) finds(t *testing.T, name, addr string) {
	t.Helper()
	await(t, 5*time.Second, func() (bool, string) {
		out, ok := o.asks("nslookup", name, o.resolver)
		return ok && strings.Contains(out, addr), o.Name + " asks for " + name + ": " + out
	})
}

func (o outsider) pings(t *testing.T, addr string) {
	t.Helper()
	if out, ok := o.asks("ping", "-c", "1", "-W", "5", addr); !ok {
		t.Errorf("%s does not reach %s:\n%s", o.Name, addr, out)
	}
}

// attach runs `attach` and gives what it says.
func attach(t *testing.T, n node, args ...string) model.NetworkAttachment {
	t.Helper()
	n.weft(t, append([]string{"attach"}, args...)...)
	all := attached(t, n)
	return all[len(all)-1]
}

func attached(t *testing.T, n node) []model.NetworkAttachment {
	t.Helper()
	r := run(t.Context(), t, nil, "curl", "-sS", "--unix-socket", n.Socket(), "http://weft/weft/v1/attachments")
	var all []model.NetworkAttachment
	if err := json.Unmarshal([]byte(r.out), &all); err != nil {
		t.Fatalf("%v: %v", r, err)
	}
	return all
}

// attachBed is a manager and a worker with a network, and what is attached on
// the latter.
type attachBed struct {
	lab             *lab.Lab
	manager, worker node
	pid             string // of a process with a namespace of its own
	near            string // address of a container on a network of the worker's own
	before          []string
	all             map[string]outsider // on the swarm's network, by name
	lan             model.NetworkAttachment
}

// TestAttachAnything gives a namespace, a process and a virtual machine legs on
// an overlay, on a worker, over a crash of the engine to the end.
func TestAttachAnything(t *testing.T) {
	t.Parallel()
	b := newAttachBed(t)
	b.attach(t)
	b.everybody(t)
	if got := b.worker.weft(t, "network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "ov"); !strings.Contains(got, "vm0") {
		t.Errorf("on the network: %s", got)
	}
	b.crash(t)
	b.ends(t)
	b.endsUnseen(t)
	b.must(t, "ip netns delete blue")
	b.manager.weft(t, "rm", "-f", "far")
	b.manager.weft(t, "service", "rm", "web")
	await(t, 20*time.Second, func() (bool, string) { // no address is held any more
		r := b.manager.try(t, "network", "rm", "ov")
		return r.code == 0, r.String()
	})
}

func newAttachBed(t *testing.T) *attachBed {
	t.Helper()
	l, nodes := testLab(t, 2)
	swarm(t, nodes)
	b := &attachBed{lab: l, manager: nodes[0], worker: nodes[1], all: map[string]outsider{}}
	b.manager.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/24", "--ipv6", "--subnet", "fd00:20::/64", "ov")
	b.manager.weft(t, "network", "create", "-d", "overlay", "--subnet", "10.21.0.0/24", "closed")
	b.manager.weft(t, "run", "-d", "--name", "far", "--network", "ov", "--ip", "10.20.0.100", "weft/probe")
	b.manager.weft(t, "service", "create", "--detach", "--name", "web", "--network", "ov", "--replicas", "2", "weft/probe")
	awaitReplicas(t, b.manager, "web", "2/2")
	b.must(t, "ip netns add blue; ip -n blue link set lo up; ip -n blue link add eth0 type bridge")
	b.pid = b.must(t, "unshare -n sleep 1000 >/dev/null 2>&1 & echo $!")
	b.before = b.state(t)
	refusals(t, l, b.worker, b.pid)
	b.worker.weft(t, "network", "create", "lan")
	b.worker.weft(t, "run", "-d", "--name", "near", "--network", "lan", "weft/probe")
	b.near = b.worker.weft(t, "inspect", "-f", "{{.NetworkSettings.Networks.lan.IPAddress}}", "near")
	return b
}

// must runs a script on the worker.
func (b *attachBed) must(t *testing.T, script string) string {
	t.Helper()
	r := shell(t, b.lab, b.worker, script)
	if r.code != 0 {
		t.Fatalf("%s: %v", script, r)
	}
	return r.out
}

// state is what an attachment may change on the worker.
func (b *attachBed) state(t *testing.T) []string {
	t.Helper()
	lines := strings.Split(b.must(t, "{ ip -o link; ip route; nft list tables; sed 's/^/mount /' /proc/self/mounts; ip -n blue -o link; ip -n blue route; ip netns exec blue nft list tables; } | sed 's/@.*//; s/^[0-9]*: //'"), "\n")
	slices.Sort(lines)
	return lines
}

// attach attaches one of each kind.
func (b *attachBed) attach(t *testing.T) {
	conf := b.worker.RunPath() + "/made/resolv.conf"
	for name, args := range map[string][]string{
		"blue": {"--netns", "blue", "--alias", "azure", "--ip", "10.20.0.50", "--resolv-conf", conf, "ov"},
		"proc": {"ov", "--pid", b.pid, "--name", "proc"},
		"vm0":  {"--tap", "vm0", "--user", "12345", "ov"},
	} {
		a := attach(t, b.worker, args...)
		if a.Name != name || a.MTU != 1450 || a.MAC == "" || !a.AddressV6.IsValid() {
			t.Errorf("%s: %+v", name, a)
		}
		b.all[name] = outsider{a, enter(t, b.worker, a), a.Resolver.String()}
	}
	b.lan = attach(t, b.worker, "lan", "--netns", "blue", "--name", "azure-lan")
	if r := b.worker.try(t, "network", "rm", "lan"); r.code != 1 || !strings.Contains(r.err, `name:"azure-lan"`) {
		t.Errorf("network rm: %v", r)
	}
	if r := b.worker.try(t, "create", "--name", "azure-lan", "weft/probe"); r.code != 1 || !strings.Contains(r.err, `The container name "/azure-lan" is already in use by an attachment to network lan.`) {
		t.Errorf("a container of an attachment's name: %v", r)
	}
	if got := b.all["blue"]; got.Interface != "eth1" || got.Address.String() != "10.20.0.50/24" || got.resolver != "127.0.0.11" {
		t.Errorf("blue: %+v", got)
	}
	if text, err := os.ReadFile(conf); string(text) != "nameserver 127.0.0.11\noptions ndots:0\n" {
		t.Errorf("resolver's file: %q, %v", text, err)
	}
}

// everybody has all find and reach each other.
func (b *attachBed) everybody(t *testing.T) {
	t.Helper()
	for _, o := range b.all {
		for _, to := range []string{"10.20.0.100", "10.20.0.50", b.all["proc"].Address.Addr().String(), b.all["vm0"].Address.Addr().String()} {
			o.pings(t, to)
		}
		o.pings(t, b.all["blue"].AddressV6.Addr().String())
		o.finds(t, "far", "10.20.0.100")
		o.finds(t, "azure", "10.20.0.50")
		o.finds(t, "proc.ov", b.all["proc"].Address.Addr().String())
		o.finds(t, "web", "10.20.0.")
		if o.Name == "blue" { // which is on a network of its host as well
			o.finds(t, "near", b.near)
			o.pings(t, b.near)
			b.worker.weft(t, "run", "--rm", "--network", "lan", "weft/probe", "ping", "-c", "1", "-W", "5", "azure-lan")
		}
		if out, ok := o.asks("nslookup", "web", o.resolver); ok {
			o.visits(t, out)
		}
		b.manager.weft(t, "run", "--rm", "--network", "ov", "weft/probe", "ping", "-c", "1", "-W", "5", o.Name)
	}
}

// crash kills the worker's engine: no ping to any of them is lost.
func (b *attachBed) crash(t *testing.T) {
	var pingers []pings
	for name, o := range b.all {
		pingers = append(pingers, pinging(t, b.manager, "ov", "to-"+name, o.Address.Addr().String()))
	}
	restart(t, b.worker, func() {})
	if len(attached(t, b.worker)) != 4 {
		t.Errorf("attachments after the crash:\n%s", b.worker.weft(t, "network", "attachments"))
	}
	b.everybody(t)
	for _, p := range pingers {
		p.end(t, 80)
	}
}

// ends is each way to the end of one.
func (b *attachBed) ends(t *testing.T) {
	b.worker.weft(t, "detach", "ov", "--netns", "blue")
	b.all["blue"].finds(t, "near", b.near) // by the other network's
	b.worker.weft(t, "detach", b.lan.ID[:12])
	b.worker.weft(t, "rm", "-f", "near")
	b.worker.weft(t, "network", "rm", "lan")
	if _, err := os.Stat(b.worker.RunPath() + "/made"); !os.IsNotExist(err) {
		t.Errorf("resolver's file is left: %v", err)
	}
	b.must(t, "kill "+b.pid)
	b.must(t, "ip link delete vm0")
	gone(t, b.worker)
	if diff := cmp.Diff(b.before, b.state(t)); diff != "" {
		t.Errorf("before (-) and after (+):\n%s", diff)
	}
	await(t, 10*time.Second, func() (bool, string) {
		r := b.manager.try(t, "run", "--rm", "--network", "ov", "weft/probe", "dig", "azure")
		return !strings.Contains(r.out, "10.20.0.50"), r.String()
	})
}

// endsUnseen is about those that end while no engine looks.
func (b *attachBed) endsUnseen(t *testing.T) {
	pid := b.must(t, "unshare -n sleep 1000 >/dev/null 2>&1 & echo $!")
	b.must(t, "ip netns add red")
	attach(t, b.worker, "--netns", "/run/netns/red", "ov")
	attach(t, b.worker, "--pid", pid, "ov")
	attach(t, b.worker, "--tap", "vm1", "ov")
	restart(t, b.worker, func() { b.must(t, "ip netns delete red; kill "+pid+"; ip link delete vm1") })
	gone(t, b.worker)
	b.must(t, "ip netns add red")
	attach(t, b.worker, "--netns", "red", "ov")
	b.must(t, "ip netns delete red")
	gone(t, b.worker)
	await(t, 10*time.Second, func() (bool, string) {
		diff := cmp.Diff(b.before, b.state(t))
		return diff == "", diff
	})
}

// visits wants a service at the addresses a resolver gave for it.
func (o outsider) visits(t *testing.T, answer string) {
	t.Helper()
	visited := 0
	for line := range strings.Lines(answer) {
		addr, found := strings.CutPrefix(strings.TrimSpace(line), "Address: 10.20.")
		if !found {
			addr, found = strings.CutPrefix(strings.TrimSpace(line), "Address 1: 10.20.")
		}
		if !found {
			continue
		}
		if out, err := o.page("10.20." + addr); err != nil || !strings.Contains(out, `"client":"`+o.Address.Addr().String()) {
			t.Errorf("%s asks web at 10.20.%s: %s, %v", o.Name, addr, out, err)
		}
		visited++
	}
	if want := map[bool]int{false: 1, true: 2}[o.Tap != ""]; visited != want { // one virtual IP, or two tasks
		t.Errorf("%s finds web at %d addresses, want %d:\n%s", o.Name, visited, want, answer)
	}
}

// page asks an HTTP server, from there.
func (o outsider) page(addr string) (string, error) {
	var conn net.Conn
	err := kernel.Do(o.ns, func() (err error) {
		conn, err = net.DialTimeout("tcp", addr+":80", 5*time.Second)
		return err
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	out, err := io.ReadAll(conn)
	return string(out), err
}

// enter opens the namespace of an attachment; behind a TAP device it starts the
// virtual machine.
func enter(t *testing.T, n node, a model.NetworkAttachment) *kernel.Namespace {
	t.Helper()
	open := func(path string) *kernel.Namespace {
		ns, err := kernel.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ns.Close() })
		return ns
	}
	root := fmt.Sprintf("/proc/%d", enginePid(t, n))
	switch {
	case a.Pid != 0:
		return open(fmt.Sprintf("%s/root/proc/%d/ns/net", root, a.Pid))
	case a.NetNS != "":
		return open(root + "/root" + a.NetNS)
	}
	ns := netnstest.Machine(t, open(root+"/ns/net"), a.Tap, a.MAC, a.MTU)
	netnstest.Exec(t, ns, "ip", "addr", "add", a.Address.String(), "dev", "eth0")
	netnstest.Exec(t, ns, "ip", "addr", "add", a.AddressV6.String(), "dev", "eth0", "nodad")
	return ns
}

// refusals tries what must not be attached.
func refusals(t *testing.T, l *lab.Lab, n node, pid string) {
	t.Helper()
	n.weft(t, "run", "-d", "--name", "own", "--network", "ov", "weft/probe")
	inner := n.weft(t, "inspect", "-f", "{{.State.Pid}}", "own")
	shell(t, l, n, "touch /run/weft-file")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--pid", pid, "closed"}, "not manually attachable"},
		{[]string{"--pid", pid, "nothing"}, "not found"},
		{[]string{"--pid", "1", "ov"}, "the host's own network namespace"},
		{[]string{"--pid", inner, "ov"}, "network namespace of container own: use `network connect NETWORK own`"},
		{[]string{"--pid", "4194303", "ov"}, "no such process"},
		{[]string{"--netns", "none", "ov"}, "/run/netns/none does not exist"},
		{[]string{"--netns", "/run/weft-file", "ov"}, "is not a network namespace"},
		{[]string{"--netns", "/proc/1/ns/net", "ov"}, "name that with --pid"},
		{[]string{"--tap", "lo", "ov"}, "device lo exists already"},
		{[]string{"--tap", "vm9", "bridge"}, "attach is for overlay networks"},
		{[]string{"--pid", pid, "--name", "own", "ov"}, "name own is already in use"},
		{[]string{"--pid", pid, "--ip", "10.9.9.9", "ov"}, "could not find an available IP"},
		{[]string{"--pid", pid, "--resolv-conf", "/etc/passwd", "ov"}, "exists and is not touched"},
		{[]string{"--pid", pid, "host"}, "no addresses to attach to"},
	} {
		r := n.try(t, append([]string{"attach"}, tt.args...)...)
		if r.code != 1 || !strings.Contains(r.err, tt.want) {
			t.Errorf("attach %v: %v\nwant %q", tt.args, r, tt.want)
		}
	}
	shell(t, l, n, "mount -t tmpfs none /dev/net")
	if r := n.try(t, "attach", "ov", "--tap", "vm9"); r.code != 1 || !strings.Contains(r.err, "modprobe tun") {
		t.Errorf("without /dev/net/tun: %v", r)
	}
	shell(t, l, n, "umount /dev/net")
	gone(t, n)
	n.weft(t, "rm", "-f", "own")
}

// gone wants no attachment to be left.
func gone(t *testing.T, n node) {
	t.Helper()
	await(t, 10*time.Second, func() (bool, string) {
		left := attached(t, n)
		return len(left) == 0, fmt.Sprint(left)
	})
}
