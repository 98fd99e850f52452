package engine

import (
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
		open, closed := e.listening(ep)
		if closed == 0 {
			break
		}
		if open > 0 && !some {
			some = true
			begun.Reset(othersTime)
		}
		t := time.NewTimer(pause)
		select {
		case <-e.life.Done():
			t.Stop()
			return
		case <-begun.C:
			e.cfg.Log.Info("task published that does not listen at all its ports", "container_id", ep.ContainerID, "closed", closed)
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

// listening counts the ports a task listens at, and those it is waited for. A
// sandbox that is gone has nothing to wait for.
func (e *Engine) listening(ep model.Endpoint) (open, closed int) {
	sandbox, err := kernel.Open(ep.Sandbox)
	if err != nil {
		return 0, 0
	}
	defer func() { _ = sandbox.Close() }()
	open, closed, err = mesh.Listening(sandbox, targets(ep))
	if err != nil {
		return 0, 0
	}
	return open, closed
}

func targets(ep model.Endpoint) []mesh.Target {
	var out []mesh.Target
	for _, p := range ep.Ingress {
		out = append(out, mesh.Target{Port: mesh.Port{Proto: protocolNumber(p.Proto), Published: p.Published}, To: p.Target})
	}
	return out
}
