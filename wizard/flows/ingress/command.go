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
	words := []string{"weft", "ingress", "customise"}
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
	words = append(words, boolean("ipv4", o.IPv4)...)
	words = append(words, boolean("ipv6", o.IPv6)...)
	if o.Strategy != Detach {
		flag("strategy", string(o.Strategy))
	}
	return wizard.CommandLine(words...)
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
