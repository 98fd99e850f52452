package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refusal is a command that must fail with one clear error.
type refusal struct {
	name, command string
	code          int
	says          []string // in the error: what is wrong, and the fix
}

func (r refusal) check(t *testing.T, got result) {
	t.Helper()
	if got.code != r.code || strings.TrimSpace(got.out) != "" {
		t.Errorf("weft %s: %v\nwant exit code %d and nothing on stdout", r.command, got, r.code)
	}
	for _, s := range r.says {
		if !strings.Contains(got.err, s) {
			t.Errorf("weft %s says %q, which lacks %q", r.command, got.err, s)
		}
	}
}

// TestBadNetworks gives the engine networks that can't be, and expects each to
// be refused and nothing of it to exist.
func TestBadNetworks(t *testing.T) {
	_, nodes := testLab(t, 1)
	swarm(t, nodes)
	n := nodes[0]
	n.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/16", "ov")
	before := n.weft(t, "network", "ls", "-q")
	const create = "network create -d overlay bad "
	for _, r := range []refusal{
		{"overlaps another network", create + "--subnet 10.20.5.0/24", 1, []string{"10.20.5.0/24", "overlaps", "ov"}},
		{"overlapping subnets", create + "--subnet 10.30.0.0/16 --subnet 10.30.1.0/24", 1, []string{"multiple overlapping subnet configuration is not supported"}},
		{"malformed subnet", create + "--subnet 10.300.0.0/24", 1, []string{"10.300.0.0/24"}},
		{"subnet without length", create + "--subnet 10.30.0.0", 1, []string{"10.30.0.0"}},
		{"host bits", create + "--subnet 10.30.0.1/24", 1, []string{"10.30.0.1/24", "10.30.0.0/24"}},
		{"gateway outside", create + "--subnet 10.30.0.0/24 --gateway 10.31.0.1", 1, []string{"gateway 10.31.0.1"}},
		{"range outside", create + "--subnet 10.30.0.0/24 --ip-range 10.31.0.0/25", 1, []string{"10.31.0.0/25"}},
		{"aux address outside", create + "--subnet 10.30.0.0/24 --aux-address a=10.31.0.9", 1, []string{"10.31.0.9"}},
		{"IPv6 only", create + "--ipv6 --subnet fd00:1::/64", 1, []string{"IPv4"}},
		{"IPv6 too small", create + "--ipv6 --subnet 10.30.0.0/24 --subnet fd00:1::/112", 1, []string{"fd00:1::/112", "/96"}},
		{"unknown driver", "network create -d nosuch bad", 1, []string{`plugin "nosuch" not found`}},
		{"second ingress", "network create -d overlay --ingress bad", 1, []string{"ingress network", "already present"}},
		{"unknown network", "run --rm --network nosuch weft/probe true", 125, []string{"network nosuch not found"}},
		{"unknown network of a service", "service create --detach --network nosuch weft/probe", 1, []string{"network nosuch not found"}},
		{"address outside", "run --rm --network ov --ip 10.99.0.1 weft/probe true", 125, []string{"ov", "10.20.0.0/16"}},
		{"not an address", "run --rm --network ov --ip 10.99.0 weft/probe true", 125, []string{"10.99.0"}},
		{"unknown image", "run --rm --network ov nosuch/image true", 125, []string{"nosuch/image"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			r.check(t, n.try(t, strings.Fields(r.command)...))
			if after := n.weft(t, "network", "ls", "-q"); after != before {
				t.Errorf("networks before and after:\n%s\n%s", before, after)
			}
			if left := n.weft(t, "ps", "-aq"); left != "" {
				t.Errorf("a container was left: %s", n.weft(t, "ps", "-a"))
			}
		})
	}
}

// TestExhaustedSubnet fills a subnet: who gets no address must be told why.
func TestExhaustedSubnet(t *testing.T) {
	_, nodes := testLab(t, 1)
	swarm(t, nodes)
	n := nodes[0]
	n.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.40.0.0/29", "tiny")
	n.weft(t, "service", "create", "--detach", "--name", "many", "--network", "tiny", "--replicas", "8", "weft/probe")
	await(t, 30*time.Second, func() (bool, string) {
		out := n.try(t, "service", "ps", "--no-trunc", "many").out
		return strings.Contains(out, "10.40.0.0/29") && strings.Contains(out, "Running"), out
	})
	refusal{command: "run", code: 125, says: []string{"tiny", "10.40.0.0/29"}}.check(t,
		n.try(t, "run", "--rm", "--network", "tiny", "weft/probe", "true"))
	n.weft(t, "service", "rm", "many")
	await(t, 30*time.Second, func() (bool, string) {
		r := n.try(t, "run", "--rm", "--network", "tiny", "weft/probe", "true")
		return r.code == 0, "addresses are free again: " + r.String()
	})
}

// TestBadJoins leads a node astray and expects it to stay what it was.
func TestBadJoins(t *testing.T) {
	_, nodes := testLab(t, 2)
	manager, n := nodes[0], nodes[1]
	swarm(t, nodes[:1])
	token := manager.weft(t, "swarm", "join-token", "-q", "worker")
	_, secret, _ := strings.Cut(strings.TrimPrefix(token, "SWMTKN-1-"), "-")
	ca := strings.TrimSuffix(strings.TrimPrefix(token, "SWMTKN-1-"), "-"+secret)
	wrong := "SWMTKN-1-" + ca + "-" + strings.Repeat("a", len(secret))
	garbled := "SWMTKN-1-" + strings.Repeat("a", len(ca)) + "-" + secret
	n.weft(t, "swarm", "init", "--advertise-addr", n.addr())
	foreign := n.weft(t, "swarm", "join-token", "-q", "worker")
	n.weft(t, "swarm", "leave", "--force")
	to := " " + manager.addr() + ":2377"
	for _, r := range []refusal{
		{"not a token", "swarm join --token nonsense" + to, 1, []string{"invalid join token"}},
		{"wrong secret", "swarm join --token " + wrong + to, 1, []string{"valid join token"}},
		{"garbled token", "swarm join --token " + garbled + to, 1, []string{"invalid join token"}},
		{"another swarm's token", "swarm join --token " + foreign + to, 1, []string{"token"}},
		{"dead address", "swarm join --token " + token + " 192.168.99.250:2377", 1, []string{"192.168.99.250:2377", "2377/tcp"}},
		{"nobody listens", "swarm join --token " + token + " " + manager.addr() + ":2399", 1, []string{manager.addr() + ":2399"}},
		{"itself", "swarm join --token " + token + " " + n.addr() + ":2377", 1, []string{n.addr()}},
		{"address that is not ours", "swarm init --advertise-addr 203.0.113.9", 1, []string{"address"}},
		{"unknown interface", "swarm init --advertise-addr nosuch0", 1, []string{"network interface"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			r.check(t, n.try(t, strings.Fields(r.command)...))
			if state := n.weft(t, "info", "--format", "{{.Swarm.LocalNodeState}}"); state != "inactive" {
				t.Errorf("the node is %s afterwards", state)
			}
		})
	}
	if nodes := manager.weft(t, "node", "ls", "-q"); strings.Count(nodes, "\n") != 0 {
		t.Errorf("the manager knows of\n%s", manager.weft(t, "node", "ls"))
	}
	n.weft(t, "swarm", "join", "--token", token, manager.addr()+":2377")
	await(t, 20*time.Second, func() (bool, string) {
		out := manager.try(t, "node", "ls", "--format", "{{.Status}}").out
		return strings.Count(out, "Ready") == 2, out
	})
}

// TestPortInUse has something else listen where the engine must.
func TestPortInUse(t *testing.T) {
	bin, in := bareLab(t)
	engine := []string{bin, "--host", "unix:///run/weft/engine.sock"}
	if r := in(bin, "engine", "start", "--data-dir", "/run/weft/data"); r.code != 0 {
		t.Fatal(r)
	}
	defer in(bin, "engine", "stop")
	// The binary under the probe's name is an echo server.
	probe := filepath.Join(t.TempDir(), "probe")
	if err := os.Symlink(bin, probe); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		port, flag string
		says       []string
	}{
		{"4789", "-udp", []string{"4789", "in use", "--data-path-port"}},
		{"7946", "-tcp", []string{"7946", "in use"}},
		{"2377", "-tcp", []string{"2377", "in use"}},
	} {
		t.Run(tc.port, func(t *testing.T) {
			stop := in("sh", "-c", probe+" serve -http 127.0.0.1:8"+tc.port[1:]+" -echo :"+tc.port+" >/dev/null 2>&1 & echo $!")
			pid := strings.TrimSpace(stop.out)
			defer in("kill", pid)
			await(t, 10*time.Second, func() (bool, string) {
				r := in(probe, "dial", "udp", "127.0.0.1:"+tc.port)
				return r.code == 0, r.String()
			})
			r := in(append(engine, "swarm", "init", "--advertise-addr", "192.168.99.1")...)
			refusal{command: "swarm init", code: 1, says: tc.says}.check(t, r)
			if r := in(append(engine, "info", "--format", "{{.Swarm.LocalNodeState}}")...); strings.TrimSpace(r.out) != "inactive" {
				t.Errorf("after the refusal: %v", r)
			}
		})
	}
	if r := in(append(engine, "swarm", "init", "--advertise-addr", "192.168.99.1")...); r.code != 0 {
		t.Errorf("with the ports free again: %v", r)
	}
}

// TestMissingPrivileges starts an engine as a root that has no privileges; an
// ordinary user's makes a user namespace, see TestNoUserNamespaces.
func TestMissingPrivileges(t *testing.T) {
	bin, in := bareLab(t)
	r := in("setpriv", "--bounding-set=-all", "--inh-caps=-all",
		bin, "engine", "run", "--data-dir", "/tmp/unprivileged-data", "--run-dir", "/tmp/unprivileged-run")
	refusal{command: "engine run", code: 1, says: []string{"needs root", "CAP_NET_ADMIN", "sudo"}}.check(t, r)
	for _, dir := range []string{"/tmp/unprivileged-data", "/tmp/unprivileged-run"} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s was made: %v", dir, err)
		}
	}
}

// TestBadFlags gives `engine run` what it can't use; nothing is made of it.
func TestBadFlags(t *testing.T) {
	bin := weft(t)
	dir := t.TempDir()
	for _, r := range []refusal{
		{"listen", "--listen tcp://0.0.0.0:2375", 1, []string{"--listen", "unix://", "ssh://"}},
		{"relative socket", "--listen unix://x.sock", 1, []string{"--listen"}},
		{"data path port", "--data-path-port 80", 1, []string{"--data-path-port", "1024", "49151"}},
		{"pool", "--default-addr-pool 10.0.0.0", 125, []string{"--default-addr-pool"}},
		{"IPv6 pool", "--default-addr-pool fd00::/16", 1, []string{"--default-addr-pool", "IPv4"}},
		{"mask", "--default-addr-pool 10.0.0.0/16 --default-addr-pool-mask-length 8", 1, []string{"--default-addr-pool-mask-length"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			args := append([]string{bin, "engine", "run", "--data-dir", dir + "/data", "--run-dir", dir + "/run"}, strings.Fields(r.command)...)
			r.check(t, run(t.Context(), t, nil, args...))
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("made %v", left)
			}
		})
	}
}
