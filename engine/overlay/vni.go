package overlay

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
)

const (
	// vniWait is how long a VNI may stay busy that no namespace in sight
	// holds: the kernel ends namespaces in the background, one after another.
	vniWait = 5 * time.Second
	// vniPoll is how often it is tried; the kernel tells nobody.
	vniPoll = 20 * time.Millisecond
)

// holder is who has a VNI on this host.
type holder struct {
	path   string // of a namespace in our directory; empty: the host's own
	device string // empty: nobody in sight
}

// ensureVXLAN is link.EnsureVXLAN, and deals with a VNI that is busy: a
// namespace of ours that belongs to no network any more is removed; one that
// is being torn down is waited for; anything else is a Conflict that says who.
func (b *build) ensureVXLAN(ctx context.Context, spec link.VXLAN) (link.Device, error) {
	d := b.driver
	deadline := time.NewTimer(vniWait)
	defer deadline.Stop()
	for {
		dev, err := link.EnsureVXLAN(d.host, b.ns, spec)
		if !errors.Is(err, link.ErrVNIBusy) {
			return dev, err
		}
		h, findErr := d.findHolder(spec)
		if findErr != nil {
			return dev, errors.Join(err, findErr)
		}
		if h.path != "" && !d.present(h.path) {
			d.log.WarnContext(ctx, "stale network removed that held a VNI", "network_id", b.spec.ID, "vni", uint32(spec.VNI), "path", h.path)
			if err := removeNamespace(h.path, nil); err != nil {
				return dev, fmt.Errorf("VNI %d is held by %s, which is left of a network that is gone: %w", spec.VNI, h.path, err)
			}
			continue
		}
		if h.device != "" {
			return dev, h.conflict(spec)
		}
		poll := time.NewTimer(vniPoll)
		select {
		case <-poll.C:
		case <-deadline.C:
			poll.Stop()
			return dev, h.conflict(spec)
		case <-ctx.Done():
			poll.Stop()
			return dev, fmt.Errorf("wait for VNI %d: %w", spec.VNI, ctx.Err())
		}
	}
}

func (h holder) conflict(spec link.VXLAN) error {
	what := fmt.Sprintf("VNI %d on UDP port %d", spec.VNI, spec.Port)
	switch {
	case h.path != "":
		return fault.Conflict("%s is in use by another network of this node (%s): give the networks different VNIs", what, h.path)
	case h.device != "":
		return fault.Conflict("%s is in use by the interface %s of this host, which is not weft's: remove it (ip link delete %s) "+
			"or choose another port with --data-path-port", what, h.device, h.device)
	}
	return fault.Conflict("%s is in use on this host in a namespace weft does not know, as of another engine (dockerd?): "+
		"stop that one or choose another port with --data-path-port", what)
}

// findHolder looks for the VXLAN device that has spec's VNI and port in our
// namespaces and in the host's.
func (d *Driver) findHolder(spec link.VXLAN) (holder, error) {
	names, err := kernel.List(d.dir)
	if err != nil {
		return holder{}, err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, namespacePrefix) {
			continue
		}
		path := filepath.Join(d.dir, name)
		ns, err := kernel.Open(path)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return holder{}, err
		}
		device, err := deviceWithVNI(ns, spec)
		if err := errors.Join(err, ns.Close()); err != nil {
			return holder{}, err
		}
		if device != "" {
			return holder{path: path, device: device}, nil
		}
	}
	device, err := deviceWithVNI(d.host, spec)
	return holder{device: device}, err
}

func deviceWithVNI(ns *kernel.Namespace, spec link.VXLAN) (string, error) {
	list, err := link.List(ns)
	if err != nil {
		return "", err
	}
	for _, l := range list {
		if l.Kind == "vxlan" && l.VNI == uint32(spec.VNI) && l.Port == spec.Port {
			return l.Name, nil
		}
	}
	return "", nil
}

// present reports whether the namespace at path is a network's that this
// driver has or is making.
func (d *Driver) present(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.networks {
		if d.path(id) == path {
			return true
		}
	}
	return false
}
