// Package peer turns the remote endpoints of one segment into what its VXLAN
// device must know: which VTEP a MAC is behind, which MAC an address has.
//
// Table is the pure half: it takes the peer table's events, decides between
// endpoints that claim the same address, and says which entries that changes.
// Observe, Diff and Apply are the other half: they read the entries of a
// device, compare, and write the difference in a few netlink writes.
//
// An endpoint has a permanent FDB entry on the VXLAN device, a static one on
// the bridge port (so that the bridge sends frames for it out of that port
// alone, and not to every local endpoint), and a permanent neighbor entry for
// its IPv4 address and, where the segment has IPv6, for the address derived
// from it. Where nodes have legs (Table.Legs), those of their MAC addresses go
// along. The entries live with the device: nobody deletes them when it goes.
package peer
