package peer

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
)

// observeTries is how often a listing is begun anew that the kernel calls
// interrupted by a change.
const observeTries = 5

// Observe reads the entries of the VXLAN device of that index in ns: those of
// the kinds this package sets, whoever set them.
func Observe(ns *kernel.Namespace, index int) (State, error) {
	s := newState()
	for _, fam := range []int{unix.AF_BRIDGE, unix.AF_INET, unix.AF_INET6} {
		list, err := list(ns, fam, index)
		if err != nil {
			return s, fmt.Errorf("list the peer entries of device %d in %s: %w", index, ns.Path(), err)
		}
		for i := range list {
			if list[i].LinkIndex == index {
				s.add(fam, &list[i])
			}
		}
	}
	return s, nil
}

func list(ns *kernel.Namespace, fam, index int) ([]netlink.Neigh, error) {
	h, err := ns.Netlink()
	if err != nil {
		return nil, err
	}
	query := netlink.Ndmsg{Family: uint8(fam), Index: uint32(index)} //nolint:gosec // both small and positive
	list, err := h.NeighListExecute(query)
	for try := 1; errors.Is(err, netlink.ErrDumpInterrupted) && try < observeTries; try++ {
		list, err = h.NeighListExecute(query)
	}
	return list, err
}

func (s State) add(fam int, n *netlink.Neigh) {
	if len(n.HardwareAddr) != len(model.MAC{}) {
		return
	}
	mac := model.MAC(n.HardwareAddr)
	addr, _ := netip.AddrFromSlice(n.IP)
	switch {
	case fam != unix.AF_BRIDGE:
		if n.State&unix.NUD_PERMANENT != 0 {
			s.Neigh[addr.Unmap()] = mac
		}
	case n.Flags&unix.NTF_SELF != 0:
		if addr.IsValid() {
			s.FDB[mac] = addr.Unmap()
		}
	case n.State&unix.NUD_NOARP != 0:
		s.Ports[mac] = true
	}
}
