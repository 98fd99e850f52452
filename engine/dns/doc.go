// Package dns is the resolver containers reach at 127.0.0.11, as Docker's
// (libnetwork/resolver.go): names of containers and services on the networks a
// container is on, and for everything else the servers it or the host was told.
//
// A Resolver answers in one sandbox. Its sockets are on ports the kernel
// chooses, and a table in the sandbox leads 127.0.0.11:53 to them: a container
// that is a DNS server itself may bind port 53 of every address.
//
// For clients that have no sandbox, virtual machines, one answers at an address
// of the network: StartAt.
package dns
