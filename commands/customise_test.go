package commands_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/commands/swarmtest"
	"weft/wizard"
	"weft/wizard/flows/ingress"
)

// TestNodeContexts asks the nodes themselves, two of them over ssh.
func TestNodeContexts(t *testing.T) {
	o := newOperator(t)
	contexts := []string{"--node-context", "node1=" + o.swarm.Host(), "--node-context", "node2=ssh://someone@web1"}
	t.Setenv("BRIDGE_SOCKET", o.swarm.NodeSocket("node2"))
	r := o.want(o.weft(toNew(append(contexts, "--dry-run")...)...), 0, "node3 can't be asked", "10s")
	if strings.Contains(r.out, "node2 can't") {
		t.Errorf("node2 was not asked:\n%s", r.out)
	}
	o.want(o.weft(toNew(append(contexts, "--node-context", "node3=unix://"+o.swarm.NodeSocket("node3"), "--dry-run")...)...), 0, "every node is asked")
	t.Setenv("BRIDGE_SOCKET", "/nowhere.sock")
	o.want(o.weft(toNew(append(contexts, "--dry-run")...)...), 1, "node2")
	o.want(o.weft(toNew("--node-context", "node2")...), 1, "give NODE=CONTEXT or NODE=HOST")
}

// TestSpecNotUnderstood has services with members that today's client types
// lose. Nothing is done to them.
func TestSpecNotUnderstood(t *testing.T) {
	o := newOperator(t, swarmtest.WithUnknownFields())
	before := o.swarm.State()
	o.want(o.weft(agreed(toNew()...)...), 10, "spec-not-understood", "use a weft that is as new as the engine", "nothing was changed")
	if o.swarm.State() != before {
		t.Errorf("before\n%s\nafter\n%s", before, o.swarm.State())
	}
}

// TestFamilies turns address families on and off.
func TestFamilies(t *testing.T) {
	o := newOperator(t, swarmtest.WithEngine("28.5.2", "1.51"))
	for _, c := range []struct {
		args       []string
		code       int
		text       string
		ipv4, ipv6 string // in the answers
	}{
		{args: []string{"--ipv6"}, code: 10, text: "ipv6-without-subnet"},
		{args: []string{"--ipv6", "--subnet", "10.11.0.0/16", "--subnet", "fd00:11::/64"}, text: "--ipv6=true", ipv6: "true"},
		{args: []string{"--ipv6", "--subnet", "10.11.0.0/16", "--subnet", "fd00:11::/64", "--mtu", "1200"}, code: 10, text: "mtu-below-ipv6"},
		{args: []string{"--ipv4", "--ipv6=false", "--subnet", "10.11.0.0/16"}, text: "--ipv4=true --ipv6=false", ipv4: "true", ipv6: "false"},
		{args: []string{"--ipv6=perhaps"}, code: 125, text: "invalid"},
	} {
		file := filepath.Join(t.TempDir(), "plan.json")
		o.want(o.weft(append([]string{"ingress", "customise", "--plan", file}, c.args...)...), c.code, c.text)
		if c.code != 0 {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := wizard.ParsePlan(text)
		if err != nil {
			t.Fatal(err)
		}
		var answers ingress.Options
		if err := json.Unmarshal(plan.Answers, &answers); err != nil {
			t.Fatal(err)
		}
		if answered(answers.IPv4) != c.ipv4 || answered(answers.IPv6) != c.ipv6 {
			t.Errorf("%v: answers %s", c.args, plan.Answers)
		}
	}
	services := o.services()
	o.want(o.weft(agreed("ingress", "customise", "--name", "both", "--ipv6", "--subnet", "10.11.0.0/16", "--subnet", "fd00:11::/64")...), 0, "Done: run ")
	if state := o.swarm.State(); !strings.Contains(state, "fd00:11::/64") {
		t.Error(state)
	}
	if now := o.services(); now != services {
		t.Errorf("services before\n%s\nafter\n%s", services, now)
	}
}

func answered(b *bool) string {
	switch {
	case b == nil:
		return ""
	case *b:
		return "true"
	}
	return "false"
}
