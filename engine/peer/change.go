package peer

import (
	"net/netip"

	"weft/engine/model"
)

// FDB is a forwarding entry of a VXLAN device: frames for MAC go to VTEP.
type FDB struct {
	MAC  model.MAC
	VTEP netip.Addr
}

// Neigh is a neighbor entry of a VXLAN device, from which it answers ARP
// requests and neighbor solicitations.
type Neigh struct {
	Addr netip.Addr
	MAC  model.MAC
}

// Changes is what must be set on a VXLAN device (made, or changed) and deleted.
type Changes struct {
	SetFDB   []FDB
	SetPorts []model.MAC
	SetNeigh []Neigh

	DelFDB   []model.MAC
	DelPorts []model.MAC
	DelNeigh []netip.Addr
}

// Empty reports that there is nothing to do.
func (c Changes) Empty() bool { return c.Len() == 0 }

// Len gives the number of entries to set or delete.
func (c Changes) Len() int {
	return len(c.SetFDB) + len(c.SetPorts) + len(c.SetNeigh) + len(c.DelFDB) + len(c.DelPorts) + len(c.DelNeigh)
}

// Diff gives the changes that lead from have to want.
func Diff(have, want State) Changes {
	var c Changes
	for mac, vtep := range want.FDB {
		if old, ok := have.FDB[mac]; !ok || old != vtep {
			c.SetFDB = append(c.SetFDB, FDB{mac, vtep})
		}
	}
	for mac := range want.Ports {
		if !have.Ports[mac] {
			c.SetPorts = append(c.SetPorts, mac)
		}
	}
	for addr, mac := range want.Neigh {
		if old, ok := have.Neigh[addr]; !ok || old != mac {
			c.SetNeigh = append(c.SetNeigh, Neigh{addr, mac})
		}
	}
	for mac := range have.FDB {
		if _, ok := want.FDB[mac]; !ok {
			c.DelFDB = append(c.DelFDB, mac)
		}
	}
	for mac := range have.Ports {
		if !want.Ports[mac] {
			c.DelPorts = append(c.DelPorts, mac)
		}
	}
	for addr := range have.Neigh {
		if _, ok := want.Neigh[addr]; !ok {
			c.DelNeigh = append(c.DelNeigh, addr)
		}
	}
	return c
}
