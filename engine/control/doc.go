// Package control is the node's part in a swarm: SwarmKit embedded, and
// Docker's swarm API on top of it in Docker's own types.
//
// It owns the SwarmKit node (raft store, certificates, scheduler, allocator,
// agent) and everything under its state directory: certificates, raft log,
// assigned tasks and docker-state.json, which has dockerd's name and fields.
// It converts between SwarmKit's protobuf, Docker's API types and
// engine/model; no other package of the engine sees SwarmKit.
//
// It refuses to own anything of a task but its life cycle: what a task is made
// of (sandbox, endpoints, process) belongs to the Host it is given, which it
// calls with values of engine/model.
//
// A Node exists always, also outside a swarm. Init, Join and a Start that
// finds a membership on disk put a runner into it, which keeps one SwarmKit
// node running and restarts it with a growing delay; Leave takes it out and
// wipes the state. Stop ends it and takes this node's tasks down, StopKeep
// ends it and leaves them running for the next engine to adopt.
//
// Limits: no secrets or configs in tasks (the swarm's configs are kept, and a
// task that asks for one is rejected); overlay networks need an IPv4 subnet,
// and an IPv6 address of an endpoint is derived from its IPv4 one
// (model.Segment.AddrV6), never allocated.
package control
