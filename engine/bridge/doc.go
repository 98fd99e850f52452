// Package bridge is the data plane of networks that belong to one host: a
// bridge in the host's namespace that routes for its containers, hides them
// behind the host's address and publishes ports of theirs.
//
// What decides over packets is one nftables table, weft-bridge, written anew
// as a whole at every change. Published ports are redirected there, so that
// established connections do not end with the engine; the sockets that hold a
// published port on the host serve what the rules do not reach, which is IPv6
// clients of containers without IPv6.
//
// An engine without root is in a namespace of its own, and what is published
// has to be reached in the host's: a socket opened there is served as well
// (Opener), so that all clients from there come through a relay.
//
// A namespace of the kernel has one such driver at a time.
package bridge
