package engine

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"weft/engine/model"
)

const (
	// askTime is how long the others have to look at their kernels and to say
	// what they see: two rounds of the gossip, each some times 200 ms.
	askTime = 2 * time.Second
	askPoll = 10 * time.Millisecond
)

// askOthers has the other nodes on the ingress network report how their kernels
// are now, and gives those that have not in time. Nodes that never say anything
// are not waited for.
func (p *publisher) askOthers(ctx context.Context) (late map[netip.Addr]bool) {
	p.mu.Lock()
	networkID, present := p.network, p.sandbox != nil
	p.mu.Unlock()
	if !present {
		return nil
	}
	select { // one question at a time: a node tells the last one it has answered
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		return nil
	}
	question := fmt.Sprintf("%016x", p.now().UnixNano())
	if err := p.ask(networkID, question); err != nil {
		p.log.WarnContext(ctx, "the others not asked about the published ports", "network_id", networkID, "err", err)
		return nil
	}
	poll(ctx, askPoll, askTime, func() bool {
		late = unanswered(p.nodes(networkID), question)
		return len(late) == 0
	})
	return late
}

// unanswered gives the nodes that have not answered a question of this node's.
func unanswered(nodes []model.MeshNode, question string) map[netip.Addr]bool {
	var self netip.Addr
	for _, n := range nodes {
		if n.Self {
			self = n.Addr
		}
	}
	out := map[netip.Addr]bool{}
	for _, n := range nodes {
		if !n.Self && n.Report != nil && n.Report.Asked[self] != question {
			out[n.Addr] = true
		}
	}
	return out
}

// asked notes what other nodes ask.
func (p *publisher) asked(networkID string, asks map[netip.Addr]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if networkID != p.network {
		return
	}
	for from, text := range asks {
		if p.told(from) != text {
			p.questions[from] = text
		}
	}
	if len(p.questions) == 0 {
		return
	}
	select {
	case p.question <- struct{}{}:
	default:
	}
}

// told gives the question of a node's that was answered last. p.mu is held.
func (p *publisher) told(from netip.Addr) string {
	for _, q := range p.answered {
		if q.from == from {
			return q.text
		}
	}
	return ""
}

// answer looks at the kernel and reports.
func (p *publisher) answer() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sandbox == nil || (p.adopted && !p.whole) || len(p.questions) == 0 {
		return nil
	}
	found, err := p.drift()
	if err != nil {
		return err
	}
	before := p.answered
	p.answered = nil
	for from, text := range p.questions {
		p.answered = append(p.answered, answered{from, text})
	}
	for _, q := range before {
		if p.told(q.from) == "" {
			p.answered = append(p.answered, q)
		}
	}
	p.answered = p.answered[:min(len(p.answered), model.MaxMeshQuestions)]
	clear(p.questions)
	p.report(p.network, p.account(found))
	return nil
}
