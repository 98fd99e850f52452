package nft

import (
	"fmt"
	"maps"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ForgetAfter has a new flow, of TCP or UDP, forgotten once nothing has passed
// for so long, in whole seconds. Of a connection's other states the kernel
// keeps its own times. The rule has to follow a match of the protocol.
func ForgetAfter(proto byte, idle time.Duration) Rule {
	seconds := uint32(idle / time.Second) //nolint:gosec // control bounds it
	name := fmt.Sprintf("idle-%d-%d", proto, seconds)
	policy := maps.Clone(expr.CtStateTCPTimeoutDefaults)
	policy[expr.CtStateTCPESTABLISHED] = seconds
	if proto == unix.IPPROTO_UDP {
		// The kernel takes a flow of less than two seconds for one without an answer.
		policy = expr.CtStatePolicyTimeout{expr.CtStateUDPREPLIED: seconds, expr.CtStateUDPUNREPLIED: seconds}
	}
	return Rule{func(w *writer) []expr.Any {
		// The kernel keeps one of that name that is there.
		w.conn.AddObj(&nftables.NamedObj{
			Table: w.table, Name: name, Type: nftables.ObjTypeCtTimeout,
			Obj: &expr.CtTimeout{L3Proto: anyFamily, L4Proto: proto, Policy: policy},
		})
		return []expr.Any{&expr.Objref{Type: int(nftables.ObjTypeCtTimeout), Name: name}}
	}}
}

// anyFamily leaves the family out of a timeout's description, which says
// nothing else of flows: IPv4's and IPv6's have the same states.
const anyFamily = unix.NFPROTO_INET
