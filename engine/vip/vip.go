// Package vip balances the virtual IPs of services inside the sandboxes of
// their clients: a flow to a virtual IP gets one of the service's tasks as its
// destination before it leaves the sandbox. There is no hop in between, and the
// task sees the client's own address.
package vip

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"weft/engine/nft"
)

const tableName = "weft-vip"

// Service is one virtual IP and the addresses behind it, all of one family.
type Service struct {
	VIP   netip.Addr
	Tasks []netip.Addr // none: the service has no task that runs
}

// Set makes exactly these services reachable from the sandbox. Established
// flows go on with the task they have. known says that Set has been here
// before, in this build, and spares the kernel making its hooks anew.
func Set(sandbox *nft.Conn, services []Service, known bool) error {
	if len(services) == 0 {
		return sandbox.Delete(tableName)
	}
	write := sandbox.Replace
	if known {
		write = sandbox.Refill
	}
	balance := nft.Chain{Name: "balance", Kind: nft.NAT, Hook: nft.Output, Priority: nft.PriorityDstNAT}
	refuse := nft.Chain{Name: "refuse", Kind: nft.Filter, Hook: nft.Output, Priority: nft.PriorityFilter, Rules: []nft.Rule{
		nft.When(nft.AnswersOrUntracked(), nft.Accept()), // as most are: they cost nothing by the number of services
	}}
	for _, s := range services {
		if len(s.Tasks) > 0 {
			balance.Rules = append(balance.Rules, nft.When(nft.ToAddr(s.VIP), nft.Spread(turned(s.Tasks))))
		}
		// What still goes there found no task.
		refuse.Rules = append(refuse.Rules, nft.When(nft.ToAddr(s.VIP), nft.Refuse()))
	}
	return write(nft.Table{Name: tableName, Chains: []nft.Chain{balance, refuse}})
}

// turned gives the addresses from another one on each time: every sandbox
// begins with the first, and would do so again after every change.
func turned(tasks []netip.Addr) []netip.Addr {
	at := rand.IntN(len(tasks)) //nolint:gosec // not a secret
	return slices.Concat(tasks[at:], tasks[:at])
}
