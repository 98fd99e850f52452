// Package nft writes nftables tables (linux/netfilter/nf_tables.h), a whole
// table or elements of its sets at a time: the kernel takes either in one
// transaction, so that packets meet the rules before or the rules after and
// nothing between.
//
// Rules are made of Matches and ended by a verdict, both plain values.
package nft

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// Table is a table of the inet family, for IPv4 and IPv6 at once. With a
// Device it is one of the netdev family, about the frames of that device.
type Table struct {
	Name   string
	Device string
	Sets   []Set
	Chains []Chain
}

func (t Table) family() nftables.TableFamily {
	if t.Device != "" {
		return nftables.TableFamilyNetdev
	}
	return nftables.TableFamilyINet
}

// Kind is what a base chain does; the strings are the kernel's.
type Kind string

// The kinds of base chains.
const (
	Filter Kind = "filter"
	NAT    Kind = "nat"
	Route  Kind = "route" // of Output: looks for the way again after a change
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
	// The hooks of tables with a Device: what comes by it and what leaves.
	Ingress Hook = unix.NF_NETDEV_INGRESS
	Egress  Hook = unix.NF_NETDEV_EGRESS
)

// Priorities order the base chains of one hook, the lowest first
// (linux/netfilter_ipv4.h).
const (
	PriorityRaw    int32 = -300
	PriorityMangle int32 = -150
	PriorityDstNAT int32 = -100
	PriorityFilter int32 = 0
	PrioritySrcNAT int32 = 100
)

// Chain is a list of rules. With a Kind it is a base chain, whose packets are
// accepted when no rule says otherwise; without, rules and elements of sets
// lead to it, and it has to stand before the rules.
type Chain struct {
	Name     string
	Kind     Kind
	Hook     Hook
	Priority int32
	Rules    []Rule
}

// Rule is a sequence of matches and the verdict at its end.
type Rule []expression

// expression is one step of a rule. Most are the kernel's own; the others need
// a set beside the rule.
type expression func(*writer) []expr.Any

// When makes a rule of matches and, last, a verdict.
func When(parts ...Rule) Rule { return slices.Concat(parts...) }

// of makes a rule of the kernel's expressions.
func of(list ...expr.Any) Rule {
	return Rule{func(*writer) []expr.Any { return list }}
}

// writer adds to a table. The first error stays.
type writer struct {
	conn   *nftables.Conn
	table  *nftables.Table
	device string
	refill bool
	sets   uint32
	err    error
}

// bufferSize holds the messages of a large table and the kernel's answers to
// them, in bytes.
const bufferSize = 16 << 20

// Conn writes the tables of one namespace. Keep it where more is to come: the
// kernel lets a connection go only after it has done away with what was
// replaced over it, which takes some 15 ms. It is safe for concurrent use.
type Conn struct {
	ns *kernel.Namespace

	mu   sync.Mutex // held while a table is written
	conn *nftables.Conn
}

// Open gives a connection to the nftables of ns, which has to outlive it.
func Open(ns *kernel.Namespace) (*Conn, error) {
	c, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(ns.Fd()), nftables.WithSockOptions(func(s *netlink.Conn) error {
		// The kernel gives what it allows; small tables fit in the least.
		return errors.Join(s.SetWriteBuffer(bufferSize), s.SetReadBuffer(bufferSize))
	}))
	if err != nil {
		return nil, fmt.Errorf("open nftables in %s: %w", ns.Path(), err)
	}
	return &Conn{ns: ns, conn: c}, nil
}

// Close ends the connection; the tables stay.
func (c *Conn) Close() error { return c.conn.CloseLasting() }

// Replace puts t in the place of the table of that name, if there is one.
func (c *Conn) Replace(t Table) error { return c.write(t, true) }

// Refill gives the chains of a table that Replace has written other rules. The
// hooks stay as they are.
func (c *Conn) Refill(t Table) error { return c.write(t, false) }

func (c *Conn) write(t Table, whole bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &writer{conn: c.conn, table: &nftables.Table{Name: t.Name, Family: t.family()}, device: t.Device, refill: !whole}
	w.conn.AddTable(w.table)
	if whole {
		// Adding first makes the deletion succeed where there is none.
		w.conn.DelTable(w.table)
		w.conn.AddTable(w.table)
	}
	if whole {
		for _, set := range t.Sets {
			w.set(set)
		}
	}
	for _, ch := range t.Chains {
		w.chain(ch)
	}
	if whole {
		for _, set := range t.Sets {
			w.elements(w.conn.SetAddElements, set, set.Elements)
		}
	}
	if err := errors.Join(w.err, w.conn.Flush()); err != nil {
		return fmt.Errorf("write nftables table %s in %s: %w", t.Name, c.ns.Path(), err)
	}
	return nil
}

// Delete removes the table of that name, of the inet family; there being none
// is fine.
func (c *Conn) Delete(name string) error { return c.delete(Table{Name: name}) }

// DeleteOf does the same for a device's table.
func (c *Conn) DeleteOf(device, name string) error {
	return c.delete(Table{Name: name, Device: device})
}

func (c *Conn) delete(t Table) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.DelTable(&nftables.Table{Name: t.Name, Family: t.family()})
	if err := c.conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete nftables table %s in %s: %w", t.Name, c.ns.Path(), err)
	}
	return nil
}

func (w *writer) chain(ch Chain) {
	chain := &nftables.Chain{Name: ch.Name, Table: w.table}
	if ch.Kind != "" {
		hook, priority := nftables.ChainHook(ch.Hook), nftables.ChainPriority(ch.Priority)
		chain.Type, chain.Hooknum, chain.Priority, chain.Device = nftables.ChainType(ch.Kind), &hook, &priority, w.device
	}
	w.conn.AddChain(chain)
	if w.refill {
		w.conn.FlushChain(chain)
	}
	for _, r := range ch.Rules {
		var list []expr.Any
		for _, e := range r {
			list = append(list, e(w)...)
		}
		w.conn.AddRule(&nftables.Rule{Table: w.table, Chain: chain, Exprs: list})
	}
}
