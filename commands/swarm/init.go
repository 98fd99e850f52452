package swarm

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type initOptions struct {
	addressOptions
	specOptions
	dataPathPort    uint32
	forceNewCluster bool
	addrPools       []net.IPNet
	addrPoolMask    uint32
}

type initializer interface {
	clusterAPI
	SwarmInit(ctx context.Context, req swarm.InitRequest) (string, error)
}

func newInit(env *cmdenv.Env, hook func(swarm.InitRequest) error) *cobra.Command {
	o := &initOptions{addressOptions: newAddressOptions()}
	cmd := &cobra.Command{
		Use:   "init [OPTIONS]",
		Short: "Initialize a swarm",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := o.request(cmd)
			if err != nil {
				return err
			}
			if hook != nil {
				return hook(req)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			if err := runInit(cmd.Context(), api, printer{env.Out, cmd.Root().Name()}, req); err != nil {
				return err
			}
			warnDeaf(cmd.Context(), env, api)
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	o.addressOptions.bind(cmd)
	o.specOptions.bind(flags, "Enable manager autolocking (requiring an unlock key to start a stopped manager)")
	flags.Uint32Var(&o.dataPathPort, "data-path-port", 0,
		"Port number to use for data path traffic (1024 - 49151). If no value is set or is set to 0, the default port (4789) is used.")
	flags.BoolVar(&o.forceNewCluster, "force-new-cluster", false, "Force create a new cluster from current state")
	flags.IPNetSliceVar(&o.addrPools, "default-addr-pool", []net.IPNet{}, "default address pool in CIDR format")
	flags.Uint32Var(&o.addrPoolMask, "default-addr-pool-mask-length", 24, "default address pool subnet mask length")
	return cmd
}

func (o *initOptions) request(cmd *cobra.Command) (swarm.InitRequest, error) {
	req := swarm.InitRequest{
		ListenAddr:       o.listen.String(),
		AdvertiseAddr:    o.advertise,
		DataPathAddr:     o.dataPath,
		DataPathPort:     o.dataPathPort,
		ForceNewCluster:  o.forceNewCluster,
		AutoLockManagers: o.autolock,
		DefaultAddrPool:  make([]string, 0, len(o.addrPools)),
		SubnetSize:       o.addrPoolMask,
	}
	for _, pool := range o.addrPools {
		req.DefaultAddrPool = append(req.DefaultAddrPool, pool.String())
	}
	o.specOptions.apply(&req.Spec, cmd.Flags(), "")
	if !cmd.Flags().Changed("availability") {
		return req, nil
	}
	var err error
	req.Availability, err = parseAvailability(o.availability)
	return req, err
}

func runInit(ctx context.Context, api initializer, p printer, req swarm.InitRequest) error {
	nodeID, err := api.SwarmInit(ctx, req)
	if err != nil {
		return explainInit(err, req)
	}
	fmt.Fprintf(p.out, "Swarm initialized: current node (%s) is now a manager.\n\n", nodeID)
	if err := p.joinCommands(ctx, api, nodeID, "worker"); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "To add a manager to this swarm, run '%s swarm join-token manager' and follow the instructions.\n", p.program)
	if !req.AutoLockManagers {
		return nil
	}
	return p.fetchUnlockKey(ctx, api)
}

// explainInit adds what Docker's client adds, and which port is taken.
func explainInit(err error, req swarm.InitRequest) error {
	for _, text := range []string{"could not choose an IP address to advertise", "could not find the system's IP address"} {
		if strings.Contains(err.Error(), text) {
			return fmt.Errorf("%w - specify one with --advertise-addr", err)
		}
	}
	return explainBind(err, portsOf(req.ListenAddr, req.DataPathPort))
}
