package network

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/network"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/ipam"
)

type createOptions struct {
	name       string
	scope      string
	driver     string
	driverOpts opts.MapOpts
	labels     opts.ListOpts
	internal   bool
	ipv4, ipv6 *bool // nil: the engine's choice
	attachable bool
	ingress    bool
	configOnly bool
	configFrom string
	ipam       ipam.Options
}

type creator interface {
	NetworkCreate(ctx context.Context, name string, options network.CreateOptions) (network.CreateResponse, error)
}

func newCreate(env *cmdenv.Env, hook func(*createOptions) error) *cobra.Command {
	o := &createOptions{
		driverOpts: *opts.NewMapOpts(nil, nil),
		labels:     opts.NewListOpts(opts.ValidateLabel),
		ipam:       ipam.NewOptions(),
	}
	var ipv4, ipv6 bool
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NETWORK",
		Short: "Create a network",
		Args:  cmdenv.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			if cmd.Flags().Changed("ipv4") {
				o.ipv4 = &ipv4
			}
			if cmd.Flags().Changed("ipv6") {
				o.ipv6 = &ipv6
			}
			if hook != nil {
				return hook(o)
			}
			request, err := o.request()
			if err != nil {
				return err
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runCreate(cmd.Context(), api, env.Out, o.name, request)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.driver, "driver", "d", "bridge", "Driver to manage the Network")
	flags.VarP(&o.driverOpts, "opt", "o", "Set driver specific options")
	flags.Var(&o.labels, "label", "Set metadata on a network")
	flags.BoolVar(&o.internal, "internal", false, "Restrict external access to the network")
	flags.BoolVar(&ipv4, "ipv4", true, "Enable or disable IPv4 address assignment")
	flags.BoolVar(&ipv6, "ipv6", false, "Enable or disable IPv6 address assignment")
	flags.BoolVar(&o.attachable, "attachable", false, "Enable manual container attachment")
	flags.BoolVar(&o.ingress, "ingress", false, "Create swarm routing-mesh network")
	flags.StringVar(&o.scope, "scope", "", "Control the network's scope")
	flags.BoolVar(&o.configOnly, "config-only", false, "Create a configuration only network")
	flags.StringVar(&o.configFrom, "config-from", "", "The network from which to copy the configuration")
	o.ipam.Bind(flags)
	_ = cmd.RegisterFlagCompletionFunc("driver", complete.Words("bridge", "overlay", "macvlan", "ipvlan"))
	_ = cmd.RegisterFlagCompletionFunc("scope", complete.Words("local", "swarm"))
	_ = cmd.RegisterFlagCompletionFunc("config-from", complete.Networks(env))
	return cmd
}

func (o *createOptions) request() (network.CreateOptions, error) {
	addresses, err := o.ipam.Request()
	if err != nil {
		return network.CreateOptions{}, err
	}
	request := network.CreateOptions{
		Driver:     o.driver,
		Scope:      o.scope,
		EnableIPv4: o.ipv4,
		EnableIPv6: o.ipv6,
		IPAM:       addresses,
		Internal:   o.internal,
		Attachable: o.attachable,
		Ingress:    o.ingress,
		ConfigOnly: o.configOnly,
		Options:    o.driverOpts.GetAll(),
		Labels:     opts.ConvertKVStringsToMap(o.labels.GetSlice()),
	}
	if o.configFrom != "" {
		request.ConfigFrom = &network.ConfigReference{Network: o.configFrom}
	}
	return request, nil
}

func runCreate(ctx context.Context, api creator, out io.Writer, name string, request network.CreateOptions) error {
	created, err := api.NetworkCreate(ctx, name, request)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, created.ID)
	return nil
}
