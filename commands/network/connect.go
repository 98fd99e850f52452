package network

import (
	"context"
	"errors"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

type connectOptions struct {
	network      string
	container    string
	ip, ip6      string
	links        opts.ListOpts
	aliases      []string
	linkLocalIPs []string
	driverOpts   []string
	gwPriority   int
}

type connector interface {
	NetworkConnect(ctx context.Context, name, container string, config *network.EndpointSettings) error
}

func newConnect(env *cmdenv.Env, hook func(*connectOptions) error) *cobra.Command {
	o := &connectOptions{links: opts.NewListOpts(opts.ValidateLink)}
	cmd := &cobra.Command{
		Use:   "connect [OPTIONS] NETWORK CONTAINER",
		Short: "Connect a container to a network",
		Args:  cmdenv.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.network, o.container = args[0], args[1]
			if hook != nil {
				return hook(o)
			}
			settings, err := o.settings()
			if err != nil {
				return err
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runConnect(cmd.Context(), api, o, settings)
		},
		ValidArgsFunction: completeEnds(env, false),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.ip, "ip", "", `IPv4 address (e.g., "172.30.100.104")`)
	flags.StringVar(&o.ip6, "ip6", "", `IPv6 address (e.g., "2001:db8::33")`)
	flags.Var(&o.links, "link", "Add link to another container")
	flags.StringSliceVar(&o.aliases, "alias", []string{}, "Add network-scoped alias for the container")
	flags.StringSliceVar(&o.linkLocalIPs, "link-local-ip", []string{}, "Add a link-local address for the container")
	flags.StringSliceVar(&o.driverOpts, "driver-opt", []string{}, "driver options for the network")
	flags.IntVar(&o.gwPriority, "gw-priority", 0, "Highest gw-priority provides the default gateway. Accepts positive and negative values.")
	return cmd
}

func (o *connectOptions) settings() (*network.EndpointSettings, error) {
	driverOpts := make(map[string]string, len(o.driverOpts))
	for _, option := range o.driverOpts {
		key, value, ok := strings.Cut(option, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, errors.New("invalid key/value pair format in driver options")
		}
		driverOpts[key] = strings.TrimSpace(value)
	}
	return &network.EndpointSettings{
		IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: o.ip, IPv6Address: o.ip6, LinkLocalIPs: o.linkLocalIPs},
		Links:      o.links.GetSlice(),
		Aliases:    o.aliases,
		DriverOpts: driverOpts,
		GwPriority: o.gwPriority,
	}, nil
}

func runConnect(ctx context.Context, api connector, o *connectOptions, settings *network.EndpointSettings) error {
	return api.NetworkConnect(ctx, o.network, o.container, settings)
}

// completeEnds offers a network, then containers that are attached to it or
// are not.
func completeEnds(env *cmdenv.Env, attached bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return complete.Networks(env)(cmd, args, word)
		case 1:
			return complete.Containers(env, true, func(c container.Summary) bool {
				if c.NetworkSettings == nil {
					return !attached
				}
				_, on := c.NetworkSettings.Networks[args[0]]
				return on == attached
			})(cmd, args, word)
		default:
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
}
