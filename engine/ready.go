package engine

import (
	"time"

	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/model"
)

// A task that has no check of its health is taken for ready when it listens at
// its published ports, or after listenTime: something else may accept for it.
const (
	listenTime = 30 * time.Second
	listenPoll = 5 * time.Millisecond
	// slowPoll is the pause for tasks that take longer than that.
	slowPoll = 100 * time.Millisecond
)

// announceListening tells the other nodes of a task's endpoint on the ingress
// network, once it accepts connections.
func (e *Engine) announceListening(ep model.Endpoint) {
	begun, pause := time.NewTimer(listenTime), listenPoll
	defer begun.Stop()
	for !e.listens(ep) {
		t := time.NewTimer(pause)
		select {
		case <-e.life.Done():
			t.Stop()
			return
		case <-begun.C:
			e.cfg.Log.Info("task published that does not listen at its ports", "container_id", ep.ContainerID)
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

// listens reports whether there is nothing to wait for. A sandbox that is gone
// has nothing to announce.
func (e *Engine) listens(ep model.Endpoint) bool {
	sandbox, err := kernel.Open(ep.Sandbox)
	if err != nil {
		return true
	}
	defer func() { _ = sandbox.Close() }()
	ok, err := mesh.Listening(sandbox, targets(ep))
	return ok || err != nil
}

func targets(ep model.Endpoint) []mesh.Target {
	var out []mesh.Target
	for _, p := range ep.Ingress {
		out = append(out, mesh.Target{Port: mesh.Port{Proto: protocolNumber(p.Proto), Published: p.Published}, To: p.Target})
	}
	return out
}
