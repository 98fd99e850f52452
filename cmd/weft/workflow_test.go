package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"

	"weft/engine/dockerdtest"
	"weft/engine/kernel"
	"weft/engine/lab"
	"weft/wizard"
)

// operator is somebody at the console of a host.
type operator struct {
	*testing.T
	lab  *lab.Lab
	node node
	home string
}

func (o operator) run(args ...string) result {
	o.Helper()
	var out, errOut bytes.Buffer
	argv := append([]string{"env", "XDG_STATE_HOME=" + o.home, o.node.bin, "--host", "unix://" + o.inside()}, args...)
	err := o.lab.Exec(o.Context(), o.node.Name, lab.Process{Args: argv, Out: &out, Err: &errOut})
	r := result{out: out.String(), err: errOut.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		o.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return r
}

// inside is the path of the engine's socket for the host itself.
func (o operator) inside() string {
	return filepath.Join(lab.RunDir, o.node.Boot.Socket)
}

// publishing are twelve services with twenty ports, by their flags.
func publishing() map[string][]string {
	tcp := func(port int) string { return fmt.Sprintf("published=%d,target=80", port) }
	udp := func(port int) string { return fmt.Sprintf("published=%d,target=80,protocol=udp", port) }
	host := func(port int) string { return fmt.Sprintf("published=%d,target=80,mode=host", port) }
	return map[string][]string{
		"s01": {tcp(8001)}, "s02": {tcp(8002), tcp(8102)}, "s03": {udp(8003)}, "s04": {tcp(8004), udp(8004)},
		"s05": {host(8005)}, "s06": {tcp(8006), host(8106)}, "s07": {tcp(8007), tcp(8107), udp(8207)}, "s08": {udp(8008)},
		"s09": {tcp(8009), udp(8109)}, "s10": {host(8010)}, "s11": {tcp(8011), tcp(8111)}, "s12": {tcp(8012), udp(8112)},
	}
}

// TestCustomiseDockerd replaces the ingress network of a swarm of dockerds.
// Docker's own mesh needs IPVS and its tasks with ingress ports may not start
// here; ports in host mode carry traffic, and specs and networks are Docker's.
func TestCustomiseDockerd(t *testing.T) {
	dockerdtest.Require(t)
	l, nodes := startDockerds(t, 3)
	swarm(t, nodes)
	awaitNodes(t, nodes[0], 3)
	for name, ports := range publishing() {
		args := []string{"service", "create", "--detach", "--name", name, "--label", "test=" + name, "--env", "SECRET=hush"}
		for _, p := range ports {
			args = append(args, "--publish", p)
		}
		nodes[0].weft(t, append(args, "weft/probe")...)
	}
	api := apiClient(t, nodes[0])
	before := specs(t, nodes[0])
	awaitReplicas(t, nodes[0], "s05", "1/1")
	answersOnce(t, l, nodes, 8005)

	o := operator{t, l, nodes[0], t.TempDir()}
	flags := []string{"ingress", "customise", "--name", "my-ingress", "--subnet", "10.11.0.0/16", "--gateway", "10.11.0.2", "--mtu", "1200"}
	if r := o.run(flags...); r.code != 11 || !strings.Contains(r.err, "--accept=drops-ingress-traffic,restarts-tasks") {
		t.Fatalf("without a terminal: %v", r)
	}
	if diff := cmp.Diff(before, specs(t, nodes[0])); diff != "" {
		t.Fatalf("declined, and yet:\n%s", diff)
	}
	began := time.Now()
	r := o.run(append(flags, "--yes", "--accept", "drops-ingress-traffic,restarts-tasks")...)
	if r.code != 0 {
		t.Fatalf("customise: %v", r)
	}
	t.Logf("in %v:\n%s", time.Since(began).Round(time.Second), r.out)
	if diff := cmp.Diff(before, specs(t, nodes[0])); diff != "" {
		t.Errorf("specs before (-) and after (+):\n%s", diff)
	}
	n, err := api.NetworkInspect(t.Context(), "my-ingress", network.InspectOptions{})
	must(t, err)
	if !n.Ingress || n.IPAM.Config[0].Subnet != "10.11.0.0/16" || n.IPAM.Config[0].Gateway != "10.11.0.2" || n.Options["com.docker.network.driver.mtu"] != "1200" || len(n.Peers) != 3 {
		t.Errorf("the network is %+v", n)
	}
	answersOnce(t, l, nodes, 8005)
	if r := o.run("workflow", "ls", "--format", "{{.Status}} {{.Step}}"); !strings.HasPrefix(r.out, "done ") {
		t.Errorf("workflow ls: %v", r)
	}
	breakPort(o, nodes, 8005, time.Minute)
	if diff := cmp.Diff(before, specs(t, nodes[0])); diff != "" {
		t.Errorf("specs before (-) and after the second run (+):\n%s", diff)
	}
}

// breakPort has a port that answered stop to do so in the middle of a run: it
// must be found out, and the run wait for it to be mended.
func breakPort(o operator, nodes []node, port int, patience time.Duration) {
	o.Helper()
	table := fmt.Sprintf("table inet broken { chain in { type filter hook prerouting priority raw; tcp dport %[1]d drop; }; chain out { type filter hook output priority raw; tcp dport %[1]d drop; }; }", port)
	everywhere := func(words ...string) {
		for _, n := range nodes {
			must(o.T, o.lab.Exec(o.Context(), n.Name, lab.Process{Args: append([]string{"nft"}, words...)}))
		}
	}
	said, err := o.struck(&victim{aim: aim{event: wizard.StepBegins, step: "verify"}, instead: func() { everywhere(table) }},
		"ingress", "customise", "--name", "ingress", "--subnet", "10.12.0.0/16", "--json", "--yes", "--accept", "drops-ingress-traffic,restarts-tasks", "--patience", patience.String())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 13 || !strings.Contains(said, strconv.Itoa(port)) {
		o.Fatalf("with port %d broken: %v\n%s", port, err, said)
	}
	everywhere("delete", "table", "inet", "broken")
	id := strings.TrimSpace(o.run("workflow", "ls", "--format", "{{.ID}} {{.Status}}").out)
	for line := range strings.Lines(id) {
		if run, open := strings.CutSuffix(strings.TrimSpace(line), " open"); open {
			if r := o.run("workflow", "show", "--json", run); r.code != 0 || strings.Contains(r.out, "hush") {
				o.Errorf("workflow show tells secrets: %v", r)
			}
			if !o.secretsKept() {
				o.Error("an open run has not kept what it needs")
			}
			if r := o.run("workflow", "resume", run); r.code != 0 {
				o.Errorf("port %d mended, then resume: %v", port, r)
			}
			if o.secretsKept() {
				o.Error("secrets are left behind by runs that are over")
			}
			return
		}
	}
	o.Errorf("no run is open:\n%s", id)
}

// secretsKept says whether a journal has the secrets of services.
func (o operator) secretsKept() bool {
	o.Helper()
	files, err := filepath.Glob(filepath.Join(o.home, "weft/runs/*"))
	must(o.T, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(o.T, err)
		if bytes.Contains(text, []byte("hush")) {
			return true
		}
	}
	return false
}

// specs gives the services' specs as the engine has them, by name.
func specs(t *testing.T, n node) map[string]any {
	t.Helper()
	names := strings.Fields(n.weft(t, "service", "ls", "--format", "{{.Name}}"))
	var all []struct{ Spec map[string]any }
	must(t, json.Unmarshal([]byte(n.weft(t, append([]string{"service", "inspect"}, names...)...)), &all))
	out := map[string]any{}
	for i, s := range all {
		out[names[i]] = s.Spec
	}
	return out
}

// answersOnce waits until a port in host mode answers HTTP on one of the nodes,
// and only there, asked from the first one's host.
func answersOnce(t *testing.T, l *lab.Lab, nodes []node, port int) {
	t.Helper()
	from := (&side{lab: l}).hostNet(t, nodes[0])
	await(t, time.Minute, func() (bool, string) {
		n, said := 0, ""
		for _, to := range nodes {
			err := kernel.Do(from, func() error { return get(t.Context(), fmt.Sprintf("%s:%d", to.addr(), port)) })
			if err == nil {
				n++
			}
			said += fmt.Sprintf("%s: %v\n", to.Name, err)
		}
		return n == 1, fmt.Sprintf("port %d answers on %d nodes\n%s", port, n, said)
	})
}

// get asks for a page over a connection of this thread's.
func get(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp4", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.Contains(line, " 200 ") {
		err = errors.New(line)
	}
	return err
}
