// Package overlay carries one node's share of the overlay networks: it makes
// them in the kernel, plugs sandboxes into them, and tells them where the
// remote endpoints are. It takes and gives values; who sends them (gossip, the
// swarm's allocator) is not its business.
//
// A network is a namespace with, per segment, a bridge and a VXLAN device. The
// bridge has the gateway addresses, so that the namespace routes between the
// network's subnets on the node itself. The namespace is a file in a directory
// of the driver's own and is named, like every device in it, after what it
// belongs to: a new Driver finds what an earlier one left, adopts what matches
// (connections go on) and makes anew what does not. Nothing is made outside
// that directory and the sandboxes but, for a moment, the device that checks
// the UDP port.
//
// Kernel objects live from Ensure to Remove and from Join to Leave, whatever
// becomes of the process in between; Sweep removes those that nobody wants.
package overlay
