// Package ipam has the flags that say which addresses a network is to have.
package ipam

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

	"weft/wizard"
)

// Options are the flags about addresses. Ranges, gateways and auxiliary
// addresses belong to the subnet that contains them.
type Options struct {
	Driver       string
	DriverOpts   opts.MapOpts
	Subnets      []string
	Ranges       []string
	Gateways     []string
	AuxAddresses opts.MapOpts
}

// NewOptions gives options to bind.
func NewOptions() Options {
	return Options{DriverOpts: *opts.NewMapOpts(nil, nil), AuxAddresses: *opts.NewMapOpts(nil, nil)}
}

// Bind adds the flags.
func (o *Options) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.Driver, "ipam-driver", "default", "IP Address Management Driver")
	o.BindAddresses(flags)
	flags.Var(&o.DriverOpts, "ipam-opt", "Set IPAM driver specific options")
}

// BindAddresses adds the flags, but not those about the driver.
func (o *Options) BindAddresses(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.Subnets, "subnet", []string{}, "Subnet in CIDR format that represents a network segment")
	flags.StringSliceVar(&o.Ranges, "ip-range", []string{}, "Allocate container ip from a sub-range")
	flags.StringSliceVar(&o.Gateways, "gateway", []string{}, "IPv4 or IPv6 Gateway for the master subnet")
	flags.Var(&o.AuxAddresses, "aux-address", "Auxiliary IPv4 or IPv6 addresses used by Network driver")
}

// Request gives one configuration per subnet, in the order of the flags.
func (o *Options) Request() (*network.IPAM, error) {
	if len(o.Subnets) < len(o.Ranges) || len(o.Subnets) < len(o.Gateways) {
		return nil, of("subnet", errors.New("every ip-range or gateway must have a corresponding subnet"))
	}
	configs := make([]network.IPAMConfig, 0, len(o.Subnets))
	for i, subnet := range o.Subnets {
		for _, other := range o.Subnets[:i] {
			if overlap, err := overlapping(subnet, other); err != nil {
				return nil, of("subnet", err)
			} else if overlap {
				return nil, of("subnet", errors.New("multiple overlapping subnet configuration is not supported"))
			}
		}
		configs = append(configs, network.IPAMConfig{Subnet: subnet, AuxAddress: map[string]string{}})
	}
	for _, place := range []struct {
		flag string
		in   func([]network.IPAMConfig) error
	}{{"ip-range", o.placeRanges}, {"gateway", o.placeGateways}, {"aux-address", o.placeAuxAddresses}} {
		if err := place.in(configs); err != nil {
			return nil, of(place.flag, err)
		}
	}
	return &network.IPAM{Driver: o.Driver, Config: configs, Options: o.DriverOpts.GetAll()}, nil
}

func (o *Options) placeRanges(configs []network.IPAMConfig) error {
	for _, r := range o.Ranges {
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

func (o *Options) placeGateways(configs []network.IPAMConfig) error {
	for _, gateway := range o.Gateways {
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

func (o *Options) placeAuxAddresses(configs []network.IPAMConfig) error {
	addresses := o.AuxAddresses.GetAll()
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

// of says which flag an error is about.
func of(flag string, err error) error { return &wizard.AnswerError{Answer: flag, Err: err} }

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
