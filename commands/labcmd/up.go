package labcmd

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/lab"
)

type upOptions struct {
	place
	hosts    int
	subnets  []string
	mtu      int
	noEngine bool
	timeout  time.Duration
}

func newUp(env *cmdenv.Env, self string) *cobra.Command {
	o := upOptions{place: place{self: self}}
	cmd := &cobra.Command{
		Use:   "up [OPTIONS]",
		Short: "Make a lab and wait until its engines are ready",
		Args:  cmdenv.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return up(cmd.Context(), env, o) },
	}
	o.bind(cmd, env)
	f := cmd.Flags()
	f.IntVar(&o.hosts, "hosts", lab.DefaultHosts, "Number of hosts, which are called host1, host2, ...")
	f.StringArrayVar(&o.subnets, "subnet", nil,
		"Subnet of the network between the hosts, one of IPv4, one of IPv6 (default "+lab.DefaultSubnet+" and one below fd00::/8)")
	f.IntVar(&o.mtu, "mtu", lab.DefaultMTU, "MTU of the network between the hosts")
	f.BoolVar(&o.noEngine, "no-engine", false, "Make hosts that run nothing")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "How long a host may take until it is ready")
	return cmd
}

func (o upOptions) config() (lab.Config, error) {
	cfg := lab.Config{
		StateDir: o.stateDir, Name: o.name, Hosts: o.hosts, MTU: o.mtu, Self: o.self, ReadyTimeout: o.timeout,
	}
	if !o.noEngine {
		cfg.Boot = lab.EngineBoot(o.self)
	}
	for flag, ok := range map[string]bool{"--hosts": o.hosts > 0, "--mtu": o.mtu > 0, "--timeout": o.timeout > 0} {
		if !ok { // zero means the default to the lab, and nothing to a user
			return cfg, cmdenv.StatusError{Code: cmdenv.CodeUsage, Status: flag + " must be greater than zero"}
		}
	}
	for _, s := range o.subnets {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return cfg, cmdenv.StatusError{
				Code:   cmdenv.CodeUsage,
				Status: fmt.Sprintf("--subnet %q: must be a prefix, as in %s", s, lab.DefaultSubnet),
			}
		}
		cfg.Subnets = append(cfg.Subnets, p)
	}
	return cfg, nil
}

func up(ctx context.Context, env *cmdenv.Env, o upOptions) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	l, err := lab.Up(ctx, cfg)
	if err != nil {
		return err
	}
	if err := list(ctx, env, []*lab.Lab{l}, false); err != nil {
		return err
	}
	hosts, err := l.Hosts()
	if err != nil {
		return err
	}
	which := ""
	if o.name != lab.DefaultName {
		which += " --name " + o.name
	}
	if o.stateDir != defaultState(env) {
		which += " --state-dir " + o.stateDir
	}
	_, err = fmt.Fprint(env.Err, strings.NewReplacer("LAB", which, "ADDR", hosts[0].Addr.Addr().String()).Replace(`
A shell on a host:  weft lab shellLAB host1
Make a swarm:       weft lab execLAB host1 -- weft swarm init --advertise-addr ADDR
Remove the lab:     weft lab downLAB
`))
	return err
}

func newDown(env *cmdenv.Env, self string) *cobra.Command {
	p := place{self: self}
	cmd := &cobra.Command{
		Use:   "down [OPTIONS]",
		Short: "Remove a lab with its hosts and their disks",
		Long: "Remove a lab: every process, link, namespace, mount and file of it. What is gone already is no error,\n" +
			"so this also clears away what an interrupted command left.",
		Args: cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := p.open()
			if err != nil {
				return err
			}
			if err := l.Down(cmd.Context()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Out, l.Name)
			return err
		},
	}
	p.bind(cmd, env)
	return cmd
}
