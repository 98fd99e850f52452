package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
)

// The rule that makes partitions is, in the bridge family,
//
//	chain forward { type filter hook forward priority 0; iifname . oifname @cut drop }
//
// and cut holds pairs of ports, each in both directions. Ports carry the names
// of hosts, so a partition outlives the reboot of a host.
const (
	tableName = "weft_lab"
	chainName = "forward"
	cutName   = "cut"
	ifNameLen = unix.IFNAMSIZ
)

// Pair is two hosts between which the underlay drops every frame.
type Pair struct{ A, B string }

// Partition cuts the underlay between two hosts. To cut what is cut already
// changes nothing.
func (l *Lab) Partition(ctx context.Context, a, b string) error {
	return l.changeCuts(ctx, a, b, func(c *nftables.Conn, set *nftables.Set, _ []Pair) error {
		return c.SetAddElements(set, elements([]Pair{{a, b}}))
	})
}

// Heal mends the underlay between two hosts. To heal what is whole changes
// nothing.
func (l *Lab) Heal(ctx context.Context, a, b string) error {
	return l.changeCuts(ctx, a, b, func(c *nftables.Conn, set *nftables.Set, cut []Pair) error {
		if !slices.Contains(cut, ordered(a, b)) {
			return nil
		}
		return c.SetDeleteElements(set, elements([]Pair{{a, b}}))
	})
}

// HealAll mends every partition and gives the pairs it mended.
func (l *Lab) HealAll(ctx context.Context) (mended []Pair, err error) {
	err = l.withCuts(ctx, func(c *nftables.Conn, set *nftables.Set, cut []Pair) error {
		mended = cut
		c.FlushSet(set)
		return nil
	})
	return mended, err
}

// Partitions gives the pairs of hosts that are cut off from each other, none
// when the underlay is gone.
func (l *Lab) Partitions() (cut []Pair, err error) {
	err = l.inUnderlay(func(ns *kernel.Namespace, _ *netlink.Handle) error {
		c, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
		if err != nil {
			return fmt.Errorf("open nftables in the underlay: %w", err)
		}
		cut, err = readCuts(c, cutSet())
		return err
	})
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	return cut, err
}

func (l *Lab) changeCuts(ctx context.Context, a, b string, change func(*nftables.Conn, *nftables.Set, []Pair) error) error {
	for _, name := range []string{a, b} {
		if _, err := l.Host(name); err != nil {
			return err
		}
	}
	if a == b {
		return fault.Invalid("a partition is between two hosts, not between %s and itself", a)
	}
	return l.withCuts(ctx, change)
}

// withCuts queues changes of the set and applies them in one transaction.
func (l *Lab) withCuts(ctx context.Context, change func(*nftables.Conn, *nftables.Set, []Pair) error) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := l.load()
	if err != nil {
		return err
	}
	if err := l.ensureUnderlay(st.MTU); err != nil {
		return err
	}
	return l.inUnderlay(func(ns *kernel.Namespace, _ *netlink.Handle) error {
		c, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
		if err != nil {
			return fmt.Errorf("open nftables in the underlay: %w", err)
		}
		cut, err := readCuts(c, cutSet())
		if err != nil {
			return err
		}
		if err := change(c, cutSet(), cut); err != nil {
			return fmt.Errorf("change the partitions: %w", err)
		}
		if err := c.Flush(); err != nil {
			return fmt.Errorf("change the partitions: %w", err)
		}
		return nil
	})
}

// ensureCuts makes the rule that drops, unless it is there.
func (l *Lab) ensureCuts() error {
	return l.inUnderlay(func(ns *kernel.Namespace, _ *netlink.Handle) error {
		c, err := nftables.New(nftables.WithNetNSFd(ns.Fd()))
		if err != nil {
			return fmt.Errorf("open nftables in the underlay: %w", err)
		}
		tables, err := c.ListTablesOfFamily(nftables.TableFamilyBridge)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return kernelLacks("nftables", fmt.Errorf("list the underlay's tables: %w", err))
		}
		if slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }) {
			return nil
		}
		set := cutSet()
		c.AddTable(set.Table)
		if err := c.AddSet(set, nil); err != nil {
			return fmt.Errorf("prepare partitions: %w", err)
		}
		chain := c.AddChain(&nftables.Chain{
			Name: chainName, Table: set.Table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		c.AddRule(&nftables.Rule{Table: set.Table, Chain: chain, Exprs: []expr.Any{
			// Registers of 16 bytes, read as one key of 32 by the lookup.
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: unix.NFT_REG_2},
			&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: set.Name, SetID: set.ID},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
		if err := c.Flush(); err != nil {
			return kernelLacks("nftables for bridges", fmt.Errorf("prepare partitions: %w", err))
		}
		return nil
	})
}

func cutSet() *nftables.Set {
	return &nftables.Set{
		Table:         &nftables.Table{Name: tableName, Family: nftables.TableFamilyBridge},
		Name:          cutName,
		KeyType:       nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIFName),
		Concatenation: true,
	}
}

// elements gives both directions of each pair.
func elements(pairs []Pair) []nftables.SetElement {
	var es []nftables.SetElement
	for _, p := range pairs {
		es = append(es, nftables.SetElement{Key: key(p.A, p.B)}, nftables.SetElement{Key: key(p.B, p.A)})
	}
	return es
}

func key(from, to string) []byte {
	k := make([]byte, 2*ifNameLen)
	copy(k, from)
	copy(k[ifNameLen:], to)
	return k
}

func readCuts(c *nftables.Conn, set *nftables.Set) ([]Pair, error) {
	es, err := c.GetSetElements(set)
	if err != nil {
		return nil, fmt.Errorf("read the partitions: %w", err)
	}
	var pairs []Pair
	for _, e := range es {
		if len(e.Key) != 2*ifNameLen {
			return nil, fault.Internal("read the partitions: a key has %d bytes, not %d", len(e.Key), 2*ifNameLen)
		}
		p := ordered(ifName(e.Key[:ifNameLen]), ifName(e.Key[ifNameLen:]))
		if !slices.Contains(pairs, p) {
			pairs = append(pairs, p)
		}
	}
	slices.SortFunc(pairs, func(x, y Pair) int {
		return bytes.Compare([]byte(x.A+" "+x.B), []byte(y.A+" "+y.B))
	})
	return pairs, nil
}

func ifName(b []byte) string {
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name)
}

func ordered(a, b string) Pair {
	if b < a {
		a, b = b, a
	}
	return Pair{a, b}
}
