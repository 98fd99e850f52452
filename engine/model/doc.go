// Package model holds the values the engine's packages exchange: networks,
// endpoints, peers, containers, tasks and events.
//
// It owns no kernel object, opens no file and starts no goroutine; its types
// are plain values over net/netip that any package may hold and compare. What
// a value means on the wire (Docker's JSON, SwarmKit's protobuf, gossip rows)
// is decided by the package that speaks that protocol.
package model
