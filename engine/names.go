package engine

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"weft/engine/dns"
	"weft/engine/localnet"
	"weft/engine/model"
	"weft/engine/runtime"
)

// hostGateway is Docker's word for the host's address in --add-host.
const hostGateway = "host-gateway"

// setNames gives a container what it resolves names with: /etc/hosts,
// /etc/resolv.conf and the resolver in its sandbox.
func (e *Engine) setNames(c model.Container) error {
	if err := e.directory.enter(e.place(c)); err != nil {
		return err
	}
	return e.runtime.SetNames(c.ID, e.hosts(c), e.resolve(c))
}

// place describes a container to the directory.
func (e *Engine) place(c model.Container) place {
	p := place{containerID: c.ID, sandbox: c.Sandbox, records: map[string]model.Record{}}
	if e.sharer(c).ID != c.ID || c.Spec.NetworkMode == model.ModeHost {
		return p
	}
	leadsOut, wayOut := false, c.Egress != nil
	for _, ep := range c.Endpoints {
		nw, local := e.local.Network(ep.NetworkID)
		if !local {
			nw, _ = e.networks.known(ep.NetworkID)
		}
		leadsOut = leadsOut || !nw.Internal
		wayOut = wayOut || (local && !nw.Internal)
		if local && localnet.Predefined(nw.Name) {
			continue
		}
		p.networks = append(p.networks, nw)
		if local {
			p.records[nw.ID] = model.Record{
				EndpointID: ep.ID, Name: c.Spec.Name, Addr: ep.Addr.Addr(), AddrV6: ep.AddrV6.Addr(), TaskAliases: ep.TaskAliases,
			}
		}
	}
	if len(p.networks) == 0 && len(c.Endpoints) > 0 && slices.Contains(e.resolve(c).Servers, dns.Addr()) {
		// The default bridge, on a host whose own servers no container reaches.
		p.networks = append(p.networks, model.Network{ID: "no names"})
	}
	slices.SortStableFunc(p.networks, bySearch(c.Endpoints))
	p.ndots = slices.ContainsFunc(resolvOptions(c, readResolv()), isNdots)
	p.upstreams = e.upstreams(c, wayOut)
	if !leadsOut {
		// A server on the internal network may be asked, but not by the host.
		p.upstreams = slices.DeleteFunc(p.upstreams, func(u upstream) bool { return !u.inside })
	}
	return p
}

// bySearch orders networks as Docker looks for a name in them
// (libnetwork/sandbox.go, ByNetworkType and Less): the swarm's first, those
// that were given precedence, those that lead out before internal ones, then by
// name.
func bySearch(endpoints []model.Endpoint) func(a, b model.Network) int {
	precedence := map[string]int{}
	for _, ep := range endpoints {
		precedence[ep.NetworkID] = ep.GwPriority
	}
	first := func(a, b bool) int {
		switch {
		case a == b:
			return 0
		case a:
			return -1
		}
		return 1
	}
	return func(a, b model.Network) int {
		return cmp.Or(
			first(a.Scope == model.ScopeSwarm, b.Scope == model.ScopeSwarm),
			cmp.Compare(precedence[b.ID], precedence[a.ID]),
			first(!a.Internal, !b.Internal),
			strings.Compare(a.Name, b.Name),
		)
	}
}

// resolvOptions gives the options of resolv.conf that are not the engine's: the
// container's, or else the host's.
func resolvOptions(c model.Container, host runtime.Resolve) []string {
	if o := c.Spec.Naming.Options; len(o) > 0 {
		return o
	}
	return host.Options
}

func isNdots(option string) bool { return strings.HasPrefix(option, "ndots:") }

// upstreams gives the servers a container's questions are forwarded to: its
// own, asked from where they can be reached, or the host's, asked from there.
func (e *Engine) upstreams(c model.Container, wayOut bool) []upstream {
	var out []upstream
	for _, a := range c.Spec.Naming.Servers {
		near := slices.ContainsFunc(c.Endpoints, func(ep model.Endpoint) bool { return ep.Addr.Contains(a) || ep.AddrV6.Contains(a) })
		out = append(out, upstream{a, wayOut || near})
	}
	if len(out) > 0 {
		return out
	}
	for _, a := range readResolv().Servers {
		out = append(out, upstream{addr: a})
	}
	return out
}

// hosts gives the entries of /etc/hosts: the container's own name at each of
// its addresses, then those it was given.
func (e *Engine) hosts(c model.Container) []runtime.HostEntry {
	var out []runtime.HostEntry
	if c.Spec.NetworkMode == model.ModeHost {
		out = readHosts()
	}
	for _, extra := range c.Spec.Naming.ExtraHosts {
		name, addr, _ := strings.Cut(extra, ":")
		if addr == hostGateway {
			if gw := e.hostAddr(); gw.IsValid() {
				out = append(out, runtime.HostEntry{Addr: gw, Names: []string{name}})
			}
			continue
		}
		if a, err := netip.ParseAddr(strings.Trim(addr, "[]")); err == nil { // checked when the container was made
			out = append(out, runtime.HostEntry{Addr: a, Names: []string{name}})
		}
	}
	own := e.sharer(c)
	names := []string{own.Spec.Process.Hostname}
	if d := own.Spec.Process.Domainname; d != "" {
		names = []string{names[0] + "." + d, names[0]}
	}
	for _, ep := range own.Endpoints {
		for _, a := range []netip.Prefix{ep.Addr, ep.AddrV6} {
			if a.IsValid() {
				out = append(out, runtime.HostEntry{Addr: a.Addr(), Names: names})
			}
		}
	}
	return out
}

// sharer gives the container whose sandbox c is in: itself, or another one.
func (e *Engine) sharer(c model.Container) model.Container {
	name, joins := strings.CutPrefix(c.Spec.NetworkMode, model.ModeContainer)
	if !joins {
		return c
	}
	other, err := e.workload.Container(context.Background(), name)
	if err != nil {
		return c
	}
	return other
}

// hostAddr is where containers reach the host: the default bridge.
func (e *Engine) hostAddr() netip.Addr {
	nw, ok := e.local.Find(localnet.Bridge)
	if !ok || len(nw.Subnets) == 0 {
		return netip.Addr{}
	}
	return nw.Subnets[0].Gateway
}

// resolve gives what /etc/resolv.conf says: the embedded resolver where there
// are names to resolve, else the host's servers as far as the container
// reaches them.
func (e *Engine) resolve(c model.Container) runtime.Resolve {
	own, host := e.sharer(c), readResolv()
	out := host
	if s := own.Spec.Naming.Search; len(s) > 0 {
		out.Search = slices.DeleteFunc(slices.Clone(s), func(d string) bool { return d == "." })
	}
	out.Options = resolvOptions(own, host)
	if s := own.Spec.Naming.Servers; len(s) > 0 {
		out.Servers = s
	}
	if own.Spec.NetworkMode == model.ModeHost {
		return out
	}
	out.Servers = slices.DeleteFunc(slices.Clone(out.Servers), netip.Addr.IsLoopback)
	if e.discovers(own) || len(out.Servers) == 0 && len(own.Endpoints) > 0 {
		out.Servers = []netip.Addr{dns.Addr()}
		if !slices.ContainsFunc(out.Options, isNdots) {
			out.Options = append(slices.Clone(out.Options), "ndots:0")
		}
	}
	return out
}

// discovers reports whether a container finds others by name: on every network
// but the default bridge.
func (e *Engine) discovers(c model.Container) bool {
	return slices.ContainsFunc(c.Endpoints, func(ep model.Endpoint) bool {
		nw, local := e.local.Network(ep.NetworkID)
		return !local || !localnet.Predefined(nw.Name)
	})
}
