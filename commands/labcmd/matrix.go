package labcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// member is a container of the demonstration on the network.
type member struct{ host, name, addr string }

// members gives every container on the hosts that are on.
func (d *demo) members(ctx context.Context) ([]member, error) {
	hosts, err := d.running(ctx)
	if err != nil {
		return nil, err
	}
	var all []member
	for _, host := range hosts {
		ids, err := d.ask(ctx, host, "ps", "-q", "--filter", "network="+demoNetwork)
		if err != nil {
			return nil, err
		}
		if ids == "" {
			continue
		}
		const format = `{{.Name}} {{(index .NetworkSettings.Networks "` + demoNetwork + `").IPAddress}}`
		out, err := d.ask(ctx, host, append([]string{"inspect", "--format", format}, strings.Fields(ids)...)...)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			name, addr, ok := strings.Cut(strings.TrimSpace(line), " ")
			if !ok || addr == "" {
				return nil, fmt.Errorf("a container on %s has no address on %s: %q", host, demoNetwork, line)
			}
			all = append(all, member{host, strings.TrimPrefix(name, "/"), addr})
		}
	}
	return all, nil
}

// matrix shows that every container reaches every other one.
func (d *demo) matrix(ctx context.Context) error {
	all, err := d.members(ctx)
	if err != nil {
		return err
	}
	var addrs, hosts []string
	for _, m := range all {
		addrs = append(addrs, m.addr)
		if !slices.Contains(hosts, m.host) {
			hosts = append(hosts, m.host)
		}
	}
	for _, host := range hosts {
		args := append([]string{"run", "--rm", "--network", demoNetwork, "weft/probe", "matrix"}, addrs...)
		if err := d.on(ctx, host, args...); err != nil {
			return err
		}
	}
	return nil
}
