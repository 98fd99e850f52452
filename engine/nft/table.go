// Package nft writes nftables tables (linux/netfilter/nf_tables.h), a whole
// table at a time: the kernel takes it in one transaction, so that packets meet
// the rules before or the rules after and nothing between.
//
// Rules are made of Matches and ended by a verdict, both plain values.
package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// Table is a table of the inet family, for IPv4 and IPv6 at once.
type Table struct {
	Name   string
	Chains []Chain
}

// Kind is what a base chain does; the strings are the kernel's.
type Kind string

// The kinds of base chains.
const (
	Filter Kind = "filter"
	NAT    Kind = "nat"
)

// Hook is where in a packet's way a base chain is (linux/netfilter.h).
type Hook uint32

// The hooks of the inet family.
const (
	Prerouting  Hook = unix.NF_INET_PRE_ROUTING
	Input       Hook = unix.NF_INET_LOCAL_IN
	Forward     Hook = unix.NF_INET_FORWARD
	Output      Hook = unix.NF_INET_LOCAL_OUT
	Postrouting Hook = unix.NF_INET_POST_ROUTING
)

// Priorities order the base chains of one hook, the lowest first
// (linux/netfilter_ipv4.h).
const (
	PriorityRaw    int32 = -300
	PriorityDstNAT int32 = -100
	PriorityFilter int32 = 0
	PrioritySrcNAT int32 = 100
)

// Chain is a list of rules. With a Kind it is a base chain, whose packets are
// accepted when no rule says otherwise; without, rules jump to it, and it has
// to stand before them.
type Chain struct {
	Name     string
	Kind     Kind
	Hook     Hook
	Priority int32
	Rules    []Rule
}

// Rule is a sequence of matches and the verdict at its end.
type Rule []expr.Any

// When makes a rule of matches and, last, a verdict.
func When(parts ...Rule) Rule { return slices.Concat(parts...) }

// Replace puts t in the place of the table of that name in ns, if there is one.
func Replace(ns *kernel.Namespace, t Table) error {
	c, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
	if err != nil {
		return fmt.Errorf("open nftables in %s: %w", ns.Path(), err)
	}
	table := &nftables.Table{Name: t.Name, Family: nftables.TableFamilyINet}
	// Adding first makes the deletion succeed where there is none.
	c.AddTable(table)
	c.DelTable(table)
	c.AddTable(table)
	for _, ch := range t.Chains {
		add(c, table, ch)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write nftables table %s in %s: %w", t.Name, ns.Path(), err)
	}
	return nil
}

func add(c *nftables.Conn, table *nftables.Table, ch Chain) {
	chain := &nftables.Chain{Name: ch.Name, Table: table}
	if ch.Kind != "" {
		hook, priority := nftables.ChainHook(ch.Hook), nftables.ChainPriority(ch.Priority)
		chain.Type, chain.Hooknum, chain.Priority = nftables.ChainType(ch.Kind), &hook, &priority
	}
	c.AddChain(chain)
	for _, r := range ch.Rules {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r})
	}
}

// Delete removes the table of that name from ns; there being none is fine.
func Delete(ns *kernel.Namespace, name string) error {
	c, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
	if err != nil {
		return fmt.Errorf("open nftables in %s: %w", ns.Path(), err)
	}
	c.DelTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete nftables table %s in %s: %w", name, ns.Path(), err)
	}
	return nil
}
