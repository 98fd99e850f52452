package localnet

import (
	"context"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
	"weft/engine/model"
)

// GatewayBridge is Docker's name of the network by which containers on
// overlays reach what is outside of them.
const GatewayBridge = "docker_gwbridge"

// otherDevice is the bridge's name where GatewayBridge is somebody else's.
const otherDevice = "weft_gwbridge"

// EnsureGateway gives docker_gwbridge as it was made, or else makes it with
// Docker's settings.
func (r *Registry) EnsureGateway(ctx context.Context) (model.Network, error) {
	if nw, ok := r.Find(GatewayBridge); ok {
		return nw, r.ensureGateway(ctx, nw)
	}
	nw, err := r.Create(ctx, gateway(GatewayBridge))
	if !errdefs.IsConflict(err) {
		return nw, err
	}
	if nw, ok := r.Find(GatewayBridge); ok { // another container was faster
		return nw, r.ensureGateway(ctx, nw)
	}
	// A Docker daemon on this host has a device of that name.
	return r.Create(ctx, gateway(otherDevice))
}

func (r *Registry) ensureGateway(ctx context.Context, nw model.Network) error {
	if nw.ConfigOnly || nw.Internal {
		return fault.Conflict("network %s leads nowhere: containers on overlay networks have no way out: remove it, and create it without --internal and --config-only", nw.Name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ensure(ctx, nw)
}

// gateway describes docker_gwbridge as Docker makes it.
func gateway(device string) model.Network {
	return model.Network{Name: GatewayBridge, Driver: driverBridge, Options: map[string]string{
		optionName: device, optionICC: "false", optionMasquerade: "true",
	}}
}
