package engine

import (
	"slices"
	"time"

	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/model"
)

// A task that has no check of its health is taken for ready when it listens at
// its published ports, or after listenTime: something else may accept for it.
// Once it does at one of them the others have othersTime: a program need not
// use all that are published for it.
const (
	listenTime = 30 * time.Second
	othersTime = time.Second
	listenPoll = 5 * time.Millisecond
	// slowPoll is the pause for tasks that take longer than that.
	slowPoll = 100 * time.Millisecond
)

// announceListening tells the other nodes of a task's endpoint on the ingress
// network, once it accepts connections.
func (e *Engine) announceListening(ep model.Endpoint) {
	begun, pause := time.NewTimer(listenTime), listenPoll
	defer begun.Stop()
	for some := false; ; {
		have := listening(ep)
		if len(have.Closed) == 0 {
			break
		}
		if len(have.Open) > 0 && !some {
			some = true
			begun.Reset(othersTime)
		}
		t := time.NewTimer(pause)
		select {
		case <-e.life.Done():
			t.Stop()
			return
		case <-begun.C:
			e.cfg.Log.Info("task published that does not listen at all its ports", "container_id", ep.ContainerID, "closed", have.Closed)
		case <-t.C:
			pause = min(2*pause, slowPoll)
			continue
		}
		break
	}
	if err := e.networks.setReadiness(e.life, ep); err != nil {
		e.cfg.Log.Warn("task not announced", "container_id", ep.ContainerID, "err", err)
	}
}

// listening gives the ports a task listens at, and those it is waited for. A
// sandbox that is gone has nothing to wait for.
func listening(ep model.Endpoint) mesh.Listeners {
	sandbox, err := kernel.Open(ep.Sandbox)
	if err != nil {
		return mesh.Listeners{}
	}
	defer func() { _ = sandbox.Close() }()
	have, err := mesh.Listening(sandbox, targets(ep))
	if err != nil {
		return mesh.Listeners{}
	}
	return have
}

// noteListeners notes at which ports a task listens on any address, which hosts
// may send to without their sandbox, and reports whether that is news. A port
// where nothing listens for a while stays what it was.
func noteListeners(ep *model.Endpoint, have mesh.Listeners) bool {
	if ep.Mesh == nil {
		return false
	}
	own := *ep.Mesh
	own.Anywhere = slices.DeleteFunc(slices.Clone(own.Anywhere), func(p uint16) bool { return slices.Contains(have.Open, p) })
	own.Anywhere = append(own.Anywhere, have.Anywhere...)
	slices.Sort(own.Anywhere)
	own.Anywhere = slices.Compact(own.Anywhere)
	if slices.Equal(own.Anywhere, ep.Mesh.Anywhere) {
		return false
	}
	ep.Mesh = &own
	return true
}

// It is looked where tasks listen every so often: a program may begin to after
// it was announced, or choose another address.
const (
	pendingTime  = 2 * time.Second // for those with ports that nothing is known of
	reviewRounds = 15              // of which one is for all
)

func (e *Engine) reviewListeners() {
	t := time.NewTicker(pendingTime)
	defer t.Stop()
	for round := 1; ; round++ {
		select {
		case <-e.life.Done():
			return
		case <-t.C:
		}
		if err := e.networks.reviewListeners(e.life, round%reviewRounds == 0); err != nil {
			e.cfg.Log.Warn("others not told where tasks listen", "err", err)
		}
	}
}

// pending reports whether nothing listens on any address at some of a task's
// ports, for all that is known.
func pending(ep model.Endpoint) bool {
	return slices.ContainsFunc(ep.Ingress, func(p model.IngressPort) bool {
		return p.Proto == "tcp" && !slices.Contains(ep.Mesh.Anywhere, p.Target)
	})
}

func targets(ep model.Endpoint) []mesh.Target {
	var out []mesh.Target
	for _, p := range ep.Ingress {
		out = append(out, mesh.Target{Port: mesh.Port{Proto: protocolNumber(p.Proto), Published: p.Published}, To: p.Target})
	}
	return out
}
