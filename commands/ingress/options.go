package ingress

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/docker/cli/opts"
	"github.com/spf13/pflag"

	"weft/commands/ipam"
	flow "weft/wizard/flows/ingress"
)

// networkOptions are the flags that say what an ingress network is to be like.
type networkOptions struct {
	name       string
	addresses  ipam.Options
	mtu        int
	driverOpts opts.MapOpts
	labels     opts.ListOpts
	ipv4, ipv6 optional
}

// optional is a boolean flag that may be left out: then value is nil. It is a
// pflag.Value.
type optional struct{ value *bool }

func (o *optional) bind(flags *pflag.FlagSet, name, usage string) {
	flags.VarPF(o, name, "", usage).NoOptDefVal = "true"
}

// Set is part of pflag.Value.
func (o *optional) Set(text string) error {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", text)
	}
	o.value = &value
	return nil
}

func (o *optional) String() string {
	if o.value == nil {
		return ""
	}
	return strconv.FormatBool(*o.value)
}

// Type is part of pflag.Value.
func (*optional) Type() string { return "bool" }

func newNetworkOptions() networkOptions {
	return networkOptions{addresses: ipam.NewOptions(), driverOpts: *opts.NewMapOpts(nil, nil), labels: opts.NewListOpts(opts.ValidateLabel)}
}

// bind adds the flags.
func (o *networkOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.name, "name", "", "Name of the new network")
	o.addresses.BindAddresses(flags)
	flags.IntVar(&o.mtu, "mtu", 0, "MTU inside the network, in bytes")
	flags.VarP(&o.driverOpts, "opt", "o", "Set driver specific options")
	flags.Var(&o.labels, "label", "Set metadata on the network")
	o.ipv4.bind(flags, "ipv4", "Enable or disable IPv4 address assignment")
	o.ipv6.bind(flags, "ipv6", "Enable or disable IPv6 address assignment")
}

// answers gives the options of the workflow, and finds what is wrong in
// themselves.
func (o *networkOptions) answers(strategy flow.Strategy) (json.RawMessage, error) {
	addresses, err := o.addresses.Request()
	if err != nil {
		return nil, err
	}
	out := flow.Options{
		Name: o.name, MTU: o.mtu, Opts: o.driverOpts.GetAll(), Labels: opts.ConvertKVStringsToMap(o.labels.GetSlice()),
		IPv4: o.ipv4.value, IPv6: o.ipv6.value, Strategy: strategy,
	}
	for _, c := range addresses.Config {
		out.Pools = append(out.Pools, flow.Pool{Subnet: c.Subnet, IPRange: c.IPRange, Gateway: c.Gateway, AuxAddress: c.AuxAddress})
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write answers: %w", err)
	}
	_, err = flow.ParseOptions(text)
	return text, err
}
