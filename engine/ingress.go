package engine

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/model"
)

// ingressSandbox is Docker's name of the sandbox's namespace, whatever the
// network's is; ingressRow is the endpoint's key in the table.
const (
	ingressSandbox = "ingress_sbox"
	ingressRow     = "ingress"
)

// In `network inspect` the sandbox and its endpoint are named after the network
// (libnetwork/network.go, lbSandboxName and lbEndpointName).
func ingressNames(networkName string) (container, endpoint string) {
	return networkName + "-sbox", networkName + "-endpoint"
}

// ingress is this node's place in the swarm's ingress network: a sandbox of its
// own with one endpoint, at the address the swarm gave the node. It is there as
// long as the swarm has an ingress network, whether anything is published or
// not, and survives a crash of the engine. Changes are serialized by the host.
type ingress struct {
	networks  *networks
	publisher *publisher
	sandbox   string // path of the namespace
	table     rows[model.Endpoint]

	mu      sync.Mutex // guards ep
	ep      *model.Endpoint
	adopted bool // the sandbox is an earlier engine's
}

// newIngress takes up the endpoint an earlier engine has left, if it has.
func newIngress(n *networks, p *publisher, namespaces string, table rows[model.Endpoint]) (*ingress, error) {
	saved, err := table.List()
	if err != nil {
		return nil, err
	}
	g := &ingress{networks: n, publisher: p, sandbox: filepath.Join(namespaces, ingressSandbox), table: table}
	if ep, ok := saved[ingressRow]; ok {
		g.ep = &ep
	}
	return g, nil
}

// endpoint gives the node's endpoint, nil when it has none.
func (g *ingress) endpoint() *model.Endpoint {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ep
}

// running gives the endpoint if its sandbox is there, to be adopted.
func (g *ingress) running() []model.Endpoint {
	ep := g.endpoint()
	if ep == nil {
		return nil
	}
	ns, err := kernel.Open(g.sandbox)
	if err != nil {
		return nil // set makes it anew
	}
	_ = ns.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.adopted = true
	return []model.Endpoint{*ep}
}

// set makes a the node's attachment; nil is none.
func (g *ingress) set(ctx context.Context, a *model.Attachment) error {
	if a != nil && len(a.Addrs) == 0 {
		return fault.Internal("ingress network %s gave this node no address", a.Network.Name)
	}
	have := g.endpoint()
	if have != nil && (a == nil || have.NetworkID != a.Network.ID || have.Addr != a.Addrs[0]) {
		if err := g.leave(ctx, *have); err != nil {
			return err
		}
		have = nil
	}
	switch {
	case a == nil:
		return nil
	case have == nil:
		have = g.fresh(a)
	}
	err := g.join(ctx, a.Network, *have)
	if err != nil {
		err = errors.Join(err, g.leave(context.WithoutCancel(ctx), *have))
	}
	return err
}

// fresh has no name: like Docker's it is a peer, and answers to nothing.
func (g *ingress) fresh(a *model.Attachment) *model.Endpoint {
	container, _ := ingressNames(a.Network.Name)
	return &model.Endpoint{
		ID: model.NewID(), NetworkID: a.Network.ID, NetworkName: a.Network.Name, ContainerID: container,
		Addr: a.Addrs[0], MAC: model.MACFromAddr(a.Addrs[0].Addr()), IfName: "eth0", Sandbox: g.sandbox,
	}
}

// join plugs ep in; one that is plugged in already stays so.
func (g *ingress) join(ctx context.Context, nw model.Network, ep model.Endpoint) error {
	if err := g.remember(ep); err != nil { // first: a crash in between leaves a name to clean up by
		return err
	}
	if err := ensureNamespace(g.sandbox); err != nil {
		return err
	}
	full, err := g.networks.join(ctx, g.networks.mesh(nw), ep)
	if err != nil {
		return err
	}
	if err := g.remember(full); err != nil {
		return err
	}
	_, _, vtep := g.networks.parts()
	return g.publisher.open(full, vtep, g.adopted)
}

func (g *ingress) remember(ep model.Endpoint) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ep = &ep
	return g.table.Put(ingressRow, ep)
}

func (g *ingress) leave(ctx context.Context, ep model.Endpoint) error {
	if err := g.publisher.remove(); err != nil {
		return err
	}
	if err := g.networks.leave(ctx, ep); err != nil {
		return err
	}
	return g.remove()
}

// remove takes away what is left once the node is off its networks.
func (g *ingress) remove() error {
	if err := g.publisher.remove(); err != nil {
		return err
	}
	if err := kernel.Remove(g.sandbox); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ep, g.adopted = nil, false
	return g.table.Delete(ingressRow)
}

// describe adds the node's endpoint to the ingress network's inspection.
func (g *ingress) describe(in *network.Inspect) {
	ep := g.endpoint()
	if ep == nil || ep.NetworkID != in.ID {
		return
	}
	container, name := ingressNames(in.Name)
	in.Containers[container] = resourceOf(name, *ep)
}

func resourceOf(name string, ep model.Endpoint) network.EndpointResource {
	r := network.EndpointResource{Name: name, EndpointID: ep.ID, MacAddress: ep.MAC.String(), IPv4Address: ep.Addr.String()}
	if ep.AddrV6.IsValid() {
		r.IPv6Address = ep.AddrV6.String()
	}
	return r
}

// ensureNamespace makes the network namespace at path unless it is there.
func ensureNamespace(path string) error {
	ns, err := kernel.Open(path)
	if errdefs.IsNotFound(err) {
		// A file without a namespace is what a reboot leaves of one.
		if err := kernel.Remove(path); err != nil {
			return err
		}
		ns, err = kernel.Create(path)
	}
	if err != nil {
		return err
	}
	return ns.Close()
}
