package ingress

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"weft/wizard"
)

// CommandLine gives the weft command that asks for these options.
func CommandLine(o Options) string {
	words := append([]string{"weft", "ingress", "customise"}, o.flags()...)
	if o.Strategy != Detach {
		words = append(words, "--strategy", string(o.Strategy))
	}
	return wizard.CommandLine(words...)
}

// repairLine gives the weft command that asks for a repair.
func repairLine(o RepairOptions) string {
	words := append([]string{"weft", "ingress", "repair"}, o.flags()...)
	for _, name := range o.Skip {
		words = append(words, "--skip", name)
	}
	return wizard.CommandLine(words...)
}

// flags are those that say what a network is to be like.
func (o *Options) flags() []string {
	var words []string
	flag := func(name, value string) {
		if value != "" {
			words = append(words, "--"+name, value)
		}
	}
	flag("name", o.Name)
	for _, p := range o.Pools {
		flag("subnet", p.Subnet)
		flag("gateway", p.Gateway)
		flag("ip-range", p.IPRange)
		pairs("aux-address", p.AuxAddress, flag)
	}
	if o.MTU != 0 {
		flag("mtu", strconv.Itoa(o.MTU))
	}
	pairs("opt", o.Opts, flag)
	pairs("label", o.Labels, flag)
	return append(append(words, boolean("ipv4", o.IPv4)...), boolean("ipv6", o.IPv6)...)
}

func boolean(name string, value *bool) []string {
	if value == nil {
		return nil
	}
	return []string{fmt.Sprintf("--%s=%t", name, *value)}
}

func pairs(name string, m map[string]string, flag func(name, value string)) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		flag(name, key+"="+m[key])
	}
}
