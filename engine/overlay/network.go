package overlay

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
)

// optionEncrypted is Docker's option for encrypted overlay networks; its
// presence is what counts (libnetwork drivers/overlay, secureOption).
const optionEncrypted = "encrypted"

// Ensure makes the network present on this node, or mends it: adopts what is
// there and matches, makes the rest. If it fails, what it made is gone again.
func (d *Driver) Ensure(ctx context.Context, nw model.Network) (err error) {
	if err := check(nw); err != nil {
		return err
	}
	u, err := d.underlay()
	if err != nil {
		return err
	}
	mtu, capped := taskMTU(u.MTU, d.vtep, nw.MTU)
	if capped {
		d.log.WarnContext(ctx, "network MTU lowered to what the underlay carries",
			"network_id", nw.ID, "asked", nw.MTU, "mtu", mtu, "underlay", u.Name, "underlay_mtu", u.MTU)
	}
	if err := checkMTU(nw, mtu); err != nil {
		return err
	}
	if err := d.checkRival(nw); err != nil {
		return err
	}
	n := d.lock(nw.ID)
	defer d.unlock(nw.ID, n)
	b := build{driver: d, network: n, spec: nw, mtu: mtu}
	return b.run(ctx)
}

// check finds what would make nonsense of the network before anything is made.
func check(nw model.Network) error {
	if err := checkID("network", nw.ID); err != nil {
		return err
	}
	if _, ok := nw.Options[optionEncrypted]; ok {
		return fault.Unsupported("network %s is encrypted, which this engine can't do yet; it carries no traffic in clear instead: "+
			"create the network without --opt encrypted", nw.Name)
	}
	segments := nw.Segments()
	if len(segments) == 0 || len(segments) > maxSegments {
		return fault.Invalid("network %s: has %d IPv4 subnets, must have 1 to %d", nw.Name, len(segments), maxSegments)
	}
	seen := map[model.VNI]bool{}
	for _, s := range segments {
		if s.V4.VNI == 0 || s.V4.VNI >= 1<<24 || seen[s.V4.VNI] {
			return fault.Invalid("network %s: VNI %d of subnet %s: must be 1 to 16777215 and no other subnet's", nw.Name, s.V4.VNI, s.V4.Prefix)
		}
		seen[s.V4.VNI] = true
		if s.HasV6() && s.V6.Prefix.Bits() > 96 {
			return fault.Invalid("network %s: IPv6 subnet %s: must be /96 or larger, since an endpoint's IPv6 address ends with its IPv4 address",
				nw.Name, s.V6.Prefix)
		}
		for _, sub := range []model.Subnet{s.V4, s.V6} {
			if sub.Gateway.IsValid() && !sub.Prefix.Contains(sub.Gateway) {
				return fault.Invalid("network %s: gateway %s is not in subnet %s", nw.Name, sub.Gateway, sub.Prefix)
			}
		}
	}
	return nil
}

// checkRival refuses a network whose names are taken by another one's.
func (d *Driver) checkRival(nw model.Network) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, n := range d.networks {
		if n.up && id != nw.ID && namespaceName(id) == namespaceName(nw.ID) {
			return fault.Conflict("networks %s and %s can't both be on this node: the first %d characters of their IDs are the same", id, nw.ID, idPart)
		}
	}
	return nil
}

// Remove takes the network from this node; its not being there is fine. It is
// Forbidden while endpoints are on it.
func (d *Driver) Remove(_ context.Context, networkID string) error {
	if err := checkID("network", networkID); err != nil {
		return err
	}
	n := d.lock(networkID)
	defer d.unlock(networkID, n)
	if len(n.endpoints) > 0 {
		var names []string
		for _, ep := range n.sortedEndpoints() {
			names = append(names, ep.Name)
		}
		return fault.Forbidden("network %s has active endpoints (%s)", n.spec.Name, strings.Join(names, ", "))
	}
	return d.takeDown(networkID, n)
}

// takeDown removes the locked network, known or left by an earlier driver.
func (d *Driver) takeDown(networkID string, n *network) error {
	if err := n.closeTables(); err != nil {
		return err
	}
	if err := removeNamespace(d.path(networkID), n.ns); err != nil {
		return err
	}
	d.drop(n)
	return nil
}

func (d *Driver) path(networkID string) string {
	return filepath.Join(d.dir, namespaceName(networkID))
}

// removeNamespace deletes the namespace at path with all devices in it. ns is
// the open namespace or nil; it is closed unless that fails.
func removeNamespace(path string, ns *kernel.Namespace) error {
	if ns == nil {
		var err error
		if ns, err = kernel.Open(path); errdefs.IsNotFound(err) {
			return kernel.Remove(path)
		} else if err != nil {
			return err
		}
		defer func() { _ = ns.Close() }()
		return removeOpen(path, ns)
	}
	if err := removeOpen(path, ns); err != nil {
		return err
	}
	return ns.Close()
}

// removeOpen deletes the devices first: the kernel ends a namespace later, and
// until then its VXLAN devices would keep their VNIs.
func removeOpen(path string, ns *kernel.Namespace) error {
	if err := link.RemoveAll(ns); err != nil {
		return err
	}
	return kernel.Remove(path)
}

// addrs gives the segment's gateway addresses with their prefix lengths.
func (s *segment) addrs() []netip.Prefix {
	var out []netip.Prefix
	for _, sub := range []model.Subnet{s.V4, s.V6} {
		if sub.Gateway.IsValid() {
			out = append(out, netip.PrefixFrom(sub.Gateway, sub.Prefix.Bits()))
		}
	}
	return out
}
