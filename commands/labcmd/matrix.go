package labcmd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// member is a container of the demonstration on the network.
type member struct {
	host, name string
	addr       netip.Addr
}

// members gives every container on the hosts that are on, by address.
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
			name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("find the address of %s of %s on %s: %w", name, host, demoNetwork, err)
			}
			name = strings.TrimPrefix(name, "/")
			if parts := strings.Split(name, "."); len(parts) == 3 { // SERVICE.SLOT.TASK
				name = parts[0] + "." + parts[1]
			}
			all = append(all, member{host, name, addr})
		}
	}
	slices.SortFunc(all, func(a, b member) int { return a.addr.Compare(b.addr) })
	return all, nil
}

// matrix shows that every container reaches every other one: weft/probe asks
// each for what it reaches.
func (d *demo) matrix(ctx context.Context) error {
	all, err := d.members(ctx)
	if err != nil {
		return err
	}
	addrs := make([]string, len(all))
	for i, m := range all {
		addrs[i] = m.addr.String()
		if err := d.say("%2d  %-12s %-6s on %s\n", i+1, m.addr, m.name, m.host); err != nil {
			return err
		}
	}
	return d.on(ctx, manager, append([]string{"run", "--rm", "--network", demoNetwork, "weft/probe", "matrix"}, addrs...)...)
}
