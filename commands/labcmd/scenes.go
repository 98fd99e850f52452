package labcmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weft/engine/lab"
)

const (
	demoNetwork  = "my-overlay"
	demoService  = "web"
	demoReplicas = 6
	manager      = "host1"
	victim       = "host3"
	// downTimeout is more than SwarmKit takes to call a silent node down and
	// to start its tasks elsewhere.
	downTimeout = 60 * time.Second
)

// play shows one scene after another.
func (d *demo) play(ctx context.Context) error {
	for _, scene := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"Three hosts on this machine, an engine on each", d.makeLab},
		{"A swarm: host1 manages, host2 and host3 join", d.makeSwarm},
		{"An overlay network across the hosts", d.makeNetwork},
		{"A service of six tasks on it, and a container on every host", d.makeContainers},
		{"Everyone reaches everyone, by address, across hosts", d.matrix},
		{"host3 loses power: its tasks come back elsewhere", d.loseHost},
		{"Those that are left still reach each other", d.matrix},
	} {
		if err := d.scene(scene.title); err != nil {
			return err
		}
		if err := scene.play(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) makeLab(ctx context.Context) error {
	line := fmt.Sprintf("weft lab up --name %s --hosts %d", d.name, demoHosts)
	return d.show(ctx, "", line, append(strings.Fields(line)[1:], "--state-dir", d.stateDir))
}

func (d *demo) makeSwarm(ctx context.Context) error {
	l, err := d.open()
	if err != nil {
		return err
	}
	hosts, err := l.Hosts()
	if err != nil {
		return err
	}
	first := hosts[0].Addr.Addr().String()
	if err := d.on(ctx, manager, "swarm", "init", "--advertise-addr", first); err != nil {
		return err
	}
	token, err := d.ask(ctx, manager, "swarm", "join-token", "-q", "worker")
	if err != nil {
		return err
	}
	for _, h := range hosts[1:] {
		join := []string{"swarm", "join", "--advertise-addr", h.Addr.Addr().String(), "--token", token, first + ":2377"}
		line := strings.ReplaceAll("weft "+strings.Join(join, " "), token, "$TOKEN")
		if err := d.show(ctx, h.Name, line, join); err != nil {
			return err
		}
	}
	return d.on(ctx, manager, "node", "ls")
}

func (d *demo) makeNetwork(ctx context.Context) error {
	err := d.on(ctx, manager, "network", "create", "-d", "overlay", "--attachable",
		"--subnet", "10.20.0.0/16", "--gateway", "10.20.0.1", demoNetwork)
	if err != nil {
		return err
	}
	return d.on(ctx, manager, "network", "ls", "--filter", "driver=overlay")
}

func (d *demo) makeContainers(ctx context.Context) error {
	err := d.on(ctx, manager, "service", "create", "--quiet", "--name", demoService, "--network", demoNetwork,
		"--replicas", strconv.Itoa(demoReplicas), "weft/probe")
	if err != nil {
		return err
	}
	if err := d.on(ctx, manager, "service", "ps", demoService); err != nil {
		return err
	}
	for n := range demoHosts {
		err := d.on(ctx, fmt.Sprintf("host%d", n+1), "run", "-d", "--name", fmt.Sprintf("box%d", n+1), "--network", demoNetwork, "weft/probe")
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) loseHost(ctx context.Context) error {
	line := "weft lab kill --name " + d.name + " " + victim
	if err := d.show(ctx, "", line, []string{"lab", "kill", "--name", d.name, "--state-dir", d.stateDir, victim}); err != nil {
		return err
	}
	if err := d.say("(host1 waits for the heartbeats of %s, then starts its tasks elsewhere)\n", victim); err != nil {
		return err
	}
	err := d.await(ctx, downTimeout, "six tasks on the hosts that are left", func() (bool, error) {
		out, err := d.ask(ctx, manager, "service", "ps", demoService, "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
		return strings.Count(out, " Running ") == demoReplicas && !strings.Contains(out, victim), err
	})
	if err != nil {
		return err
	}
	if err := d.on(ctx, manager, "node", "ls"); err != nil {
		return err
	}
	return d.on(ctx, manager, "service", "ps", demoService)
}

// running gives the hosts that are on.
func (d *demo) running(ctx context.Context) ([]string, error) {
	l, err := d.open()
	if err != nil {
		return nil, err
	}
	hosts, err := l.Status(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range hosts {
		if h.Engine != lab.EngineOff {
			names = append(names, h.Name)
		}
	}
	return names, nil
}
