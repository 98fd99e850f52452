package control

import (
	"context"

	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"
)

// ingressOf gives the attachment of a node to the ingress network, nil when it
// has none (any more, or yet).
func ingressOf(n *api.Node) *api.NetworkAttachment {
	for _, na := range n.Attachments {
		if na != nil && na.Network != nil && len(na.Addresses) > 0 && convert.IsIngressNetwork(na.Network) {
			return na
		}
	}
	return nil
}

// serveIngress keeps the host in the swarm's ingress network until ctx ends.
// A host that can't join it is a full member all the same, as dockerd's is.
func (e *executor) serveIngress(ctx context.Context) {
	select {
	case <-e.joined:
	case <-ctx.Done():
		return
	}
	e.ingress.run(ctx, func(ctx context.Context, na *api.NetworkAttachment) error {
		err := e.setIngress(ctx, na)
		if err != nil && ctx.Err() == nil {
			e.cfg.Log.ErrorContext(ctx, "the host is not in the ingress network as it should be", "err", err)
		}
		return err
	})
}

func (e *executor) setIngress(ctx context.Context, na *api.NetworkAttachment) error {
	if na == nil {
		return e.cfg.Host.SetIngress(ctx, nil)
	}
	if err := usable(na.Network); err != nil {
		e.cfg.Log.ErrorContext(ctx, "the host stays out of the ingress network", "err", err)
		return e.cfg.Host.SetIngress(ctx, nil)
	}
	a := attachmentModel(na)
	return e.cfg.Host.SetIngress(ctx, &a)
}
