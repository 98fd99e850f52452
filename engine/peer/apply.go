package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
)

// Apply writes c to the VXLAN device of that index in ns: first what makes an
// endpoint reachable, the neighbor entry last, then the deletions in reverse.
// An entry that is to be deleted and is not there is fine. Everything is
// attempted; the error names what the kernel refused.
func Apply(ns *kernel.Namespace, index int, c Changes) error {
	w := writer{index: index}
	for _, f := range c.SetFDB {
		w.fdb(f)
	}
	for _, m := range c.SetPorts {
		w.port(unix.RTM_NEWNEIGH, m)
	}
	for _, n := range c.SetNeigh {
		w.neigh(n)
	}
	for _, a := range c.DelNeigh {
		w.delNeigh(a)
	}
	for _, m := range c.DelPorts {
		w.port(unix.RTM_DELNEIGH, m)
	}
	for _, m := range c.DelFDB {
		w.delFDB(m)
	}
	failures, err := ns.Send(&w.batch)
	if err != nil {
		return fmt.Errorf("program %d peer entries: %w", w.batch.Len(), err)
	}
	return explain(failures, c)
}

// maxReported is how many refused entries an error names one by one.
const maxReported = 5

func explain(failures []kernel.Failure, c Changes) error {
	var errs []error
	refused := 0
	for _, f := range failures {
		deletion := f.Index >= len(c.SetFDB)+len(c.SetPorts)+len(c.SetNeigh)
		if deletion && errors.Is(f.Err, unix.ENOENT) {
			continue
		}
		if refused++; refused <= maxReported {
			errs = append(errs, fmt.Errorf("%s: %w", c.describe(f.Index), f.Err))
		}
	}
	if refused > maxReported {
		errs = append(errs, fmt.Errorf("and %d more peer entries", refused-maxReported)) //nolint:err113 // a line of a list
	}
	return errors.Join(errs...)
}

// describe names the i-th entry in the order in which Apply writes them.
func (c Changes) describe(i int) string {
	if i < len(c.SetFDB) {
		return fmt.Sprintf("set FDB entry %s behind %s", c.SetFDB[i].MAC, c.SetFDB[i].VTEP)
	}
	if i -= len(c.SetFDB); i < len(c.SetPorts) {
		return fmt.Sprintf("set bridge entry %s", c.SetPorts[i])
	}
	if i -= len(c.SetPorts); i < len(c.SetNeigh) {
		return fmt.Sprintf("set neighbor entry %s at %s", c.SetNeigh[i].Addr, c.SetNeigh[i].MAC)
	}
	if i -= len(c.SetNeigh); i < len(c.DelNeigh) {
		return fmt.Sprintf("delete neighbor entry %s", c.DelNeigh[i])
	}
	if i -= len(c.DelNeigh); i < len(c.DelPorts) {
		return fmt.Sprintf("delete bridge entry %s", c.DelPorts[i])
	}
	return fmt.Sprintf("delete FDB entry %s", c.DelFDB[i-len(c.DelPorts)])
}

// replace is how an entry is set, whether it is there or not.
const replace = unix.NLM_F_CREATE | unix.NLM_F_REPLACE

// writer puts neighbor messages for one device into a batch.
type writer struct {
	index int
	batch kernel.Batch
}

// begin starts a message with its struct ndmsg.
func (w *writer) begin(msgType, flags uint16, family byte, state uint16, ndFlags byte) {
	var h [unix.SizeofNdMsg]byte
	h[0] = family
	binary.NativeEndian.PutUint32(h[4:], uint32(w.index)) //nolint:gosec // device indexes are positive
	binary.NativeEndian.PutUint16(h[8:], state)
	h[10] = ndFlags
	w.batch.Begin(msgType, flags, h[:])
}

func (w *writer) fdb(f FDB) {
	w.begin(unix.RTM_NEWNEIGH, replace, unix.AF_BRIDGE, unix.NUD_PERMANENT, unix.NTF_SELF)
	w.batch.Attr(unix.NDA_LLADDR, f.MAC[:])
	w.addr(f.VTEP)
}

func (w *writer) delFDB(m model.MAC) {
	w.begin(unix.RTM_DELNEIGH, 0, unix.AF_BRIDGE, unix.NUD_PERMANENT, unix.NTF_SELF)
	w.batch.Attr(unix.NDA_LLADDR, m[:])
}

// port sets or deletes the bridge's entry. NUD_NOARP is the bridge's word for
// static; permanent would make the MAC the bridge's own.
func (w *writer) port(msgType uint16, m model.MAC) {
	flags := uint16(0)
	if msgType == unix.RTM_NEWNEIGH {
		flags = replace
	}
	w.begin(msgType, flags, unix.AF_BRIDGE, unix.NUD_NOARP, unix.NTF_MASTER)
	w.batch.Attr(unix.NDA_LLADDR, m[:])
}

func (w *writer) neigh(n Neigh) {
	w.begin(unix.RTM_NEWNEIGH, replace, family(n.Addr), unix.NUD_PERMANENT, 0)
	w.addr(n.Addr)
	w.batch.Attr(unix.NDA_LLADDR, n.MAC[:])
}

func (w *writer) delNeigh(a netip.Addr) {
	w.begin(unix.RTM_DELNEIGH, 0, family(a), 0, 0)
	w.addr(a)
}

func (w *writer) addr(a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		w.batch.Attr(unix.NDA_DST, b[:])
		return
	}
	b := a.As16()
	w.batch.Attr(unix.NDA_DST, b[:])
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
