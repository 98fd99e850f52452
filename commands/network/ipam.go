package network

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/network"
	"github.com/spf13/pflag"
)

// ipamOptions are the flags about addresses. Ranges, gateways and auxiliary
// addresses belong to the subnet that contains them.
type ipamOptions struct {
	driver       string
	driverOpts   opts.MapOpts
	subnets      []string
	ranges       []string
	gateways     []string
	auxAddresses opts.MapOpts
}

func newIPAMOptions() ipamOptions {
	return ipamOptions{driverOpts: *opts.NewMapOpts(nil, nil), auxAddresses: *opts.NewMapOpts(nil, nil)}
}

func (o *ipamOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.driver, "ipam-driver", "default", "IP Address Management Driver")
	flags.StringSliceVar(&o.subnets, "subnet", []string{}, "Subnet in CIDR format that represents a network segment")
	flags.StringSliceVar(&o.ranges, "ip-range", []string{}, "Allocate container ip from a sub-range")
	flags.StringSliceVar(&o.gateways, "gateway", []string{}, "IPv4 or IPv6 Gateway for the master subnet")
	flags.Var(&o.auxAddresses, "aux-address", "Auxiliary IPv4 or IPv6 addresses used by Network driver")
	flags.Var(&o.driverOpts, "ipam-opt", "Set IPAM driver specific options")
}

// request gives one configuration per subnet, in the order of the flags.
func (o *ipamOptions) request() (*network.IPAM, error) {
	if len(o.subnets) < len(o.ranges) || len(o.subnets) < len(o.gateways) {
		return nil, errors.New("every ip-range or gateway must have a corresponding subnet")
	}
	configs := make([]network.IPAMConfig, 0, len(o.subnets))
	for i, subnet := range o.subnets {
		for _, other := range o.subnets[:i] {
			if overlap, err := overlapping(subnet, other); err != nil {
				return nil, err
			} else if overlap {
				return nil, errors.New("multiple overlapping subnet configuration is not supported")
			}
		}
		configs = append(configs, network.IPAMConfig{Subnet: subnet, AuxAddress: map[string]string{}})
	}
	for _, place := range []func([]network.IPAMConfig) error{o.placeRanges, o.placeGateways, o.placeAuxAddresses} {
		if err := place(configs); err != nil {
			return nil, err
		}
	}
	return &network.IPAM{Driver: o.driver, Config: configs, Options: o.driverOpts.GetAll()}, nil
}

func (o *ipamOptions) placeRanges(configs []network.IPAMConfig) error {
	for _, r := range o.ranges {
		if _, _, err := net.ParseCIDR(r); err != nil {
			return err
		}
		c, err := home(configs, r)
		switch {
		case err != nil:
			return err
		case c == nil:
			return fmt.Errorf("no matching subnet for range %s", r)
		case c.IPRange != "":
			return fmt.Errorf("cannot configure multiple ranges (%s, %s) on the same subnet (%s)", r, c.IPRange, c.Subnet)
		}
		c.IPRange = r
	}
	return nil
}

func (o *ipamOptions) placeGateways(configs []network.IPAMConfig) error {
	for _, gateway := range o.gateways {
		c, err := home(configs, gateway)
		switch {
		case err != nil:
			return err
		case c == nil:
			return fmt.Errorf("no matching subnet for gateway %s", gateway)
		case c.Gateway != "":
			return fmt.Errorf("cannot configure multiple gateways (%s, %s) for the same subnet (%s)", gateway, c.Gateway, c.Subnet)
		}
		c.Gateway = gateway
	}
	return nil
}

func (o *ipamOptions) placeAuxAddresses(configs []network.IPAMConfig) error {
	addresses := o.auxAddresses.GetAll()
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		c, err := home(configs, addresses[name])
		switch {
		case err != nil:
			return err
		case c == nil:
			return fmt.Errorf("no matching subnet for aux-address %s", addresses[name])
		}
		c.AuxAddress[name] = addresses[name]
	}
	return nil
}

// home gives the configuration whose subnet contains an address or prefix, nil
// if none does.
func home(configs []network.IPAMConfig, address string) (*network.IPAMConfig, error) {
	for i := range configs {
		inside, err := contains(configs[i].Subnet, address)
		if err != nil {
			return nil, err
		}
		if inside {
			return &configs[i], nil
		}
	}
	return nil, nil
}

func overlapping(a, b string) (bool, error) {
	if inside, err := contains(a, b); err != nil || inside {
		return inside, err
	}
	return contains(b, a)
}

// contains parses with net, whose wording of errors is Docker's.
func contains(subnet, address string) (bool, error) {
	_, prefix, err := net.ParseCIDR(subnet)
	if err != nil {
		return false, fmt.Errorf("invalid subnet: %w", err)
	}
	ip := net.ParseIP(address)
	if strings.Contains(address, "/") {
		if ip, _, err = net.ParseCIDR(address); err != nil {
			return false, err
		}
	}
	return prefix.Contains(ip), nil
}
