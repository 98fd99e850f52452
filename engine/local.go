package engine

import (
	"context"
	"errors"
	"slices"

	"weft/engine/link"
	"weft/engine/model"
)

// swarms reports whether a network is the swarm's, and goes with it.
func (e *Engine) swarms(networkID string) bool {
	_, local := e.local.Network(networkID)
	return !local
}

// ownLink reports whether a device of this host belongs to the engine.
func (e *Engine) ownLink(name string) bool {
	list, err := link.List(e.hostNS)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(l link.Info) bool { return l.Name == name && l.Group == link.Group })
}

// restoreLocal takes back what an earlier engine left of this node's networks.
func (e *Engine) restoreLocal(ctx context.Context) error {
	endpoints, err := e.runningEndpoints(ctx)
	if err != nil {
		return err
	}
	endpoints = slices.DeleteFunc(endpoints, func(ep model.Endpoint) bool { return e.swarms(ep.NetworkID) })
	isLocal := func(networkID string) bool { return networkID != "" && !e.swarms(networkID) }
	return errors.Join(e.local.Restore(ctx, endpoints), e.workload.Rearrange(ctx), e.resumeAttachments(ctx, isLocal))
}

// noBridges stands where the bridges of the host belong to another engine.
type noBridges struct{ why error }

func (n noBridges) Ensure(context.Context, model.Network) error { return n.why }

func (n noBridges) Remove(context.Context, model.Network) error { return nil }

func (n noBridges) Join(_ context.Context, ep model.Endpoint) (model.Endpoint, error) {
	return ep, n.why
}

func (n noBridges) Leave(context.Context, string, string) error { return nil }

func (n noBridges) Publish(context.Context, string, string, []model.PortBinding) ([]model.PublishedPort, error) {
	return nil, n.why
}

func (n noBridges) Sweep(context.Context, []model.Network, map[string]bool) error { return nil }
