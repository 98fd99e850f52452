package container

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/render"
)

// portOptions are the arguments of `port`.
type portOptions struct {
	container string
	port      string // empty: all
}

// NewPort gives the `port` command.
func NewPort(env *cmdenv.Env) *cobra.Command { return newPortCommand(env, nil) }

func newPortCommand(env *cmdenv.Env, hook func(*portOptions) error) *cobra.Command {
	o := &portOptions{}
	return &cobra.Command{
		Use:               "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Short:             "List port mappings or a specific mapping for the container",
		Args:              cmdenv.RangeArgs(1, 2),
		ValidArgsFunction: complete.Containers(env, false, nil),
		Annotations:       cmdenv.AlsoKnownAs("container port", "port"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.container = args[0]
			if len(args) > 1 {
				o.port = args[1]
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runPort(cmd.Context(), env, api, o)
		},
	}
}

func runPort(ctx context.Context, env *cmdenv.Env, api Inspector, o *portOptions) error {
	c, err := api.ContainerInspect(ctx, o.container)
	if err != nil {
		return err
	}
	ports := nat.PortMap{}
	if c.NetworkSettings != nil {
		ports = c.NetworkSettings.Ports
	}
	var lines []string
	if o.port == "" {
		for port, bindings := range ports {
			for _, b := range bindings {
				lines = append(lines, fmt.Sprintf("%s -> %s", port, net.JoinHostPort(b.HostIP, b.HostPort)))
			}
		}
	} else if lines, err = bindingsOf(ports, o); err != nil {
		return err
	}
	slices.SortFunc(lines, render.CompareNatural)
	for _, line := range lines {
		fmt.Fprintln(env.Out, line)
	}
	return nil
}

func bindingsOf(ports nat.PortMap, o *portOptions) ([]string, error) {
	number, protocol, _ := strings.Cut(o.port, "/")
	if protocol == "" {
		protocol = "tcp"
	}
	if _, err := strconv.ParseUint(number, 10, 16); err != nil {
		return nil, fmt.Errorf("Error: invalid port (%s): %w", number, err)
	}
	bindings := ports[nat.Port(number+"/"+protocol)]
	if len(bindings) == 0 {
		return nil, fmt.Errorf("Error: No public port '%s' published for %s", o.port, o.container)
	}
	lines := make([]string, 0, len(bindings))
	for _, b := range bindings {
		lines = append(lines, net.JoinHostPort(b.HostIP, b.HostPort))
	}
	return lines, nil
}
