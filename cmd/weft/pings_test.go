package main_test

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// pings are those of a container, ten a second until they are ended.
type pings struct {
	node
	container string
}

// pinging starts pings to an address of a network. When the first one was
// answered, the other node knows of the container: one without an engine learns
// of nobody.
func pinging(t *testing.T, n node, network, container, addr string) pings {
	t.Helper()
	n.weft(t, "run", "-d", "--name", container, "--network", network, "weft/probe", "ping", "-i", "0.1", addr)
	p := pings{n, container}
	p.await(t, 1)
	return p
}

// await waits until so many pings were answered.
func (p pings) await(t *testing.T, count int) {
	t.Helper()
	await(t, 60*time.Second, func() (bool, string) {
		r := p.try(t, "logs", p.container)
		return len(answered(r.out)) >= count, p.Name + ": " + r.String()
	})
}

// end ends the pings when one more was answered, and least of them were. It
// wants none to have been lost since the first answer.
func (p pings) end(t *testing.T, least int) {
	t.Helper()
	p.await(t, max(least, len(answered(p.weft(t, "logs", p.container)))+1))
	p.weft(t, "stop", p.container)
	out := p.weft(t, "logs", p.container)
	seqs := answered(out)
	for i, seq := range seqs {
		if seq != seqs[0]+i {
			t.Errorf("%s: %s lost pings from %d on:\n%s", p.Name, p.container, seqs[0]+i, out)
			break
		}
	}
	p.weft(t, "rm", p.container)
}

// answered gives the sequence numbers of the pings in a log that were answered.
func answered(log string) (seqs []int) {
	for line := range strings.Lines(log) {
		_, after, _ := strings.Cut(line, "icmp_seq=")
		number, _, _ := strings.Cut(after, " ttl=")
		if seq, err := strconv.Atoi(number); err == nil {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}
