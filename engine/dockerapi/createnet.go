package dockerapi

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"weft/engine/fault"
	"weft/engine/model"
)

// portRequests reads which ports a container has and which of them the host
// is to have too.
func portRequests(exposed nat.PortSet, bindings nat.PortMap) (expose []model.Port, out []model.PortBinding, err error) {
	for p := range exposed {
		port, err := portOf(p)
		if err != nil {
			return nil, nil, err
		}
		expose = append(expose, port)
	}
	for p, list := range bindings {
		port, err := portOf(p)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(expose, port) {
			expose = append(expose, port)
		}
		if len(list) == 0 {
			list = []nat.PortBinding{{}}
		}
		for _, b := range list {
			binding, err := bindingOf(port, b)
			if err != nil {
				return nil, nil, err
			}
			out = append(out, binding)
		}
	}
	slices.SortFunc(expose, comparePorts)
	slices.SortStableFunc(out, func(a, b model.PortBinding) int { return comparePorts(a.Port, b.Port) })
	return expose, out, nil
}

func comparePorts(a, b model.Port) int {
	if a.Port != b.Port {
		return int(a.Port) - int(b.Port)
	}
	return strings.Compare(a.Proto, b.Proto)
}

func portOf(p nat.Port) (model.Port, error) {
	n, err := strconv.ParseUint(p.Port(), 10, 16)
	if err != nil || n == 0 {
		return model.Port{}, fault.Invalid("invalid port specification: %q", string(p))
	}
	switch p.Proto() {
	case "tcp", "udp", "sctp":
		return model.Port{Proto: p.Proto(), Port: uint16(n)}, nil
	}
	return model.Port{}, fault.Invalid("invalid port specification: %q: the protocol must be tcp, udp or sctp", string(p))
}

func bindingOf(p model.Port, b nat.PortBinding) (out model.PortBinding, err error) {
	out.Port = p
	if b.HostIP != "" {
		if out.HostIP, err = netip.ParseAddr(b.HostIP); err != nil {
			return out, fault.Invalid("invalid IP address to publish port %d at: %q", p.Port, b.HostIP)
		}
	}
	if b.HostPort == "" {
		return out, nil
	}
	first, last, err := nat.ParsePortRange(b.HostPort)
	if err != nil || last > 65535 {
		return out, fault.Invalid("invalid port specification: %q", b.HostPort)
	}
	out.HostPort, out.HostPortEnd = uint16(first), uint16(last) //nolint:gosec // at most 65535
	return out, nil
}

// namingOf reads what the container's resolver is told.
func namingOf(h *container.HostConfig) (model.Naming, error) {
	out := model.Naming{Search: h.DNSSearch, Options: h.DNSOptions, ExtraHosts: h.ExtraHosts}
	for _, text := range h.DNS {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return out, fault.Invalid("invalid DNS server: %q is not an IP address", text)
		}
		out.Servers = append(out.Servers, a)
	}
	for _, domain := range slices.Concat(h.DNSSearch, h.DNSOptions) {
		if domain == "" || strings.ContainsAny(domain, " \t\n") {
			return out, fault.Invalid("invalid DNS setting %q: must be a word", domain)
		}
	}
	for _, extra := range h.ExtraHosts {
		name, addr, ok := strings.Cut(extra, ":")
		_, err := netip.ParseAddr(strings.Trim(addr, "[]"))
		if !ok || name == "" || strings.ContainsAny(name, " \t\n") || (err != nil && addr != "host-gateway") {
			return out, fault.Invalid("bad format for add-host: %q", extra)
		}
	}
	return out, nil
}

// portMap gives the ports of a container in Docker's form: those published
// with their places on the host, the others with none.
func portMap(c model.Container) nat.PortMap {
	out := nat.PortMap{}
	if c.State == model.StateRunning {
		for _, p := range c.Spec.Expose {
			out[natPort(p)] = nil
		}
	}
	for _, p := range publishedPorts(c) {
		out[natPort(p.Port)] = append(out[natPort(p.Port)], nat.PortBinding{HostIP: text(p.HostIP), HostPort: hostPort(p.HostPort)})
	}
	return out
}

// portBindings gives what was asked for.
func portBindings(c model.Container) nat.PortMap {
	out := nat.PortMap{}
	for _, b := range c.Spec.Ports {
		port := hostPort(b.HostPort)
		if b.HostPortEnd > b.HostPort {
			port += "-" + hostPort(b.HostPortEnd)
		}
		out[natPort(b.Port)] = append(out[natPort(b.Port)], nat.PortBinding{HostIP: text(b.HostIP), HostPort: port})
	}
	return out
}

func publishedPorts(c model.Container) []model.PublishedPort {
	var out []model.PublishedPort
	for _, ep := range c.AllEndpoints() {
		out = append(out, ep.Ports...)
	}
	return out
}

// summaryPorts gives the ports as a list of containers has them.
func summaryPorts(c model.Container) []container.Port {
	out := []container.Port{}
	if c.State != model.StateRunning {
		return out
	}
	published := publishedPorts(c)
	for _, p := range published {
		out = append(out, container.Port{IP: text(p.HostIP), PrivatePort: p.Port.Port, PublicPort: p.HostPort, Type: p.Proto})
	}
	for _, p := range c.Spec.Expose {
		if !slices.ContainsFunc(published, func(q model.PublishedPort) bool { return q.Port == p }) {
			out = append(out, container.Port{PrivatePort: p.Port, Type: p.Proto})
		}
	}
	return out
}

func natPort(p model.Port) nat.Port { return nat.Port(strconv.Itoa(int(p.Port)) + "/" + p.Proto) }

func hostPort(p uint16) string {
	if p == 0 {
		return ""
	}
	return strconv.Itoa(int(p))
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
