package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/system"

	"weft/wizard/flows/ingress"
)

// Nodes are the nodes that can be asked themselves, by hostname. It is an
// ingress.Nodes.
type Nodes map[string]Doer

// Has is part of ingress.Nodes.
func (n Nodes) Has(ctx context.Context, node ingress.Node, network string) (has, seen bool, err error) {
	api, known := n[node.Hostname]
	if !known {
		return false, false, nil
	}
	all, err := (&Manager{api, RequestTimeout}).networkList(ctx)
	if err != nil {
		return false, true, err
	}
	return slices.ContainsFunc(all, func(r resource) bool { return r.Name == network && r.Ingress }), true, nil
}

// Taken is part of ingress.Nodes: networks of one node only, such as bridges.
func (n Nodes) Taken(ctx context.Context) ([]ingress.Subnet, error) {
	var list []ingress.Subnet
	for _, hostname := range slices.Sorted(maps.Keys(n)) {
		all, err := (&Manager{n[hostname], RequestTimeout}).networkList(ctx)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", hostname, err)
		}
		for _, r := range all {
			if r.Scope != "local" {
				continue
			}
			for _, p := range r.IPAM.Config {
				list = append(list, ingress.Subnet{Prefix: p.Subnet, By: "network " + r.Name + " of node " + hostname})
			}
		}
	}
	return list, nil
}

// dialTimeout is how long a port may take to answer, and datagrams how many of
// them are sent meanwhile: one may get lost.
const (
	dialTimeout = 2 * time.Second
	datagrams   = 2
)

// Dialer finds out whether ports answer: of TCP by connecting, of UDP by sending
// a datagram without content, to which a server may or may not say something.
// It is an ingress.Prober.
type Dialer struct {
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Answers is part of ingress.Prober.
func (d Dialer) Answers(ctx context.Context, addr string, p ingress.Port) bool {
	if p.Protocol != "tcp" && p.Protocol != "udp" && p.Protocol != "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := d.Dial(ctx, cmp.Or(p.Protocol, "tcp"), net.JoinHostPort(addr, strconv.Itoa(int(p.PublishedPort))))
	if err != nil {
		return false
	}
	answered := p.Protocol != "udp" || replies(ctx, conn)
	return conn.Close() == nil && answered
}

// replies says whether anything comes back for an empty datagram until ctx ends,
// which is dialTimeout from its beginning.
func replies(ctx context.Context, conn net.Conn) bool {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	end, _ := ctx.Deadline()
	for n := datagrams; n > 0; n-- {
		if _, err := conn.Write(nil); err != nil {
			return false
		}
		if err := conn.SetReadDeadline(end.Add(-dialTimeout * time.Duration(n-1) / datagrams)); err != nil {
			return false
		}
		_, err := conn.Read(make([]byte, 1))
		if err == nil {
			return true
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			return false // as a refusal
		}
	}
	return false
}

// Machine is what an observer on the manager's own machine adds to what its API
// tells. On another machine, behind a forwarded socket, it adds nothing. It is
// an ingress.Observer.
type Machine struct {
	*Manager
	Hostname string // of this machine
}

// Observe is part of ingress.Observer.
func (m Machine) Observe(ctx context.Context) (ingress.World, error) {
	w, err := m.Manager.Observe(ctx)
	if err != nil {
		return w, err
	}
	var info system.Info
	if err := m.get(ctx, "info", nil, &info); err != nil || info.Name != m.Hostname {
		return w, err
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return w, err
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it is gone
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
				continue
			}
			w.Taken = append(w.Taken, ingress.Subnet{Prefix: p.Masked().String(), By: "interface " + i.Name + " of this machine"})
			if slices.ContainsFunc(w.Nodes, func(n ingress.Node) bool { return n.Addr == p.Addr().String() }) {
				w.Underlay = i.MTU
			}
		}
	}
	for _, r := range routes() {
		if !slices.ContainsFunc(w.Taken, func(s ingress.Subnet) bool { return s.Prefix == r.Prefix }) {
			w.Taken = append(w.Taken, r)
		}
	}
	return w, nil
}
