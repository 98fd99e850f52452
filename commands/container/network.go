package container

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// endpoints gives the settings of each attachment. The flags that name no
// network (--ip, --network-alias, ...) are about the first one.
func (f *networkFlags) endpoints() (map[string]*network.EndpointSettings, error) {
	list := slices.Clone(f.networks.Value())
	if len(list) == 0 {
		list = []opts.NetworkAttachmentOpts{{Target: network.NetworkDefault}}
	}
	out := make(map[string]*network.EndpointSettings, len(list))
	own, predefined := false, false
	for i, n := range list {
		if len(f.networks.Value()) > 0 {
			own = own || isUserDefined(n)
			predefined = predefined || !isUserDefined(n)
		}
		if i == 0 {
			if err := f.applyTo(&n); err != nil {
				return nil, err
			}
		}
		settings, err := endpointSettings(n)
		if err != nil {
			return nil, err
		}
		if _, dup := out[n.Target]; dup {
			return nil, fmt.Errorf("network %q is specified multiple times", n.Target)
		}
		if len(f.networks.Value()) == 1 && isPlain(n) {
			continue // the daemon makes it from the network mode
		}
		out[n.Target] = settings
	}
	if own && predefined {
		return nil, errors.New("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
	}
	return out, nil
}

func isUserDefined(n opts.NetworkAttachmentOpts) bool {
	return container.NetworkMode(n.Target).IsUserDefined()
}

// isPlain reports that nothing but the network was said.
func isPlain(n opts.NetworkAttachmentOpts) bool {
	return len(n.Aliases)+len(n.DriverOpts)+len(n.Links)+len(n.LinkLocalIPs)+n.GwPriority == 0 &&
		n.IPv4Address == "" && n.IPv6Address == "" && n.MacAddress == ""
}

// applyTo adds what the flags without a network say. Saying a thing both ways
// is refused.
func (f *networkFlags) applyTo(n *opts.NetworkAttachmentOpts) error {
	lists := []struct {
		field    *[]string
		values   []string
		conflict string
	}{
		{&n.Aliases, f.aliases.GetSlice(), "--network-alias and per-network alias"},
		{&n.Links, f.links.GetSlice(), "--link and per-network links"},
		{&n.LinkLocalIPs, f.linkLocalIPs.GetSlice(), "--link-local-ip and per-network link-local IP addresses"},
	}
	for _, l := range lists {
		switch {
		case len(l.values) == 0:
		case len(*l.field) > 0:
			return bothWays(l.conflict)
		case l.field == &n.Links && !isUserDefined(*n):
			// On the default bridge links belong to the container.
		default:
			*l.field = slices.Clone(l.values)
		}
	}
	texts := []struct {
		field    *string
		value    string
		conflict string
	}{
		{&n.IPv4Address, f.ip, "--ip and per-network IPv4 address"},
		{&n.IPv6Address, f.ip6, "--ip6 and per-network IPv6 address"},
		{&n.MacAddress, f.mac, "--mac-address and per-network MAC address"},
	}
	for _, t := range texts {
		switch {
		case t.value == "":
		case *t.field != "":
			return bothWays(t.conflict)
		default:
			*t.field = t.value
		}
	}
	return nil
}

func bothWays(what string) error {
	return errors.New("conflicting options: cannot specify both " + what)
}

func endpointSettings(n opts.NetworkAttachmentOpts) (*network.EndpointSettings, error) {
	if strings.TrimSpace(n.Target) == "" {
		return nil, errors.New("no name set for network")
	}
	if !isUserDefined(n) && len(n.Aliases) > 0 {
		return nil, errors.New("network-scoped aliases are only supported for user-defined networks")
	}
	if !isUserDefined(n) && len(n.Links) > 0 {
		return nil, errors.New("links are only supported for user-defined networks")
	}
	if n.MacAddress != "" {
		if _, err := net.ParseMAC(strings.TrimSpace(n.MacAddress)); err != nil {
			return nil, fmt.Errorf("%s is not a valid mac address", n.MacAddress)
		}
	}
	settings := &network.EndpointSettings{
		Aliases:    append([]string(nil), n.Aliases...), // none is null, not []
		DriverOpts: n.DriverOpts,
		Links:      n.Links,
		MacAddress: n.MacAddress,
		GwPriority: n.GwPriority,
	}
	if n.IPv4Address != "" || n.IPv6Address != "" || len(n.LinkLocalIPs) > 0 {
		settings.IPAMConfig = &network.EndpointIPAMConfig{
			IPv4Address:  n.IPv4Address,
			IPv6Address:  n.IPv6Address,
			LinkLocalIPs: n.LinkLocalIPs,
		}
	}
	return settings, nil
}
