package overlay

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"

	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/peer"
)

// build is one run of Ensure on a locked network.
type build struct {
	driver  *Driver
	network *network
	spec    model.Network
	mtu     int

	ns       *kernel.Namespace
	madeNS   bool
	made     []string // devices, in the order they were made
	segments []*segment
}

func (b *build) run(ctx context.Context) error {
	if err := b.openNamespace(); err != nil {
		return err
	}
	if err := b.fill(ctx); err != nil {
		return errors.Join(err, b.undo())
	}
	n := b.network
	n.spec, n.mtu, n.ns, n.segments = b.spec, b.mtu, b.ns, b.segments
	b.driver.mu.Lock()
	defer b.driver.mu.Unlock()
	n.up = true
	return nil
}

// openNamespace finds the network's namespace or makes it. The one held open
// counts more than the file: if that is gone, it is put back.
func (b *build) openNamespace() error {
	path := b.driver.path(b.spec.ID)
	found, err := kernel.Open(path)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	held := b.network.ns
	switch {
	case held != nil && found != nil && held.Same(found):
		b.ns = held
		return found.Close()
	case held != nil:
		if found != nil {
			_ = found.Close()
		}
		b.driver.log.Warn("namespace file of a network was gone", "network_id", b.spec.ID, "path", path)
		b.ns = held
		return errors.Join(kernel.Remove(path), held.Bind(path))
	case found != nil:
		b.ns = found
		return nil
	}
	// What a crash or a reboot left may be a file without a namespace.
	if err := kernel.Remove(path); err != nil {
		return err
	}
	b.ns, err = kernel.Create(path)
	b.madeNS = err == nil
	return err
}

func (b *build) fill(ctx context.Context) error {
	if err := kernel.SetSysctls(b.ns, b.sysctls()...); err != nil {
		return err
	}
	if err := link.Up(b.ns, "lo"); err != nil {
		return err
	}
	if err := b.removeStrangers(); err != nil {
		return err
	}
	for rank, seg := range b.spec.Segments() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.ensureSegment(ctx, rank, seg); err != nil {
			return err
		}
	}
	return nil
}

// sysctls makes the namespace a router between the network's subnets.
func (b *build) sysctls() []kernel.Sysctl {
	v6 := false
	for _, s := range b.spec.Segments() {
		v6 = v6 || s.HasV6()
	}
	list := []kernel.Sysctl{
		{Key: "net/ipv4/ip_forward", Value: "1"},
		// Bridged frames are no business of iptables, where br_netfilter is loaded.
		{Key: "net/bridge/bridge-nf-call-iptables", Value: "0", Optional: true},
		{Key: "net/bridge/bridge-nf-call-ip6tables", Value: "0", Optional: true},
		{Key: "net/bridge/bridge-nf-call-arptables", Value: "0", Optional: true},
	}
	if !v6 {
		return append(list,
			kernel.Sysctl{Key: "net/ipv6/conf/all/disable_ipv6", Value: "1", Optional: true},
			kernel.Sysctl{Key: "net/ipv6/conf/default/disable_ipv6", Value: "1", Optional: true})
	}
	return append(list,
		kernel.Sysctl{Key: "net/ipv6/conf/all/disable_ipv6", Value: "0"},
		kernel.Sysctl{Key: "net/ipv6/conf/default/disable_ipv6", Value: "0"},
		kernel.Sysctl{Key: "net/ipv6/conf/default/accept_dad", Value: "0"},
		kernel.Sysctl{Key: "net/ipv6/conf/default/accept_ra", Value: "0"},
		kernel.Sysctl{Key: "net/ipv6/conf/default/autoconf", Value: "0"},
		kernel.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"})
}

// removeStrangers deletes bridges and VXLAN devices of ours that the network
// does not have, as from a network of the same ID with other subnets.
func (b *build) removeStrangers() error {
	if b.madeNS {
		return nil
	}
	wanted := map[string]bool{}
	for rank := range b.spec.Segments() {
		wanted[bridgeName(b.spec.ID, rank)] = true
		wanted[vxlanName(b.spec.ID, rank)] = true
	}
	list, err := link.List(b.ns)
	if err != nil {
		return err
	}
	for _, l := range list {
		ours := strings.HasPrefix(l.Name, bridgePrefix) || strings.HasPrefix(l.Name, vxlanPrefix)
		if ours && !wanted[l.Name] {
			b.driver.log.Warn("device of no subnet of its network removed", "network_id", b.spec.ID, "device", l.Name)
			if err := link.Remove(b.ns, l.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *build) ensureSegment(ctx context.Context, rank int, m model.Segment) error {
	s := &segment{Segment: m, table: b.knownTable(rank, m)}
	bridge, err := link.EnsureBridge(b.ns, link.Bridge{
		Name: bridgeName(b.spec.ID, rank), MTU: b.mtu,
		MAC: bridgeMAC(b.driver.vtep, m.V4.VNI), Addrs: s.addrs(),
	})
	if err != nil {
		return err
	}
	b.note(bridge)
	s.bridge = bridge.Index
	vxlan, err := b.ensureVXLAN(ctx, link.VXLAN{
		Name: vxlanName(b.spec.ID, rank), VNI: m.V4.VNI, MTU: b.mtu,
		Local: b.driver.vtep, Port: b.driver.port, Bridge: s.bridge,
	})
	if err != nil {
		return err
	}
	b.note(vxlan)
	s.vxlan = vxlan.Index
	if err := link.Ready(b.ns, s.bridge, s.addrs()); err != nil {
		return err
	}
	if err := b.ensurePeers(s); err != nil {
		return err
	}
	b.segments = append(b.segments, s)
	return nil
}

func (b *build) note(d link.Device) {
	if d.Made {
		b.made = append(b.made, d.Name)
	}
}

// knownTable gives the table of a segment that was there before, or nil.
func (b *build) knownTable(rank int, m model.Segment) *peer.Table {
	for i, old := range b.network.segments {
		if i == rank && old.V4.VNI == m.V4.VNI && old.V4.Prefix == m.V4.Prefix && old.V6.Prefix == m.V6.Prefix {
			return old.table
		}
	}
	return nil
}

// ensurePeers programs what the table knows. Without a table, the device's own
// entries become one: they were right when the earlier driver ended, and stay
// until newer rows say otherwise.
func (b *build) ensurePeers(s *segment) error {
	have, err := peer.Observe(b.ns, s.vxlan)
	if err != nil {
		return err
	}
	if s.table == nil {
		s.table = peer.NewTable(s.Segment)
		s.table.Legs = b.spec.Ingress
		s.table.Set(adopted(s.Segment, have))
	}
	return peer.Apply(b.ns, s.vxlan, peer.Diff(have, s.table.Want()))
}

// adopted makes peers of the entries found on a device.
func adopted(m model.Segment, have peer.State) []model.Peer {
	var peers []model.Peer
	for addr, mac := range have.Neigh {
		vtep, ok := have.FDB[mac]
		if ok && m.V4.Prefix.Contains(addr) {
			peers = append(peers, model.Peer{
				EndpointID: synthetic + addr.String(),
				Addr:       netip.PrefixFrom(addr, m.V4.Prefix.Bits()), MAC: mac, VTEP: vtep,
			})
		}
	}
	return peers
}

// undo removes what this run made.
func (b *build) undo() error {
	if b.madeNS {
		return removeNamespace(b.driver.path(b.spec.ID), b.ns)
	}
	var errs []error
	for i := len(b.made) - 1; i >= 0; i-- {
		errs = append(errs, link.Remove(b.ns, b.made[i]))
	}
	if b.network.ns == nil {
		errs = append(errs, b.ns.Close())
	}
	return errors.Join(errs...)
}
