package control

import (
	"context"
	"strconv"
	"strings"
	"time"

	gogotypes "github.com/gogo/protobuf/types"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/model"
)

// Watch gives the swarm's events (nodes, services, networks, secrets, configs)
// with Docker's attributes, as long as this node is a manager, until ctx ends;
// then the channel is closed. Events of a time without a connection to the
// manager are lost, as in dockerd.
func (n *Node) Watch(ctx context.Context) <-chan model.Event {
	out := make(chan model.Event)
	go func() {
		defer close(out)
		for ctx.Err() == nil {
			n.watchOnce(ctx, out)
		}
	}()
	return out
}

// rewatch is how soon a membership or a connection is looked for again.
const rewatch = 500 * time.Millisecond

// watchOnce relays events until the connection to the manager ends or changes.
func (n *Node) watchOnce(ctx context.Context, out chan<- model.Event) {
	r := n.current()
	if v := r.view(); v.conn != nil {
		err := relay(ctx, api.NewWatchClient(v.conn), out)
		n.cfg.Log.DebugContext(ctx, "watch of the swarm ended", "err", err)
	}
	pause(ctx, rewatch)
}

func relay(ctx context.Context, c api.WatchClient, out chan<- model.Event) error {
	req := &api.WatchRequest{IncludeOldObject: true}
	for _, kind := range []string{"node", "service", "network", "secret", "config"} {
		req.Entries = append(req.Entries, &api.WatchRequest_WatchEntry{
			Kind:   kind,
			Action: api.WatchActionKindCreate | api.WatchActionKindUpdate | api.WatchActionKindRemove,
		})
	}
	stream, err := c.Watch(ctx, req)
	if err != nil {
		return err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, ev := range msg.Events {
			e, ok := eventModel(ev)
			if !ok {
				continue
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// eventModel converts one event; false for kinds Docker has no events of.
func eventModel(ev *api.WatchMessage_Event) (model.Event, bool) {
	e := model.Event{Scope: model.ScopeSwarm, Action: actionOf(ev.Action), Attributes: map[string]string{}}
	var meta api.Meta
	switch o := ev.Object.GetObject().(type) {
	case *api.Object_Node:
		e.Type, e.ActorID, meta = "node", o.Node.ID, o.Node.Meta
		nodeAttributes(e.Attributes, o.Node, ev.OldObject.GetNode())
	case *api.Object_Service:
		e.Type, e.ActorID, meta = "service", o.Service.ID, o.Service.Meta
		serviceAttributes(e.Attributes, o.Service, ev.OldObject.GetService())
	case *api.Object_Network:
		e.Type, e.ActorID, meta = "network", o.Network.ID, o.Network.Meta
		e.Attributes["name"] = o.Network.Spec.Annotations.Name
	case *api.Object_Secret:
		e.Type, e.ActorID, meta = "secret", o.Secret.ID, o.Secret.Meta
		e.Attributes["name"] = o.Secret.Spec.Annotations.Name
	case *api.Object_Config:
		e.Type, e.ActorID, meta = "config", o.Config.ID, o.Config.Meta
		e.Attributes["name"] = o.Config.Spec.Annotations.Name
	default:
		return model.Event{}, false
	}
	e.Time = timeOf(meta, ev.Action)
	return e, e.Action != ""
}

func actionOf(a api.WatchActionKind) string {
	switch a {
	case api.WatchActionKindCreate:
		return "create"
	case api.WatchActionKindUpdate:
		return "update"
	case api.WatchActionKindRemove:
		return "remove"
	case api.WatchActionKindUnknown:
	}
	return ""
}

// timeOf is zero for a removal, which has no time of its own: whoever
// publishes the event stamps it.
func timeOf(m api.Meta, a api.WatchActionKind) time.Time {
	stamp := m.UpdatedAt
	switch a {
	case api.WatchActionKindCreate:
		stamp = m.CreatedAt
	case api.WatchActionKindRemove:
		return time.Time{}
	case api.WatchActionKindUpdate, api.WatchActionKindUnknown:
	}
	t, err := gogotypes.TimestampFromProto(stamp)
	if err != nil {
		return time.Time{}
	}
	return t
}

// change notes an attribute that an update changed.
func change(attrs map[string]string, name, before, after string) {
	if before != after {
		attrs[name+".old"] = strings.ToLower(before)
		attrs[name+".new"] = strings.ToLower(after)
	}
}

func nodeAttributes(attrs map[string]string, n, old *api.Node) {
	attrs["name"] = n.Spec.Annotations.Name
	if attrs["name"] == "" && n.Description != nil {
		attrs["name"] = n.Description.Hostname
	}
	if old == nil {
		return
	}
	change(attrs, "availability", old.Spec.Availability.String(), n.Spec.Availability.String())
	change(attrs, "role", old.Role.String(), n.Role.String())
	change(attrs, "state", old.Status.State.String(), n.Status.State.String())
	if n.ManagerStatus != nil && old.ManagerStatus != nil {
		change(attrs, "leader", strconv.FormatBool(old.ManagerStatus.Leader), strconv.FormatBool(n.ManagerStatus.Leader))
		change(attrs, "reachability", old.ManagerStatus.Reachability.String(), n.ManagerStatus.Reachability.String())
	}
}

func serviceAttributes(attrs map[string]string, s, old *api.Service) {
	attrs["name"] = s.Spec.Annotations.Name
	if old == nil {
		return
	}
	if now, before := s.Spec.Task.GetContainer(), old.Spec.Task.GetContainer(); now != nil && before != nil && now.Image != before.Image {
		attrs["image.old"], attrs["image.new"] = before.Image, now.Image
	}
	if now, before := s.Spec.GetReplicated(), old.Spec.GetReplicated(); now != nil && before != nil {
		change(attrs, "replicas", strconv.FormatUint(before.Replicas, 10), strconv.FormatUint(now.Replicas, 10))
	}
	switch {
	case s.UpdateStatus == nil:
	case old.UpdateStatus == nil:
		attrs["updatestate.new"] = strings.ToLower(s.UpdateStatus.State.String())
	case s.UpdateStatus.State != old.UpdateStatus.State:
		change(attrs, "updatestate", old.UpdateStatus.State.String(), s.UpdateStatus.State.String())
	}
}
