//go:build exhaustive

package main_test

import (
	"net"
	"testing"
	"time"
)

// killEverywhere kills runs after every record of the journal, and before and
// after every request that changes something, and goes on both ways.
func (b *bed) killEverywhere() {
	b.Helper()
	kills := 0
	for _, verb := range []string{"resume", "rollback"} {
		for _, at := range []aim{{}, {request: anyChange}, {request: anyChange, after: true}} {
			for at.nth = 1; b.killAt(at, verb); at.nth++ {
				kills++
			}
		}
	}
	b.Logf("%d kills", kills)
}

func TestKilledEverywhereOnDockerd(t *testing.T) { dockerdBed(t).killEverywhere() }

func TestKilledEverywhereOnEngine(t *testing.T) { engineBed(t).killEverywhere() }

// idleTime is more than what ends idle connections through Docker's mesh, the
// 900 s of IPVS.
const idleTime = 16 * time.Minute

func TestIdleMeshConnections(t *testing.T) {
	t.Parallel()
	b := newMeshBed(t)
	one := b.nodes[0]
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "ov")
	one.weft(t, "service", "create", "-q", "--name", "web", "--network", "ov", "--constraint", "node.hostname==host2", "--publish", "8080:80", "weft/probe")
	one.weft(t, "run", "-d", "--name", "box", "--network", "ov", "weft/probe")
	b.answers(t, "tcp", b.at(0, 8080))
	box := b.sandbox(one, "box")
	idle := map[string]held{
		"from outside":             b.hold(t, b.outside, b.at(0, 8080)),
		"from outside, IPv6":       b.hold(t, b.outside, net.JoinHostPort(b.addrV6(0).String(), "8080")),
		"from outside, task there": b.hold(t, b.outside, b.at(1, 8080)),
		"from the host":            b.hold(t, b.hosts[0], "127.0.0.1:8080"),
		"from a container":         b.hold(t, box, b.at(0, 8080)),
		"by the virtual IP":        b.hold(t, box, b.byVirtualIP(t, box)),
	}
	<-time.After(idleTime)
	for name, c := range idle {
		t.Run(name, c.alive)
	}
}
