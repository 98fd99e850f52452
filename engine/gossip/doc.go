// Package gossip tells the other nodes of the swarm where this node's
// endpoints are and hears the same from them.
//
// It speaks Docker's own protocol through libnetwork's networkdb, port 7946
// over tcp and udp: a dockerd in the same swarm understands us and we it. Per
// network there are two tables: overlay_peer_table (which VTEP an endpoint is
// behind, a model.Peer) and endpoint_table (who answers to which name, a
// model.Record). It knows no kernel object: what a peer means for forwarding
// is the business of the Handler's owner.
//
// A Gossip has one networkdb at a time, a session, with a node ID of its own.
// While it lives it keeps looking for the peers it should know; each network
// has a goroutine, its feed, that writes our rows and delivers the others'.
// Everything published is remembered, so that a session can be replaced.
//
// Why that may be needed: networkdb takes a node that appears at its own
// address under another ID for its successor, and marks itself as gone
// (networkdb.purgeReincarnation). That happens to a new session when the peers
// still announce the one before. So an engine that did not end cleanly comes
// back under its old ID: the peers never miss it, its rows stay in place, and
// those that nobody publishes again are withdrawn after a grace period. When
// the trap closes all the same (the state was lost; another engine had the
// address) the session is abandoned, the ghost is made to leave, and a new
// session takes over with the same networks and rows.
//
// Short absences are the other thing networkdb leaves open. A node taken for
// dead that was not (paused, cut off, without the keys) is listed again within
// a second, but its rows are not asked for; so we ask (absences).
//
// Rows of other nodes are outside input: they are checked, and those that are
// not valid are dropped and counted. A node with the cluster's gossip keys can
// still claim any address; keys are the boundary, as in Docker.
//
// Limits: networkdb knows peers by address alone, so every node needs an
// address of its own and they all use the same port. An endpoint ID that was
// unpublished should not come back within 30 minutes: networkdb announces it
// as an update then, which dockerd ignores for names.
package gossip
