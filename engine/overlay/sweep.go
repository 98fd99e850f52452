package overlay

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"weft/engine/kernel"
	"weft/engine/link"
)

// Sweep removes the networks and endpoints of ours that are in neither set of
// IDs (true means keep): what a crash left, or everything when both are nil.
// Only the driver's directory is looked at, and only what bears our names.
func (d *Driver) Sweep(ctx context.Context, keepNetworks, keepEndpoints map[string]bool) error {
	networks := keptNames(keepNetworks, namespaceName)
	veths := keptNames(keepEndpoints, vethName)
	names, err := kernel.List(d.dir)
	errs := []error{err, link.RemoveProbes(d.host)}
	known := map[string]string{} // network ID by namespace name
	for _, id := range d.Networks() {
		known[namespaceName(id)] = id
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		id, ok := known[name]
		switch {
		case !strings.HasPrefix(name, namespacePrefix):
		case ok:
			errs = append(errs, d.sweepKnown(id, networks[name], keepEndpoints))
		case networks[name]:
			errs = append(errs, d.sweepDevices(filepath.Join(d.dir, name), veths))
		default:
			d.log.InfoContext(ctx, "left-over network removed", "path", filepath.Join(d.dir, name))
			errs = append(errs, removeNamespace(filepath.Join(d.dir, name), nil))
		}
	}
	return errors.Join(errs...)
}

func keptNames(ids map[string]bool, name func(string) string) map[string]bool {
	out := map[string]bool{}
	for id, keep := range ids {
		if keep {
			out[name(id)] = true
		}
	}
	return out
}

// sweepKnown does a network this driver has.
func (d *Driver) sweepKnown(id string, keep bool, keepEndpoints map[string]bool) error {
	n := d.lock(id)
	defer d.unlock(id, n)
	if !keep {
		return d.takeDown(id, n)
	}
	var errs []error
	for _, ep := range n.sortedEndpoints() {
		if !keepEndpoints[ep.ID] {
			errs = append(errs, n.unplug(ep.ID))
		}
	}
	if n.ns == nil {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, d.sweepVeths(n.ns, keptNames(keepEndpoints, vethName)))...)
}

// sweepDevices does a network an earlier driver left, to be adopted later.
func (d *Driver) sweepDevices(path string, keep map[string]bool) error {
	ns, err := kernel.Open(path)
	if errdefs.IsNotFound(err) {
		return nil // Ensure puts it right
	}
	if err != nil {
		return err
	}
	return errors.Join(d.sweepVeths(ns, keep), ns.Close())
}

func (d *Driver) sweepVeths(ns *kernel.Namespace, keep map[string]bool) error {
	list, err := link.List(ns)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range list {
		if l.Kind == "veth" && strings.HasPrefix(l.Name, vethPrefix) && !keep[l.Name] {
			d.log.Info("left-over endpoint removed", "path", ns.Path(), "device", l.Name)
			errs = append(errs, link.Remove(ns, l.Name), deleteGuard(ns, l.Name))
		}
	}
	return errors.Join(errs...)
}
