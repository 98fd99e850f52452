package engine

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"weft/engine/localnet"
	"weft/engine/model"
	"weft/engine/runtime"
)

// hostGateway is Docker's word for the host's address in --add-host.
const hostGateway = "host-gateway"

// setNames writes what a container resolves names with: /etc/hosts and
// /etc/resolv.conf.
func (e *Engine) setNames(_ context.Context, c model.Container) error {
	return e.runtime.SetNames(c.ID, e.hosts(c), e.resolve(c))
}

// clearNames ends what setNames began.
func (e *Engine) clearNames(context.Context, model.Container) error { return nil }

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

// embeddedResolver is where a container asks for names on networks of its own
// choice, as in Docker.
func embeddedResolver() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 11}) }

// resolve gives what /etc/resolv.conf says: the embedded resolver where there
// are names to resolve, else the host's servers as far as the container
// reaches them.
func (e *Engine) resolve(c model.Container) runtime.Resolve {
	own, host := e.sharer(c), readResolv()
	out := host
	if s := own.Spec.Naming.Search; len(s) > 0 {
		out.Search = slices.DeleteFunc(slices.Clone(s), func(d string) bool { return d == "." })
	}
	if o := own.Spec.Naming.Options; len(o) > 0 {
		out.Options = o
	}
	if s := own.Spec.Naming.Servers; len(s) > 0 {
		out.Servers = s
	}
	if own.Spec.NetworkMode == model.ModeHost {
		return out
	}
	out.Servers = slices.DeleteFunc(slices.Clone(out.Servers), netip.Addr.IsLoopback)
	if e.discovers(own) || len(out.Servers) == 0 && len(own.Endpoints) > 0 {
		out.Servers = []netip.Addr{embeddedResolver()}
		if !slices.ContainsFunc(out.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
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
