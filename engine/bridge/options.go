package bridge

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft/engine/fault"
	"weft/engine/link"
	"weft/engine/model"
)

// Options of a bridge network, in the names of Docker's driver
// (libnetwork/drivers/bridge/labels.go).
const (
	OptionName        = "com.docker.network.bridge.name"
	OptionDefault     = "com.docker.network.bridge.default_bridge"
	OptionICC         = "com.docker.network.bridge.enable_icc"
	OptionMasquerade  = "com.docker.network.bridge.enable_ip_masquerade"
	OptionHostBinding = "com.docker.network.bridge.host_binding_ipv4"
	OptionGatewayV4   = "com.docker.network.bridge.gateway_mode_ipv4"
	OptionGatewayV6   = "com.docker.network.bridge.gateway_mode_ipv6"
	OptionNoGateway   = "com.docker.network.bridge.inhibit_ipv4"
	OptionMTU         = "com.docker.network.driver.mtu"
	OptionIfPrefix    = "com.docker.network.container_iface_prefix"
)

// Gateway modes: addresses translated, or routed as they are.
const (
	gatewayNAT    = "nat"
	gatewayRouted = "routed"
)

// settings are a network's options, parsed.
type settings struct {
	bridge      string
	icc         bool // containers may talk to each other
	masquerade  bool
	hostBinding netip.Addr // of published ports that name no address; may be zero
	routed4     bool
	routed6     bool
	mtu         int
	ifPrefix    string
}

const (
	defaultMTU = 1500
	minMTU     = 68
	minMTUv6   = 1280
	maxMTU     = 65535
)

// Check finds what a bridge network can't be, before anything is made of it.
func Check(nw model.Network) error {
	v4, v6 := 0, 0
	for _, s := range nw.Subnets {
		if s.Prefix.Addr().Is4() {
			v4++
		} else {
			v6++
		}
	}
	if v4 > 1 || v6 > 1 {
		return fault.Forbidden("bridge driver doesn't support multiple subnets")
	}
	_, err := parse(nw)
	return err
}

func parse(nw model.Network) (settings, error) {
	s := settings{bridge: defaultName(nw.ID), icc: true, masquerade: true, mtu: defaultMTU, ifPrefix: "eth"}
	for _, key := range sortedKeys(nw.Options) {
		if err := s.set(key, nw.Options[key]); err != nil {
			return s, err
		}
	}
	least := minMTU
	if nw.IPv6 {
		least = minMTUv6
	}
	if s.mtu < least || s.mtu > maxMTU {
		return s, fault.Invalid("option %s=%d: the MTU of this network must be between %d and %d", OptionMTU, s.mtu, least, maxMTU)
	}
	return s, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// set takes one option. Those of other drivers and plain notes pass, as in
// Docker; those of this driver that would be ignored don't.
func (s *settings) set(key, value string) (err error) {
	switch key {
	case OptionName:
		if value == "" || len(value) > link.MaxName || strings.ContainsAny(value, "/: \t\n%") {
			return fault.Invalid("option %s=%q: a device's name has 1 to %d bytes, without spaces, slashes, colons and percent signs", key, value, link.MaxName)
		}
		s.bridge = value
	case OptionICC:
		s.icc, err = truth(key, value)
	case OptionMasquerade:
		s.masquerade, err = truth(key, value)
	case OptionDefault:
		_, err = truth(key, value)
	case OptionHostBinding:
		if s.hostBinding, err = netip.ParseAddr(value); err != nil {
			return fault.Invalid("option %s=%q: must be an IP address: %w", key, value, err)
		}
	case OptionGatewayV4:
		s.routed4, err = mode(key, value)
	case OptionGatewayV6:
		s.routed6, err = mode(key, value)
	case OptionMTU:
		if s.mtu, err = strconv.Atoi(value); err != nil {
			return fault.Invalid("option %s=%q: must be a number of bytes", key, value)
		}
		if s.mtu == 0 {
			s.mtu = defaultMTU
		}
	case OptionIfPrefix:
		if value == "" || len(value) > link.MaxName-4 || strings.ContainsAny(value, "/: \t\n%") {
			return fault.Invalid("option %s=%q: must have 1 to %d bytes, without spaces, slashes, colons and percent signs", key, value, link.MaxName-4)
		}
		s.ifPrefix = value
	default:
		if strings.HasPrefix(key, "com.docker.network.bridge.") {
			return fault.Unsupported("this engine's bridge networks have no option %s", key)
		}
	}
	return err
}

func truth(key, value string) (bool, error) {
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fault.Invalid("option %s=%q: must be true or false", key, value)
	}
	return b, nil
}

func mode(key, value string) (routed bool, err error) {
	switch value {
	case "", gatewayNAT:
		return false, nil
	case gatewayRouted:
		return true, nil
	}
	return false, fault.Unsupported("option %s=%s: this engine's bridge networks have the modes %s and %s", key, value, gatewayNAT, gatewayRouted)
}
